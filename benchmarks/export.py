"""Exported graphs against `main test` on the same jets: the largest difference, and jets per second of either form.

python benchmarks/export.py logs/gn2_... test.h5 --jets 10000
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 (registers its filters)
import numpy as np
import onnxruntime
import yaml
from numpy.typing import NDArray

from salt.batch import JetBatch
from salt.data.datamodule import JetDataModule
from salt.data.group import read_group
from salt.inputs import Input

ALONE, BATCHED = "one jet a call", "batched"
Arrays = Mapping[str, NDArray[Any]]
Graph = tuple[onnxruntime.InferenceSession, dict[str, Any]]


def main() -> None:
    """Prints what is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("file", type=Path, help="file of jets to score")
    parser.add_argument("--jets", type=int, default=10_000, help="how many of its jets")
    parser.add_argument("--batch", type=int, default=1000, help="jets a call of the batched graph")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of ONNX Runtime in a call")
    asked = parser.parse_args()
    threads = f"{asked.threads} thread{'s' if asked.threads > 1 else ''}"
    print(f"{asked.run.name}, {asked.jets} jets of {asked.file}, {threads}, {asked.batch} jets a batched call")
    tested = scores(asked.run, asked.file, asked.jets)
    batch = read(asked.run, asked.file, asked.jets)
    graphs = {name: export(asked.run, asked.file, name == BATCHED, asked.threads) for name in (ALONE, BATCHED)}
    found, rates = timed(graphs, batch, asked.batch)
    for name, (_, config) in graphs.items():
        numbers, integers, total = differences(config, found[name], tested, batch)
        words = f", {integers} of {total} integers differ" if total else ""
        print(f"{name:15}: {rates[name]:8.0f} jets/s, largest difference {numbers:.2g}{words}")
    print(f"batched is {rates[BATCHED] / rates[ALONE]:.1f} times as fast")


def command(*words: str) -> None:
    """Runs a command of Salt."""
    subprocess.run([sys.executable, "-m", "salt", *words], check=True, stdout=subprocess.DEVNULL)


def scores(run: Path, file: Path, jets: int) -> Mapping[str, NDArray[Any]]:
    """What ``main test`` writes, by dataset."""
    command(
        *("test", "--config", str(run / "config.yaml"), "--data.test_file", str(file), "--data.num_test", str(jets)),
        *("--trainer.callbacks.PredictionWriter.suffix=_export", "--trainer.accelerator=cpu", "--overwrite"),
    )
    (path,) = (run / "ckpts").glob("*_export.h5")
    with h5py.File(path) as opened:
        tables = {name: opened[name][:] for name in opened}
    path.unlink()
    return tables


def read(run: Path, file: Path, jets: int) -> JetBatch:
    """The same jets as one batch."""
    inputs = yaml.safe_load((run / "config.yaml").read_text())["data"]["inputs"]
    specs = {name: Input(**(spec.get("init_args") or spec)) for name, spec in inputs.items()}
    module = JetDataModule(specs, test_file=str(file))
    module.bind((), 0)
    module.setup("predict")
    (batch,) = read_group(module.files("predict"), [np.arange(jets)]).batches()
    return batch


def export(run: Path, file: Path, batched: bool, threads: int) -> Graph:
    """The run's best model in ONNX Runtime, and what it says of itself."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        command("export", str(run), "-o", str(path), "--jets", str(file), *(["--batched"] if batched else []))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    return session, json.loads(session.get_modelmeta().custom_metadata_map["gnn_config"])


def timed(graphs: Mapping[str, Graph], batch: JetBatch, size: int) -> tuple[dict[str, Arrays], dict[str, float]]:
    """All outputs back to back, and jets per second, both forms in turn on the same jets."""
    results: dict[str, list[Any]] = {name: [] for name in graphs}
    seconds = dict.fromkeys(graphs, 0.0)
    for part in batch.parts(-(-len(batch) // size)):
        for name, (session, config) in graphs.items():
            calls = [tensors(config, each, name == BATCHED) for each in ([part] if name == BATCHED else singles(part))]
            begin = time.perf_counter()
            results[name] += [session.run(None, call) for call in calls]
            seconds[name] += time.perf_counter() - begin
    found = {}
    for name, (session, _) in graphs.items():
        outputs = zip([each.name for each in session.get_outputs()], zip(*results[name], strict=True), strict=True)
        found[name] = {output: np.concatenate([np.atleast_1d(x) for x in each]) for output, each in outputs}
    return found, {name: len(batch) / each for name, each in seconds.items()}


def singles(batch: JetBatch) -> list[JetBatch]:
    """Each jet as a batch of its own."""
    return [batch._jets(b, b + 1) for b in range(len(batch))]


def tensors(config: Mapping[str, Any], batch: JetBatch, batched: bool) -> dict[str, NDArray[Any]]:
    """What goes into a call."""
    found = {}
    for each in config["inputs"]:
        if each["input"] == "jets":
            found[each["name"]] = batch.jets.numpy()
            continue
        rows = batch.constituents[each["input"]]
        found[each["name"]] = rows.values.numpy()
        if batched:
            found[each["offsets"]] = rows.host_offsets.numpy()
    return found


def differences(config: Mapping[str, Any], found: Arrays, tested: Arrays, batch: JetBatch) -> tuple[float, int, int]:
    """The largest difference of numbers (of their size, where they are no probabilities), and of how many integers."""
    numbers, different, total = 0.0, 0, 0
    model = config["model_name"]
    for output in config["outputs"]:
        table = tested[output["of"]]
        if output["of"] == "jets":
            index: Any = slice(None)
        else:
            rows = batch.constituents[output["of"]]
            index = (rows.jet_T.numpy(), batch.slots[output["of"]].numpy())
        columns = [f"{model}_{c}" for c in output["columns"]]
        columns = [c if c in (table.dtype.names or ()) else c.removeprefix(f"{model}_") for c in columns]
        values = [table[c][index] for c in columns]
        if output["type"] == "float32":
            unit = 1.0 if columns[0].startswith(f"{model}_p") else np.maximum(np.abs(values[0]), 1e-6)
            numbers = max(numbers, float(np.max(np.abs(found[output["name"]] - sum(values)) / unit)))
        else:
            wanted = np.stack(values).argmax(0) if "classes" in output else values[0]
            different += int((found[output["name"]] != wanted).sum())
            total += len(wanted)
    return numbers, different, total


if __name__ == "__main__":
    main()
