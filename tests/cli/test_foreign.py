"""Files of the field's own tools, trained on and scored with a few lines of YAML."""

from pathlib import Path

import h5py
import numpy as np
from conftest import SMALL, Command
from ftag import get_mock_file
from upp_case import preprocess

TRACKS = "[d0, z0SinTheta, dphi, deta, qOverP]"

MOCK = f"""
data:
  train_file: mock.h5
  val_file: other.h5
  test_file: other.h5
  inputs: {{tracks: {{variables: {TRACKS}}}}}
model:
  tasks:
    jets_classification: {{label_map: {{5: bjets, 4: cjets, 0: ujets}}}}
    track_origin: null
    track_vertexing: null
"""

UPP = f"""
data:
  train_file: out/pp_output_train.h5
  val_file: out/pp_output_val.h5
  test_file: out/pp_output_test_mixed.h5
  norm_dict: out/norm_dict.yaml
  class_dict: out/class_dict.yaml
  inputs:
    jets: {{variables: [pt_btagJes, eta_btagJes]}}
    tracks: {{variables: {TRACKS}}}
model:
  tasks:
    jets_classification: {{class_weights: class_dict}}
    track_origin: null
    track_vertexing: null
"""

FLAGS = [word for word in SMALL if "num_train" not in word and "num_val" not in word and "num_test" not in word]


def train_and_score(command: Command, tmp_path: Path, text: str) -> tuple[np.ndarray, np.ndarray]:
    """The scored jets and those of the test file."""
    (tmp_path / "own.yaml").write_text(text)
    result = command("fit", "--config", "gnn", "--config", "own.yaml", *FLAGS, "--trainer.max_epochs=1")
    assert result.code == 0, result.err
    (run,) = (tmp_path / "logs").iterdir()
    result = command("test", "--config", str(run / "config.yaml"))
    assert result.code == 0, result.err
    test_file = next(line.split()[1] for line in text.splitlines() if "test_file" in line)
    with h5py.File(next(run.glob("ckpts/*__test_*.h5")), locking=False) as scored:
        jets = scored["jets"][:]
    with h5py.File(tmp_path / test_file, locking=False) as source:
        return jets, source["jets"][:]


def test_a_mock_file_of_ftag(command: Command, tmp_path: Path) -> None:
    for name in ("mock.h5", "other.h5"):
        get_mock_file(1000, fname=str(tmp_path / name))[1].close()
    scored, truth = train_and_score(command, tmp_path, MOCK)
    np.testing.assert_array_equal(scored["pt"], truth["pt"])
    np.testing.assert_array_equal(scored["flavour_label"], truth["flavour_label"])
    assert set(np.unique(scored["flavour_label"])) == {0, 4, 5}
    assert np.isfinite(scored["gnn_pb"]).all()


def test_a_file_preprocessed_by_upp(command: Command, tmp_path: Path) -> None:
    preprocess(tmp_path, "train", "val", "test")
    scored, truth = train_and_score(command, tmp_path, UPP)
    np.testing.assert_array_equal(scored["pt"], truth["pt"])
    np.testing.assert_allclose(sum(scored[f"gnn_p{x}"] for x in "bcu"), 1, atol=2e-6)
