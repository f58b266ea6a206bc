"""Prediction files of unusual tests: right, or not there."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from cli_case import SMALL_FILES
from conftest import Command
from files import CLASSES, make_jets, write_structured, write_umami

ORIGINS = "{class_path: Classification, init_args: {input: %s, label: ftagTruthOriginLabel, hidden: [4]}}"


@pytest.fixture
def run(command: Command, tmp_path: Path) -> Path:
    """A run in which two inputs come from one dataset."""
    for i, name in enumerate(("train", "val")):
        write_structured(tmp_path / f"{name}.h5", make_jets(150, seed=i, first_event=1000 * i))
    write_structured(tmp_path / "test.h5", make_jets(30, seed=5, scattered=True))
    trained = command(
        *("fit", "--config", "simple", *SMALL_FILES),
        "--data.inputs.soft={dataset: tracks, variables: [dphi], selection: [z0 > 0]}",
        f"--model.tasks.track_origin={ORIGINS % 'tracks'}",
        f"--model.tasks.soft_origin={ORIGINS % 'soft'}",
    )
    assert trained.code == 0, trained.err
    (folder,) = (tmp_path / "logs").iterdir()
    return folder


def test_two_inputs_of_one_dataset(run: Path, command: Command) -> None:
    norms = yaml.safe_load((run / "norm_dict.yaml").read_text())
    assert {name: list(table) for name, table in norms.items()} == {
        "jets": ["pt", "eta"],
        "tracks": ["d0", "z0", "dphi"],
        "soft": ["dphi"],
    }
    variables = "--trainer.callbacks.PredictionWriter.variables={soft: [z0, valid]}"
    tested = command("test", "--config", str(run / "config.yaml"), "--data.test_file=test.h5", variables)
    assert tested.code == 0, tested.err
    tracks = make_jets(30, seed=5, scattered=True)["tracks"]
    (path,) = run.glob("ckpts/*__test_test.h5")
    with h5py.File(path, locking=False) as file:
        assert set(file) == {"jets", "tracks", "soft"}
        np.testing.assert_array_equal(file["tracks"]["valid"], tracks["valid"])
        np.testing.assert_array_equal(file["soft"]["valid"], tracks["valid"] & (tracks["z0"] > 0))
        np.testing.assert_array_equal(file["soft"]["z0"], tracks["z0"])
        for name in ("tracks", "soft"):
            np.testing.assert_array_equal(np.isfinite(file[name]["simple_pFromB"]), file[name]["valid"])


def test_codes_of_two_meanings_are_not_mixed(run: Path, command: Command, tmp_path: Path) -> None:
    write_structured(tmp_path / "part_1.h5", make_jets(20, seed=6))
    write_structured(tmp_path / "part_2.h5", make_jets(20, seed=7), classes=CLASSES[::-1])
    words = ("test", "--config", str(run / "config.yaml"), "--data.test_file=part_*.h5")
    refused = command(*words)
    assert refused.code == 1
    assert "part_2.h5" in refused.err
    assert "'flavour_label'" in refused.err
    assert not [path for path in (run / "ckpts").iterdir() if path.suffix != ".ckpt"]
    assert command(*words, "--trainer.callbacks.PredictionWriter.variables={jets: [pt]}").code == 0


def test_a_trial_writes_nothing(run: Path, command: Command) -> None:
    words = ("test", "--config", str(run / "config.yaml"), "--data.test_file=test.h5")
    assert command(*words, "--trainer.fast_dev_run=1").code == 0
    assert not [path for path in (run / "ckpts").iterdir() if path.suffix != ".ckpt"]


def test_values_of_another_scale_are_doubted(run: Path, command: Command, tmp_path: Path) -> None:
    tables = make_jets(100, seed=8)
    tables["jets"]["pt"] *= 1000
    write_structured(tmp_path / "other_unit.h5", tables)
    write_structured(tmp_path / "same_unit.h5", make_jets(100, seed=8))
    words = ("predict", "--config", str(run / "config.yaml"))
    doubted = command(*words, "--data.test_file=other_unit.h5")
    assert doubted.code == 0
    assert "the values of jets.pt have another scale" in doubted.err
    assert "another scale" not in command(*words, "--data.test_file=same_unit.h5").err


def test_normalised_values_without_their_scales_are_doubted(run: Path, command: Command, tmp_path: Path) -> None:
    tables = make_jets(100, seed=8)
    scales = {
        "jets": {"pt": (110.0, 50.0), "eta": (0.0, 1.5)},
        "tracks": dict.fromkeys(("d0", "z0", "dphi"), (1.0, 2.0)),
    }
    write_umami(tmp_path / "umami.h5", tables, scales)
    norms = {name: {v: {"shift": a, "scale": b} for v, (a, b) in table.items()} for name, table in scales.items()}
    (tmp_path / "scale.json").write_text(json.dumps(norms))
    words = ("test", "--config", str(run / "config.yaml"), "--data.test_file=umami.h5", "--overwrite")
    assert "jets.pt have another scale" in command(*words).err
    assert "another scale" not in command(*words, "--data.norm_dict=scale.json").err


def test_a_suffix_is_no_path(run_folder: Path, command: Command) -> None:
    suffix = "--trainer.callbacks.PredictionWriter.suffix=../new"
    refused = command("predict", "--config", str(run_folder / "config.yaml"), suffix)
    assert refused.code == 2
    assert "'../new'; it is a part of a name, without /" in refused.err


@pytest.mark.parametrize("broken", ["last.ckpt", "epoch*.ckpt"])
def test_a_checkpoint_that_is_not_whole_is_named(
    broken: str, run_folder: Path, command: Command, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(run_folder, tmp_path / "run"))
    for path in folder.glob(f"ckpts/{broken}"):
        path.write_bytes(path.read_bytes()[:3000])
    for words in ([], [f"--ckpt_path={path}"]):
        refused = command("predict", "--config", str(folder / "config.yaml"), *words)
        assert refused.code == 2
        (line,) = [line for line in refused.err.splitlines() if line.startswith("error:")]
        assert "is no checkpoint of Salt, or not whole (" in line
        assert line.endswith("; name another one")
        assert "Traceback" not in refused.err
