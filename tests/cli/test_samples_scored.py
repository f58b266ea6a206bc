"""Several samples in one command, and commands that are given again."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from cli_case import SMALL_FILES
from conftest import Command
from files import make_jets, write_structured

from salt.callbacks import prediction_file
from salt.data.source import Source
from salt.main import main

SAMPLES = {"ttbar": "ttbar.h5", "zprime_test": "zprime/test.h5", "other_test": "other/test.h5", "part__": "part_*.h5"}

DIE = """\
import os, signal
from lightning.pytorch import Callback

class Die(Callback):
    def on_test_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.datamodule.chosen == 1 and batch_idx == 2:
            os.kill(os.getpid(), getattr(signal, os.environ["SENT"]))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run and files to test. Do not write into it; copy it."""
    root = tmp_path_factory.mktemp("trained")
    for i, name in enumerate(("train", "val")):
        write_structured(root / f"{name}.h5", make_jets(150, seed=i, first_event=10_000 * (i + 1)))
    for name in ("zprime", "other"):
        (root / name).mkdir()
    for i, name in enumerate(("ttbar", "zprime/test", "other/test", "part_1", "part_2")):
        write_structured(root / f"{name}.h5", make_jets(200 + i, seed=10 + i, first_event=1000 * i))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert main(["fit", "--config", "simple", *SMALL_FILES]) == 0
    return root


@pytest.fixture
def root(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def words(root: Path, verb: str = "test", *options: str) -> list[str]:
    (config,) = root.glob("logs/*/config.yaml")
    flags = [f"--data.test_file={option}" for option in options or SAMPLES.values()]
    return [verb, "--config", str(config), *flags]


def products(root: Path) -> dict[str, Path]:
    """What lies beside the checkpoints, by the names of samples and kinds."""
    found = [p for p in root.glob("logs/*/ckpts/*") if p.suffix != ".ckpt"]
    return {p.name.partition("__test_")[2]: p for p in found}


def events(path: Path) -> Any:
    with h5py.File(path, locking=False) as file:
        return file["jets"]["eventNumber"]


def test_each_sample_has_predictions_and_metrics_of_its_own(root: Path, command: Command) -> None:
    done = command(*words(root))
    assert done.code == 0, done.err
    found = products(root)
    assert set(found) == {f"{name}.{kind}" for name in SAMPLES for kind in ("h5", "json")}
    for i, (name, files) in enumerate(SAMPLES.items()):
        assert f"{name} ({i + 1}/4)\n" in done.out
        sources = [root / files] if "*" not in files else sorted(root.glob(files))
        np.testing.assert_array_equal(events(found[f"{name}.h5"]), np.concatenate([events(s) for s in sources]))
    check_metrics(found["part__.h5"])
    assert command(*words(root, "predict", "ttbar.h5"), "--trainer.callbacks.PredictionWriter.suffix=_one").code == 0
    with h5py.File(found["ttbar.h5"], locking=False) as a, h5py.File(products(root)["ttbar_one.h5"]) as b:
        np.testing.assert_array_equal(a["jets"][:], b["jets"][:])


def check_metrics(path: Path) -> None:
    metrics = json.loads(path.with_suffix(".json").read_text())["metrics"]
    with h5py.File(path, locking=False) as file:
        jets = file["jets"][:]
    p = np.stack([jets[f"simple_p{c}"] for c in "bcu"], 1).astype("f8")
    right = (p.argmax(1) == jets["flavour_label"]).mean()
    accuracy = metrics["test/jets_classification/accuracy"]
    assert accuracy["value"] == pytest.approx(right, rel=1e-6)
    assert accuracy["error"] == pytest.approx(np.sqrt(right * (1 - right) / len(jets)), rel=1e-6)
    score = np.log(p[:, 0] / (0.2 * p[:, 1] + 0.8 * p[:, 2]))
    b, c = (np.sort(score[jets["flavour_label"] == k]) for k in (0, 1))
    mistag = (c >= b[len(b) - int(np.ceil(0.7 * len(b) - 1e-9))]).mean()
    rejection = metrics["test/jets_classification/rejection_cjets_at_70"]
    assert rejection["value"] == pytest.approx(1 / mistag, rel=1e-6)
    assert rejection["error"] == pytest.approx(np.sqrt(mistag * (1 - mistag) / len(c)) / mistag**2, rel=1e-6)
    assert "error" not in metrics["test/loss"]


def test_what_is_there_is_not_scored_again(root: Path, command: Command) -> None:
    assert command(*words(root, "predict", "ttbar.h5", "part_*.h5")).code == 0
    before = {name: path.stat().st_mtime_ns for name, path in products(root).items()}
    again = command(*words(root, "predict"))
    assert again.code == 0, again.err
    assert again.err.count("nothing to do") == 2
    after = {name: path.stat().st_mtime_ns for name, path in products(root).items()}
    assert len(after) == 4
    assert before.items() <= after.items()
    # A test of what was predicted has metrics to write.
    assert command(*words(root)).err.count("nothing to do") == 0
    assert len(products(root)) == 8
    nothing = command(*words(root))
    assert (nothing.code, nothing.out, nothing.err.count("nothing to do")) == (0, "", 4)


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--data.num_test=100", "data.num_test -1; now it is 100"),
        ("--data.inputs.jets.selection=[pt > 60]", "data.inputs.jets.selection null; now it is ['pt > 60']"),
        ("--trainer.callbacks.PredictionWriter.half=true", "PredictionWriter.half false; now it is true"),
        ("--trainer.precision=bf16-mixed", "trainer.precision 32-true; now it is bf16-mixed"),
        ("changed", "another test file"),
        ("foreign", "does not say what it was made from"),
        ("--ckpt_path={last}", "another checkpoint of that name"),
    ],
)
def test_what_was_made_otherwise_is_not_replaced(flag: str, said: str, root: Path, command: Command) -> None:
    (last,) = root.glob("logs/*/ckpts/last.ckpt")
    options = [f"--ckpt_path={last}"]
    assert command(*words(root, "test", "ttbar.h5"), *options).code == 0
    predictions = products(root)["ttbar.h5"]
    if flag == "changed":
        write_structured(root / "ttbar.h5", make_jets(200, seed=99))
    elif flag == "foreign":
        with h5py.File(predictions, "r+") as file:
            del file.attrs["made_from"]
    elif "{last}" in flag:
        shutil.copyfile(next(root.glob("logs/*/ckpts/epoch*.ckpt")), last)
        with last.open("ab") as file:
            file.write(b" ")
    else:
        options.append(flag)
    before = predictions.read_bytes()
    refused = command(*words(root, "test", "zprime/test.h5", "ttbar.h5"), *options)
    assert refused.code == 2
    assert said in refused.err
    assert "--overwrite" in refused.err
    assert predictions.read_bytes() == before
    assert set(products(root)) == {"ttbar.h5", "ttbar.json"}
    if "{last}" not in flag:
        assert command(*words(root, "test", "ttbar.h5"), *options, "--overwrite").code == 0


@pytest.mark.parametrize(("sent", "code"), [("SIGKILL", -9), ("SIGINT", 130)])
def test_an_interrupted_test_goes_on_to_the_same_files(sent: str, code: int, root: Path) -> None:
    (root / "die.py").write_text(DIE)
    command = [sys.executable, "-m", "salt", *words(root, "test", *list(SAMPLES.values())[:3])]
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "SENT": sent}
    dying = "--trainer.callbacks.Die.class_path=die.Die"
    killed = subprocess.run([*command, dying], cwd=root, env=environ, capture_output=True, text=True, check=False)
    assert killed.returncode == code, killed.stderr
    first = products(root)
    if sent == "SIGINT":
        assert set(first) == {"ttbar.h5", "ttbar.json"}, "what is not whole has no name"
    else:
        assert {name for name in first if not name.endswith(".part")} == {"ttbar.h5", "ttbar.json"}
    done = first["ttbar.h5"].stat().st_mtime_ns
    resumed = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, check=True)
    assert resumed.stderr.count("nothing to do") == 1
    found = products(root)
    assert len(found) == 6, found
    assert found["ttbar.h5"].stat().st_mtime_ns == done
    contents = {name: path.read_bytes() for name, path in found.items()}
    subprocess.run([*command, "--overwrite"], cwd=root, env=environ, capture_output=True, check=True)
    assert {name: path.read_bytes() for name, path in products(root).items()} == contents


@pytest.mark.slow
def test_two_devices_score_two_samples(root: Path) -> None:
    command = [sys.executable, "-m", "salt", *words(root, "test", "ttbar.h5", "zprime/test.h5")]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    contents = []
    for devices in (2, 1):
        flags = [f"--trainer.devices={devices}", "--overwrite"]
        subprocess.run([*command, *flags], cwd=root, env=environ, capture_output=True, check=True, timeout=300)
        contents.append({name: path.read_bytes() for name, path in products(root).items()})
    assert len(contents[0]) == 4
    assert contents[0] == contents[1]


def test_rows_that_are_left_out_are_filled_piece_by_piece(
    root: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = make_jets(3000, seed=7)
    tables["jets"]["pt"] = 30
    tables["jets"]["pt"][[3, 4, 700, 701, 702, 1999, 2500]] = 100
    write_structured(root / "sparse.h5", tables)
    few = [*words(root, "predict", "sparse.h5"), "--data.inputs.jets.selection=[pt > 60]", "--data.batch_size=2"]
    assert command(*few).code == 0
    with h5py.File(products(root)["sparse.h5"], locking=False) as file:
        whole = file["jets"][:]
    np.testing.assert_array_equal(np.isfinite(whole["simple_pb"]), tables["jets"]["pt"] > 60)
    np.testing.assert_array_equal(whole["eventNumber"], tables["jets"]["eventNumber"])
    asked: list[int] = []
    read = Source.read

    def counted(self: Source, dataset: str, rows: Any, variables: Any) -> Any:
        asked.append(len(rows))
        return read(self, dataset, rows, variables)

    monkeypatch.setattr(prediction_file, "PIECE", 64)
    monkeypatch.setattr(Source, "read", counted)
    assert command(*few, "--overwrite").code == 0
    assert max(asked) == 64
    with h5py.File(products(root)["sparse.h5"], locking=False) as file:
        assert file["jets"][:].tobytes() == whole.tobytes()


def test_half_precision(root: Path, command: Command) -> None:
    option = "--trainer.callbacks.PredictionWriter.%s"
    assert command(*words(root, "test", "ttbar.h5"), option % "suffix=_full").code == 0
    assert command(*words(root, "test", "ttbar.h5"), option % "half=true", option % "suffix=_half").code == 0
    found = products(root)
    with h5py.File(found["ttbar_full.h5"], locking=False) as a, h5py.File(found["ttbar_half.h5"], locking=False) as b:
        full, half = a["jets"][:], b["jets"][:]
    assert half.dtype["simple_pb"] == np.float16
    assert half.dtype["pt"] == full.dtype["pt"] == np.float32
    np.testing.assert_array_equal(half["simple_pb"], full["simple_pb"].astype("f2"))
    refused = command(*words(root, "test", "ttbar.h5"), "--trainer.precision=bf16-true")
    assert refused.code == 2
    assert "bf16-mixed" in refused.err
