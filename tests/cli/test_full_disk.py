"""A disk that fills up while a checkpoint is written."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from salt.callbacks.checkpoint_io import AtomicCheckpointIO, discard_leftovers


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_training_on_a_full_disk_ends_with_one_line_and_keeps_its_last_checkpoint(small_disk: Path) -> None:
    words = ["--config=simple", "--trainer.logger=false", "--trainer.accelerator=cpu", "--data.num_workers=0"]
    words += ["--data.num_train=1000", "--data.num_val=100", "--trainer.max_epochs=100"]
    words += ["--trainer.callbacks.Checkpoint.save_top_k=-1", f"--trainer.default_root_dir={small_disk}/logs"]
    ended = subprocess.run(
        [sys.executable, "-m", "salt", "fit", *words],
        cwd=small_disk.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    (run,) = (small_disk / "logs").iterdir()
    last = run / "ckpts" / "last.ckpt"
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error:")]
    (error,) = errors
    assert f"cannot write {run}/ckpts/" in error
    assert f"No space left on device; {last} of before is whole" in error
    assert "Traceback" not in ended.stderr
    state = torch.load(last, weights_only=True)
    assert 0 < state["global_step"] < 1000
    assert state["epoch"] >= 1
    assert [p.name for p in last.parent.glob(".*")] == []


def test_no_predictions_are_left_on_a_full_disk(small_disk: Path, run_folder: Path) -> None:
    run = small_disk / "run"
    shutil.copytree(run_folder, run)
    free = shutil.disk_usage(small_disk).free
    (small_disk / "other").write_bytes(bytes(free - 60_000))
    before = sorted((run / "ckpts").iterdir())
    words = ["--config", f"{run}/config.yaml", "--data.num_test=-1", "--data.num_workers=0"]
    ended = subprocess.run(
        [sys.executable, "-m", "salt", "test", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    (error,) = [line for line in ended.stderr.splitlines() if line.startswith("error:")]
    assert f"cannot write {run}/ckpts/" in error
    assert "No space left on device" in error
    assert "Traceback" not in ended.stderr
    assert sorted((run / "ckpts").iterdir()) == before


def test_what_a_killed_process_left_is_removed_and_what_one_is_writing_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1}, target)
    (tmp_path / ".last.ckpt.123.part").write_bytes(b"half of it")
    meanwhile: list[list[str]] = []
    fsync = os.fsync

    def looking(descriptor: int) -> None:
        discard_leftovers(tmp_path)
        meanwhile.append(sorted(p.name for p in tmp_path.iterdir()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", looking)
    AtomicCheckpointIO().save_checkpoint({"step": 2}, target)
    assert meanwhile[0] == [f".last.ckpt.{os.getpid()}.part", "last.ckpt"]
    assert torch.load(target, weights_only=True) == {"step": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]
