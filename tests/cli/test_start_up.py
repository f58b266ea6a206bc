"""Commands import what they use and no more, each in an interpreter of its own."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import SMALL

LIGHTNING = {"lightning", "torch", "torchmetrics"}
DRAWING = {"matplotlib", "mplhep", "puma"}
OTHERS = {"scipy", "comet_ml", "pythia8mc", "fastjet", "onnx", "onnxruntime", "pandas", "tensorboard"}

PROBE = """\
import sys
from salt.main import main
code = main(sys.argv[2:])
loaded = set(sys.modules) & set(sys.argv[1].split(","))
sys.exit(f"exit code {code}" if code else f"imported: {sorted(loaded)}" if loaded else 0)
"""


def check(unwanted: set[str], words: list[str], folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, ",".join(unwanted), *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_what_needs_no_verb_needs_next_to_nothing(word: str, tmp_path: Path) -> None:
    check(LIGHTNING | DRAWING | OTHERS | {"numpy", "h5py", "jsonargparse", "yaml"}, [word], tmp_path)


@pytest.mark.parametrize("verb", ["norm", "simulate", "rejection", "runs"])
def test_verbs_without_a_model_need_no_lightning(verb: str, tmp_path: Path) -> None:
    check(LIGHTNING | DRAWING | OTHERS, [verb, "--help"], tmp_path)


def test_reading_predictions_needs_no_lightning(tmp_path: Path) -> None:
    jets = np.zeros(4, dtype=[("m_pb", "f4"), ("m_pc", "f4"), ("m_pu", "f4"), ("HadronConeExclTruthLabelID", "i4")])
    jets["m_pb"], jets["m_pc"], jets["m_pu"] = [0.8, 0.6, 0.2, 0.1], 0.1, [0.1, 0.3, 0.7, 0.8]
    jets["HadronConeExclTruthLabelID"] = [5, 5, 0, 4]
    with h5py.File(tmp_path / "scored.h5", "w") as file:
        file["jets"] = jets
    check(LIGHTNING | DRAWING | OTHERS, ["rejection", "scored.h5"], tmp_path)


@pytest.mark.parametrize(
    "words", [["--help"], ["--config", "simple", *SMALL, "--trainer.fast_dev_run", "1"]], ids=["help", "training"]
)
def test_a_training_draws_nothing_and_logs_only_where_asked(words: list[str], tmp_path: Path) -> None:
    check(DRAWING | OTHERS, ["fit", *words], tmp_path)


def test_plots_of_torchmetrics_still_work(tmp_path: Path) -> None:
    script = """\
import sys
from salt.cli.lean import import_lightning
import_lightning()
assert not {"matplotlib", "scipy"} & set(sys.modules)
import torchmetrics
import torchmetrics.utilities.imports as found
metric = torchmetrics.MeanMetric()
metric.update(0.25)
figure, axes = metric.plot()
assert [float(point.get_ydata()[0]) for point in axes.lines[:1]] == [0.25]
assert found._SCIPY_AVAILABLE and found._MATPLOTLIB_AVAILABLE
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, timeout=120, check=True)
