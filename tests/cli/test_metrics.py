"""What `main test` logs is what anybody computes from the prediction file that it writes, on one device and on two."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from math import nan
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from cli_case import SMALL_FILES
from conftest import Command
from files import CLASSES, ORIGINS, make_jets, write_structured
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from test_command import metrics

TASKS = """
model:
  embed_dim: 16
  tasks:
    jets_classification:
      init_args: {hidden: [8], rejections: {efficiencies: [0.5, 0.775], fractions: {cjets: 0.3, ujets: 0.7}}}
    track_origin: {init_args: {hidden: [8]}}
    track_vertexing: {init_args: {hidden: [8]}}
    decay:
      class_path: Regression
      init_args: {input: jets, labels: [Lxy], scale: log, hidden: [8]}
    impact:
      class_path: Regression
      init_args: {input: tracks, labels: [d0], hidden: [8]}
trainer:
  callbacks:
    PredictionWriter:
      variables: {jets: [flavour_label, Lxy], tracks: [d0, ftagTruthOriginLabel, ftagTruthVertexIndex]}
    SaveMetrics: {class_path: save_metrics.SaveMetrics}
"""

SAVE_METRICS = """\
from lightning.pytorch import Callback
import json, os
from salt import tally

tally.ENTRIES = int(os.environ.get("ENTRIES", tally.ENTRIES))

class SaveMetrics(Callback):
    def on_test_end(self, trainer, pl_module):
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        with open(f"rank{trainer.global_rank}.json", "w") as file:
            json.dump({"values": values, "names": pl_module.metric_names("test")}, file)
        if trainer.is_global_zero:
            print("figures:", *sorted(pl_module.figures))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run of a model with all kinds of tasks, and a test file. Do not write into it; copy it."""
    root = tmp_path_factory.mktemp("measured")
    write_structured(root / "test.h5", make_jets(430, seed=3, scattered=True))
    for i, name in enumerate(("train", "val")):
        write_structured(root / f"{name}.h5", make_jets(100, seed=i, first_event=1000 * (i + 1)))
    (root / "tasks.yaml").write_text(TASKS)
    (root / "save_metrics.py").write_text(SAVE_METRICS)
    words = [f"--data.{name}_file={name}.h5" for name in ("train", "val", "test")]
    words += ["--data.inputs.tracks.variables=[z0,dphi]", "--data.batch_size=50", "--data.num_workers=0"]
    words += ["--trainer.accelerator=cpu", "--trainer.logger=false", "--trainer.max_epochs=1"]
    salt(root, "fit", "--config", "gnn", "--config", "tasks.yaml", *words)
    return root


def salt(root: Path, *words: str, **variables: str) -> str:
    environ = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    command = [sys.executable, "-m", "salt", *words]
    done = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("devices", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("entries", [2**19, 40])
def test_metrics_are_those_of_the_prediction_file(devices: int, entries: int, trained: Path, tmp_path: Path) -> None:
    """In memory, and in a file that gets 40 jets at a time."""
    root = Path(shutil.copytree(trained, tmp_path / "root"))
    (config,) = root.glob("logs/*/config.yaml")
    out = salt(root, "test", "--config", str(config), f"--trainer.devices={devices}", ENTRIES=str(entries))
    drawn = (
        "figures: test/jets_classification/confusion test/jets_classification/rejection test/jets_classification/roc"
    )
    assert f"{drawn} test/track_origin/confusion test/track_origin/roc" in out
    ranks = [json.loads((root / f"rank{rank}.json").read_text()) for rank in range(devices)]
    assert all(other == ranks[0] for other in ranks)
    logged, names = ranks[0]["values"], ranks[0]["names"]
    assert set(names) == set(logged)
    (path,) = root.glob("logs/*/ckpts/*__test_test.h5")
    with h5py.File(path, locking=False) as file:
        jets, tracks = file["jets"][:], file["tracks"][:]
    assert len(jets) == 430
    expected = {
        **{f"jets_classification/{k}": v for k, v in flavours(jets).items()},
        **{f"track_origin/{k}": v for k, v in origins(tracks[tracks["valid"]]).items()},
        **{f"track_vertexing/{k}": v for k, v in vertices(tracks).items()},
        **{f"decay/{k}": v for k, v in deviations(jets["Lxy"], jets["gnn_Lxy"], "Lxy", relative=True).items()},
        **{f"impact/{k}": v for k, v in deviations(*of_tracks(tracks, "d0", "gnn_d0"), "d0", relative=False).items()},
    }
    for name, value in expected.items():
        assert logged[f"test/{name}"] == pytest.approx(value, rel=1e-6, abs=1e-6, nan_ok=True), name
    others = {name for name in logged if name.removeprefix("test/") not in expected}
    assert {name.rpartition("/")[2] for name in others} == {"loss", "weighted_loss", "pair_efficiency", "pair_purity"}


def classes(probability: Any, label: Any, names: tuple[str, ...]) -> dict[str, float]:
    """What scikit-learn says."""
    found = {
        "accuracy": accuracy_score(label, probability.argmax(1)),
        "loss": log_loss(label, probability / probability.sum(1, keepdims=True), labels=range(len(names))),
    }
    areas = [roc_auc_score(label == k, probability[:, k]) if (label == k).any() else nan for k in range(len(names))]
    return {**found, **{f"auc_{n}": a for n, a in zip(names, areas, strict=True)}, "auc": float(np.nanmean(areas))}


def flavours(jets: Any) -> dict[str, float]:
    p = np.stack([jets[f"gnn_p{c}"] for c in "bcu"], 1).astype("f8")
    label = jets["flavour_label"]
    found = classes(p, label, CLASSES)
    score = np.log(p[:, 0]) - np.log(0.3 * p[:, 1] + 0.7 * p[:, 2])
    b = np.sort(score[label == 0])[::-1]
    for percent, efficiency in (("50", 0.5), ("77p5", 0.775)):
        cut = b[int(np.ceil(efficiency * len(b))) - 1]
        for k, name in ((1, "cjets"), (2, "ujets")):
            other = score[label == k]
            found[f"rejection_{name}_at_{percent}"] = len(other) / (other >= cut).sum()
    return found


def origins(tracks: Any) -> dict[str, float]:
    p = np.stack([tracks[f"gnn_p{c}"] for c in ORIGINS], 1).astype("f8")
    return classes(p, tracks["ftagTruthOriginLabel"], ORIGINS)


def vertices(tracks: Any) -> dict[str, float]:
    """Pairs and vertices, jet by jet."""
    numbers: Counter[str] = Counter()
    for jet in tracks:
        known = jet[jet["valid"] & (jet["ftagTruthVertexIndex"] >= 0)]
        true = [set(np.flatnonzero(known["ftagTruthVertexIndex"] == v)) for v in set(known["ftagTruthVertexIndex"])]
        primary = set(np.flatnonzero(known["ftagTruthVertexIndex"] == 0))
        groups = [set(np.flatnonzero(known["VertexIndex"] == v)) for v in set(known["VertexIndex"])]
        for vertex in (v for v in true if len(v) > 1):
            kind = "primary" if vertex == primary else "secondary"
            numbers[f"true {kind}"] += 1
            numbers[f"found {kind}"] += any(
                len(vertex & g) > len(vertex) / 2 and len(vertex & g) > len(g) / 2 for g in groups if len(g) > 1
            )
        for group in (g for g in groups if len(g) > 1):
            numbers["group primary" if len(group & primary) >= len(group) / 2 else "group secondary"] += 1
    found = {}
    for kind in ("primary", "secondary"):
        found[f"{kind}_efficiency"] = numbers[f"found {kind}"] / numbers[f"true {kind}"]
        wanted = numbers[f"group {kind}"]
        found[f"{kind}_purity"] = numbers[f"found {kind}"] / wanted if wanted else nan
    return found


def of_tracks(tracks: Any, *names: str) -> list[Any]:
    return [tracks[name][tracks["valid"]] for name in names]


def deviations(truth: Any, predicted: Any, name: str, relative: bool) -> dict[str, float]:
    known = np.isfinite(truth)
    truth = truth[known].astype("f8")
    error = predicted[known] - truth
    low, median, high = np.quantile(error, [0.16, 0.5, 0.84])
    found = {f"{name}_mae": abs(error).mean(), f"{name}_bias": median, f"{name}_resolution": (high - low) / 2}
    if relative:
        low, median, high = np.quantile(error / truth, [0.16, 0.5, 0.84])
        found |= {f"{name}_relative_bias": median, f"{name}_relative_resolution": (high - low) / 2}
    return found


WAITS_FOR = "val/jets_classification/rejection_cjets_at_70"


def test_a_metric_of_which_the_jets_say_nothing_can_be_waited_for(command: Command, tmp_path: Path) -> None:
    """There are no b-jets to validate with: what needs them is NaN, and no better than before."""
    tables = make_jets(60, seed=1, first_event=3000)
    tables["jets"]["flavour_label"][tables["jets"]["flavour_label"] == 0] = 2
    write_structured(tmp_path / "val.h5", tables)
    write_structured(tmp_path / "train.h5", make_jets(60, seed=0))
    stop = f"{{class_path: salt.callbacks.EarlyStopping, init_args: {{monitor: {WAITS_FOR}, mode: max, patience: 2}}}}"
    words = [*SMALL_FILES, "--trainer.max_epochs=4", f"--trainer.callbacks.EarlyStopping={stop}"]
    words += [f"--trainer.callbacks.Checkpoint.monitor={WAITS_FOR}", "--trainer.callbacks.Checkpoint.mode=max"]
    ended = command("fit", "--config", "simple", *words)
    assert ended.code == 0, ended.err
    rows = metrics(next((tmp_path / "logs").iterdir()))
    values = [row[WAITS_FOR] for row in rows if row["val/loss"]]
    assert values == ["nan", "nan"], "the training ends after two validations that were no better"
    assert rows[-1]["val/jets_classification/auc_cjets"] != "nan"


@pytest.mark.parametrize("callback", ["Checkpoint", "EarlyStopping"])
@pytest.mark.parametrize("sanity", [0, 2])
def test_a_misspelt_metric_is_said_before_the_first_step(
    callback: str, sanity: int, command: Command, tmp_path: Path
) -> None:
    for i, name in enumerate(("train", "val")):
        write_structured(tmp_path / f"{name}.h5", make_jets(60, seed=i, first_event=1000 * i))
    wrong = f"{{class_path: salt.callbacks.{callback}, init_args: {{monitor: {WAITS_FOR.replace('cjets', 'cjet')}}}}}"
    words = [*SMALL_FILES, f"--trainer.num_sanity_val_steps={sanity}", f"--trainer.callbacks.{callback}={wrong}"]
    ended = command("fit", "--config", "simple", *words)
    assert ended.code == 2, ended.err
    message = ended.err.splitlines()[-1]
    assert message.startswith(
        "error: unknown metric 'val/jets_classification/rejection_cjet_at_70' in "
        f"trainer.callbacks.{callback}.monitor; nearest: {WAITS_FOR}, "
    )
    assert "epoch 1" not in ended.err
