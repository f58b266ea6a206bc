"""``main export``: from a run to a file that says what ``main test`` says."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from conftest import Command

from salt.optim.averaging import add_averages


@pytest.fixture
def averaged(run_folder: Path, tmp_path: Path) -> Path:
    """A run as if it had been compiled and its weights averaged: the averages are other weights."""
    run = tmp_path / "averaged"
    shutil.copytree(run_folder, run)
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**config, "compile": True}, sort_keys=False))
    for path in (run / "ckpts").glob("*.ckpt"):
        checkpoint = torch.load(path, weights_only=True)
        names = [n for n in checkpoint["state_dict"] if n.endswith(("weight", "bias")) and "class_weight" not in n]
        trained = {n: checkpoint["state_dict"][n] for n in names}
        add_averages(checkpoint, "EMA of decay 0.9", {n: 1.5 * x for n, x in trained.items()}, trained)
        torch.save(checkpoint, path)
    return run


def probabilities(path: Path, file: Path, jets: int) -> np.ndarray:
    """[jets, 3] of one-jet calls, straight from the file of jets."""
    session = onnxruntime.InferenceSession(path.read_bytes())
    described = json.loads(session.get_modelmeta().custom_metadata_map["gnn_config"])
    with h5py.File(file) as opened:
        tables = {name: opened[name][:jets] for name in ("jets", "tracks")}
    found = []
    for jet, tracks in zip(tables["jets"], tables["tracks"], strict=True):
        rows = {"jets": jet[None], "tracks": tracks[tracks["valid"]]}
        tensors = {
            each["name"]: np.stack([rows[each["dataset"]][v].astype("f4") for v in each["variables"]], -1)
            for each in described["inputs"]
        }
        found.append(session.run(["simple_pb", "simple_pc", "simple_pu"], tensors))
    return np.array(found)


@pytest.mark.parametrize("weights", ["average", "trained"])
def test_a_run_with_averages(weights: str, averaged: Path, command: Command, tmp_path: Path) -> None:
    exported = command("export", str(averaged), "-o", "tagger.onnx", "--weights", weights)
    assert exported.code == 0, exported.err
    assert "compared with PyTorch on 72 jets" in exported.err
    described = json.loads({e.key: e.value for e in onnx.load("tagger.onnx").metadata_props}["gnn_config"])
    assert described["weights"]["averaged"] == (weights == "average")
    assert "EMA of decay 0.9" in described["weights"]["weights"]
    assert described["weights"]["run"] == "averaged"

    config = yaml.safe_load((averaged / "config.yaml").read_text())
    (averaged / "config.yaml").write_text(yaml.safe_dump({**config, "compile": False}, sort_keys=False))
    tested = command("test", "--config", str(averaged / "config.yaml"), "--weights", weights, "--data.num_test=100")
    assert tested.code == 0, tested.err
    with h5py.File(next((averaged / "ckpts").glob("*__test_*.h5"))) as file:
        scored = np.stack([file["jets"][f"simple_p{x}"] for x in "bcu"], -1)
    sample = Path(__file__).resolve().parents[2] / "salt" / "sample" / "test.h5"
    np.testing.assert_allclose(probabilities(tmp_path / "tagger.onnx", sample, 100), scored, rtol=0, atol=1e-6)


def test_inspection_and_what_is_there_is_kept(run_folder: Path, command: Command, tmp_path: Path) -> None:
    words = ("export", str(run_folder), "-o", "tagger.onnx", "--name", "DS1", "--rename", "track_features=tracks")
    exported = command(*words, "--batched", "--combine", "pheavy=pb+pc")
    assert exported.code == 0, exported.err
    shown = command("export", "--inspect", "tagger.onnx")
    assert shown.code == 0
    for text in ("DS1_pheavy", "track_offsets", "[num_jets, 2]", "num_jets + 1", "IP3D_signed_d0", "sha256", "DS1_pu"):
        assert text in shown.out
    again = command(*words)
    assert again.code == 2
    assert "tagger.onnx exists; give --overwrite" in again.err


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ([], 2, "which run?"),
        (["RUN"], 2, "where to?"),
        (["RUN", "-o", "missing/a.onnx"], 2, "there is no folder missing"),
        (["RUN", "-o", "."], 2, ". is a folder; name a file"),
        (["RUN", "-o", "a.onnx", "--rename", "pb"], 2, "--rename pb: written --rename OLD=NEW"),
        (["RUN", "-o", "a.onnx", "--combine", "p=a+b", "--combine", "p=a+c"], 2, "--combine names p twice"),
        (["RUN", "-o", "a.onnx", "--taks", "x"], 2, "does not know '--taks'"),
        (["RUN", "-o", "a.onnx", "--weights", "best"], 2, "invalid choice: 'best'"),
        (["RUN", "--inspect", "a.onnx"], 2, "takes no run"),
        (["--inspect", "a.onnx"], 1, "there is no file a.onnx"),
        (["RUN", "-o", "a.onnx"], 2, "no run 'RUN'"),
    ],
)
def test_wrong_commands(words: list[str], code: int, text: str, command: Command, tmp_path: Path) -> None:
    result = command("export", *words)
    assert (result.code, text in result.err) == (code, True), result.err
    assert not list(tmp_path.glob("*.onnx"))


def test_the_file_to_inspect_is_no_model(command: Command, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_text("a text")
    result = command("export", "--inspect", "a.onnx")
    assert result.code == 1
    assert "a.onnx is no ONNX model" in result.err


def test_a_missing_extra_is_named(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = command("export", "RUN", "-o", "a.onnx")
    assert result.code == 1
    assert 'pip install "salt-tagger[export]"' in result.err
