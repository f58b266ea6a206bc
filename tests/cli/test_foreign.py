"""Files of the field's own tools, trained on and scored with a few lines of YAML."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
from conftest import SMALL, Command
from ftag import get_mock_file

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

PREPROCESSING = """
mixed: &mixed {name: mixed, pattern: mock.h5}
all: &all {name: all, cuts: [[pt, ">", 20000]]}
global_cuts:
  train: [[eta, "<", 0.5]]
  val: [[eta, ">=", 0.5], [eta, "<", 1.2]]
  test: [[eta, ">=", 1.2]]
components:
  - {region: *all, sample: *mixed, flavours: [bjets], num_global_objects: 400}
  - {region: *all, sample: *mixed, flavours: [cjets], num_global_objects: 400}
  - {region: *all, sample: *mixed, flavours: [ujets], num_global_objects: 400}
resampling:
  target: bjets
  method: countup
  sampling_fraction: 1.0
  variables:
    pt: {bins: [[20000, 400000, 3]]}
    abs_eta: {bins: [[0, 2.5, 1]]}
global:
  {batch_size: 1000, num_global_objects_estimate: 1000, num_global_objects_estimate_norm: 1000,
   num_global_objects_estimate_available: -1, base_dir: ".", out_dir: out, ntuple_dir: ntuples}
variables:
  jets: {inputs: [pt_btagJes, eta_btagJes], labels: [pt, eta, HadronConeExclTruthLabelID]}
  tracks: {inputs: [d0, z0SinTheta, dphi, deta, qOverP], labels: [leptonID]}
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
    (tmp_path / "ntuples").mkdir()
    get_mock_file(6000, fname=str(tmp_path / "ntuples" / "mock.h5"))[1].close()
    (tmp_path / "upp.yaml").write_text(PREPROCESSING)
    preprocess = Path(sys.executable).parent / "preprocess"
    for split in ("train", "val", "test"):
        subprocess.run(
            [preprocess, "--config", "upp.yaml", "--split", split, "--no-plot"],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
    scored, truth = train_and_score(command, tmp_path, UPP)
    np.testing.assert_array_equal(scored["pt"], truth["pt"])
    np.testing.assert_allclose(sum(scored[f"gnn_p{x}"] for x in "bcu"), 1, atol=2e-6)
