"""Whole trainings on fast storage: shared while they last, and nothing left there however they end."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from salt.main import main

pytestmark = pytest.mark.slow

WORDS = (
    "--config=simple",
    "--trainer.logger=false",
    "--trainer.accelerator=cpu",
    "--data.num_workers=1",
    "--data.num_train=1000",
    "--data.num_val=200",
    "--data.batch_size=100",
    "--data.move_files_temp=fast",
)

BOOM = """
from lightning.pytorch import Callback

class Boom(Callback):
    def on_train_batch_end(self, *args, **kwargs):
        raise RuntimeError("boom")
"""

STAGES = ("copy", "packed")


@pytest.fixture
def fit(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts trainings in groups of their own, so that nothing of them outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "salt", "fit", *WORDS, *words]
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def until_epoch(process: subprocess.Popen[str], number: int) -> None:
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith(f"epoch {number}/"):
            return
    raise AssertionError("".join(said))


def staged(folder: Path) -> list[Path]:
    return sorted(folder.glob("fast/*"))


def until_gone(process: subprocess.Popen[str]) -> None:
    """Until no process of its group is there; workers of a killed process end a little after it."""
    for _ in range(500):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    raise AssertionError("a process lives on")


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("ending", ["success", "exception", "SIGINT", "SIGTERM", "SIGKILL"])
def test_nothing_is_left(fit, tmp_path: Path, stage: str, ending: str) -> None:
    words = [f"--data.stage={stage}", f"--trainer.max_epochs={2 if ending == 'success' else 1000}"]
    if ending == "exception":
        (tmp_path / "boom.py").write_text(BOOM)
        words.append("--trainer.callbacks.Boom.class_path=boom.Boom")
    process = fit(*words)
    if ending == "exception":
        assert "boom" in process.communicate()[1]
        assert process.returncode == 1
        assert staged(tmp_path) == []
        return
    until_epoch(process, 1)
    if ending == "success":
        assert len(staged(tmp_path)) == 4, "files are not staged while the training goes on"
        assert "Traceback" not in process.communicate()[1]
        assert process.returncode == 0
        assert staged(tmp_path) == []
        return
    number = signal.Signals[ending]
    if ending == "SIGINT":
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    process.communicate()
    assert process.returncode == {"SIGINT": 130, "SIGTERM": 143, "SIGKILL": -9}[ending]
    if ending != "SIGKILL":
        assert staged(tmp_path) == []
        return
    until_gone(process)
    assert len(staged(tmp_path)) == 4
    following = fit("--data.num_train=500", f"--data.stage={stage}", "--trainer.max_epochs=1")
    following.communicate()
    assert following.returncode == 0
    assert staged(tmp_path) == []


@pytest.mark.parametrize("stage", STAGES)
def test_two_trainings_share_one_copy(fit, tmp_path: Path, stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    long = fit(f"--data.stage={stage}", "--trainer.max_epochs=1000")
    short = fit(f"--data.stage={stage}", "--trainer.max_epochs=20")
    until_epoch(long, 1)
    until_epoch(short, 1)
    folders = {path: path.stat().st_ino for path in staged(tmp_path) if path.is_dir()}
    assert len(folders) == 2
    assert main(["stage", "list", str(tmp_path / "fast")]) == 0
    assert capsys.readouterr().out.count(", used by 2 processes (") == 2
    short.communicate()
    assert short.returncode == 0
    assert {path: path.stat().st_ino for path in staged(tmp_path) if path.is_dir()} == folders
    assert main(["stage", "clean", str(tmp_path / "fast")]) == 0
    assert {path: path.stat().st_ino for path in staged(tmp_path) if path.is_dir()} == folders
    assert long.poll() is None
    long.send_signal(signal.SIGTERM)
    long.communicate()
    assert staged(tmp_path) == []


@pytest.mark.parametrize("stage", STAGES)
def test_two_processes_of_one_training_share_one_copy(
    fit, tmp_path: Path, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    process = fit(f"--data.stage={stage}", "--trainer.max_epochs=10", "--trainer.devices=2")
    until_epoch(process, 1)
    assert main(["stage", "list", str(tmp_path / "fast")]) == 0
    uses = re.findall(r"used by 2 processes \((\d+) (\d+)\)", capsys.readouterr().out)
    assert len(uses) == len(staged(tmp_path)) // 2 == 2
    assert {pid for use in uses for pid in use} >= {str(process.pid)}
    process.communicate()
    assert process.returncode == 0
    assert staged(tmp_path) == []


@pytest.mark.parametrize("optional", [True, False])
def test_two_processes_do_without_storage_together(fit, tmp_path: Path, optional: bool) -> None:
    (tmp_path / "fast").write_text("a file")
    process = fit(f"--data.stage_optional={optional}", "--trainer.max_epochs=1", "--trainer.devices=2")
    said = process.communicate()[1]
    assert "data.move_files_temp: fast cannot be used: File exists" in said
    assert process.returncode == (0 if optional else 1), said
    assert ("epoch 1/1" in said) == ("; the files are read where they are\n" in said) == optional
