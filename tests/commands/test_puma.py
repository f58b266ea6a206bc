"""A prediction file of ours in puma: it reads the file, draws its ROC, and finds our rejections."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from salt.commands.rejection import read
from salt.main import main
from salt.rejection import Fractions, rejection


@pytest.fixture(scope="module")
def predictions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scores of a model that was trained for a moment."""
    root = tmp_path_factory.mktemp("run")
    words = [
        "--config",
        "simple.yaml",
        "--data.num_train",
        "1000",
        "--data.num_val",
        "200",
        "--trainer.max_epochs",
        "1",
    ]
    words += ["--trainer.default_root_dir", str(root), "--trainer.logger", "false", "--data.num_workers", "0"]
    assert main(["fit", *words]) == 0
    config = next(root.glob("*/config.yaml"))
    assert main(["test", "--config", str(config)]) == 0
    return next(config.parent.glob("ckpts/*__test_*.h5"))


@pytest.mark.filterwarnings("default")
def test_puma_draws_the_rejections_that_we_find(predictions: Path, tmp_path: Path) -> None:
    from ftag.utils.metrics import calculate_rejection, calculate_rejection_error
    from puma.hlplots import Results, Tagger

    flavours = ["ujets", "cjets", "bjets"]
    tagger = Tagger("simple", fxs={"fc": 0.2, "fu": 0.8}, output_flavours=flavours, reference=True)
    results = Results(signal="bjets", sample="sample", output_dir=tmp_path, extension="png")
    results.load_taggers_from_file([tagger], predictions)
    results.plot_rocs(x_range=(0.5, 0.9), resolution=9)
    assert list(tmp_path.rglob("*roc.png"))

    ours = read(predictions, Fractions())
    scores = tagger.discriminant("bjets")
    np.testing.assert_allclose(np.sort(scores), np.sort(ours.score), atol=1e-5)
    for theirs, name in (("cjets", "c"), ("ujets", "light")):
        drawn = yaml.safe_load(next(tmp_path.rglob(f"simple_{theirs}.yaml")).read_text())
        efficiency = np.array(drawn["sig_eff"]["__ndarray__"])
        point = rejection(ours.of("b"), ours.of(name), efficiency)
        # The curve in the picture is smoothed; the function beneath it is not, and interpolates between two jets.
        np.testing.assert_allclose(drawn["bkg_rej"]["__ndarray__"], point.value, rtol=0.15)
        found = calculate_rejection(scores[tagger.is_flav("bjets")], scores[tagger.is_flav(theirs)], list(efficiency))
        np.testing.assert_allclose(found, point.value, rtol=0.02)  # One jet more or less passes.
        np.testing.assert_allclose(calculate_rejection_error(found, point.total), point.error, rtol=0.04)


def test_row_i_is_jet_i(predictions: Path) -> None:
    with h5py.File(predictions) as file:
        jets = file["jets"][:]
    total = sum(jets[f"simple_{p}"].astype("f8") for p in ("pb", "pc", "pu"))
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert {"pt", "eta", "flavour_label", "HadronConeExclTruthLabelID", "eventNumber"} <= set(jets.dtype.names)
