"""Runs of earlier versions go on to work. `old_runs/<config_format>` are folders that those versions wrote."""

import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import Command

OLD_RUNS = sorted((Path(__file__).resolve().parents[1] / "old_runs").iterdir())
FLAGS = ("--data.num_workers=0", "--trainer.accelerator=cpu")


@pytest.mark.parametrize("old", OLD_RUNS, ids=lambda p: f"format-{p.name}")
def test_an_old_run_is_scored_and_resumed(old: Path, command: Command, tmp_path: Path) -> None:
    run = Path(shutil.copytree(old, tmp_path / "old"))
    result = command("test", "--config", str(run / "config.yaml"), *FLAGS)
    assert result.code == 0, result.err
    with h5py.File(next(run.glob("ckpts/*__test_*.h5")), locking=False) as file:
        jets = file["jets"][:]
    # What the version that wrote the run gave for these jets.
    expected = np.loadtxt(run / "expected_pb.txt", dtype=np.float32)
    np.testing.assert_allclose(jets["old_pb"][: len(expected)], expected, atol=1e-6)
    words = (f"--ckpt_path={run / 'ckpts/last.ckpt'}", "--trainer.max_epochs=2", *FLAGS)
    result = command("fit", "--config", str(run / "config.yaml"), *words)
    assert result.code == 0, result.err
    assert "epoch 2/2" in result.err


def test_a_full_disk_leaves_no_predictions(tmp_path: Path) -> None:
    run = Path(shutil.copytree(OLD_RUNS[0], tmp_path / "old"))
    words = [sys.executable, "-m", "salt", "test", "--config", str(run / "config.yaml"), *FLAGS]
    limited = ["bash", "-c", 'ulimit -f 40; exec "$@"', "limited", *words]
    done = subprocess.run(limited, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stderr
    assert "error: cannot write" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [p for p in run.rglob("*") if ".h5" in p.name]
