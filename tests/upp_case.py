"""Training files that umami-preprocessing makes of a mock file of ftag."""

import subprocess
import sys
from pathlib import Path

from ftag import get_mock_file

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


def preprocess(folder: Path, *splits: str) -> None:
    """Makes the files of some splits, in the folder ``out``: 400 jets of each flavour to train on."""
    (folder / "ntuples").mkdir()
    get_mock_file(6000, fname=str(folder / "ntuples" / "mock.h5"))[1].close()
    (folder / "upp.yaml").write_text(PREPROCESSING)
    command = [str(Path(sys.executable).parent / "preprocess"), "--config", "upp.yaml", "--no-plot"]
    for split in splits:
        subprocess.run([*command, "--split", split], cwd=folder, check=True, capture_output=True)
