"""``main backtest`` of a trained run, which it tests itself."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import Command


def test_a_run_is_tested_and_cut_into_slices(command: Command, run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder, tmp_path / "logs" / "mine")
    none = command("backtest", "mine", "--by", "pt")
    assert none.code == 2
    assert "run mine has no predictions\ngive a file to score by --test_file" in none.err
    result = command("backtest", "mine", "--by", "n_tracks", "--test_file", "sample:test", "--quantiles", "4")
    assert result.code == 0, result.err
    assert "mine: 500 jets of" in result.out
    (tested,) = (tmp_path / "logs" / "mine" / "ckpts").glob("*__test_*.json")
    metrics = json.loads(tested.read_text())["metrics"]
    ours = json.loads(Path("backtest_n_tracks", "backtest.json").read_text())["samples"]
    (sample,) = ours.values()
    whole = sample["taggers"]["mine"]["all"]["metrics"]
    for name in ("accuracy", "auc", "auc_bjets", "rejection_cjets_at_70", "rejection_ujets_at_70"):
        theirs = metrics[f"test/jets_classification/{name}"]
        assert whole[name]["value"] == pytest.approx(theirs["value"], rel=1e-6)
        assert whole[name]["error"] == (pytest.approx(theirs["error"], rel=1e-6) if "error" in theirs else None)
    again = command("backtest", "mine", "--by", "pt", "--test_file", "sample:test")
    assert again.code == 0, again.err
    assert "nothing to do" in again.err
