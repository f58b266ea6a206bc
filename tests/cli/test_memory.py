"""A full memory ends a command with the batch size to try."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import SMALL, Command

from salt.cli.memory import Step, memory_advice

CALLBACKS = '''\
import multiprocessing, os, resource, signal, time
from pathlib import Path
from lightning.pytorch import Callback

class Kill(Callback):
    def on_train_batch_start(self, *args, **kwargs) -> None:
        for worker in multiprocessing.active_children():
            os.kill(worker.pid, signal.SIGKILL)

class KillWrapped(Kill):
    """The loss of a worker surfaces inside of code that wraps all errors, as that of `inspect` does."""

    def on_train_batch_start(self, *args, **kwargs) -> None:
        try:
            super().on_train_batch_start(*args, **kwargs)
            time.sleep(60)
        except RuntimeError as error:
            raise TypeError("unsupported callable") from error

class Limit(Callback):
    def __init__(self, hook: str) -> None:
        setattr(self, hook, self.limit)

    def limit(self, *args, **kwargs) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        size = pages * resource.getpagesize() + 2**24
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
'''
"""Callbacks: two kill the loader's workers, the other leaves the process hardly more memory than it has by then."""

LINUX = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is measured and limited as on Linux")


def ended_by(folder: Path, callback: str, *words: str) -> list[str]:
    """The lines with which a command ends that has one more callback."""
    (folder / "mine.py").write_text(CALLBACKS)
    done = subprocess.run(
        [sys.executable, "-m", "salt", *words, "--trainer.callbacks.Mine", f"{{class_path: mine.{callback}}}"],
        cwd=folder,
        # Freed memory goes back to the system, so that what a step needs is asked for anew.
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    return lines[[line.startswith("error: ") for line in lines].index(True) :]


@LINUX
def test_a_training_step_that_does_not_fit(tmp_path: Path) -> None:
    flags = [*SMALL, "--data.num_train=-1", "--data.batch_size=3001", "--trainer.num_sanity_val_steps=0"]
    said = ended_by(tmp_path, "Limit, hook: on_train_batch_start", "fit", "--config", "gn2", *flags)
    assert len(said) == 2
    assert said[0].startswith("error: out of memory on cpu in a training step of 3001 jets with ")
    tracks = int(said[0].split()[-2])
    assert 3001 < tracks < 40 * 3001
    half = f"try --data.batch_size 1500, or the same batch in parts by --data.constituents_per_step {tracks // 2}"
    assert said[1] == half
    assert not list((tmp_path / "logs").iterdir())


@LINUX
def test_a_test_step_that_does_not_fit(command: Command, tmp_path: Path) -> None:
    short = ["--data.num_train=200", "--data.num_val=200", "--trainer.max_epochs=1"]
    assert command("fit", "--config", "gn2", *SMALL, *short).code == 0
    (folder,) = (tmp_path / "logs").iterdir()
    flags = ["--data.num_test=3001", "--data.batch_size=4000", "--trainer.callbacks.PredictionWriter=null"]
    hook = "Limit, hook: on_test_batch_start"
    said = ended_by(tmp_path, hook, "test", "--config", str(folder / "config.yaml"), *flags)
    assert len(said) == 2
    assert said[0].startswith("error: out of memory on cpu in a test step of 3001 jets with ")
    assert said[1] == "try --data.batch_size 1500"


@pytest.mark.parametrize("callback", ["Kill", "KillWrapped"])
def test_a_worker_that_is_killed(tmp_path: Path, callback: str) -> None:
    said = ended_by(tmp_path, callback, "fit", "--config", "simple", *SMALL, "--data.num_workers=1")
    assert said[0] == "error: a process that reads was killed, as happens when memory runs out"
    assert said[1].startswith("try fewer --data.num_workers")
    assert len(said) == 2


@pytest.mark.parametrize(
    ("kind", "jets", "constituents", "batch_size", "advice"),
    [
        ("training", 1000, {"tracks": 7001}, 1000, ("batch_size 500,", "constituents_per_step 3500")),
        ("training", 1000, {"tracks": 7001, "flows": 1000}, 1000, ("7001 tracks, 1000 flows", "per_step 4000")),
        ("training", 40, {"tracks": 300}, 1000, ("batch_size 20,",)),
        ("prediction", 1000, {}, 1000, ("of 1000 jets\n", "batch_size 500")),
        ("validation", 1, {"tracks": 9}, 64, ("embed_dim",)),
    ],
)
def test_the_advice_is_less_than_what_did_not_fit(
    kind: str, jets: int, constituents: dict[str, int], batch_size: int, advice: tuple[str, ...]
) -> None:
    text = memory_advice(MemoryError(), Step(kind, jets, constituents, batch_size, "cuda:0"))
    assert text is not None
    assert f"on cuda:0 in a {kind} step of {jets} jets" in text
    assert len(text.splitlines()) == 2
    assert all(words in text for words in advice)
    assert ("constituents_per_step" in text) == (kind == "training")


def test_only_a_lack_of_memory_is_called_one() -> None:
    with pytest.raises(RuntimeError) as cpu:
        torch.empty(2**60, dtype=torch.uint8)
    chained = RuntimeError("the backend failed")
    chained.__cause__ = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    full = [cpu.value, MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), OSError(12, "no room"), chained]
    assert all("outside of the steps" in (memory_advice(error, None) or "") for error in full)
    others = [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        OSError(28, "disk"),
        ValueError("out of memory"),
    ]
    assert not any(memory_advice(error, None) for error in others)
