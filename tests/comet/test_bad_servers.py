"""Servers that refuse, are silent, or die: nobody waits for them, and nothing is lost."""

import json
import logging
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from run_files import archived, holds, logged, make_run
from stand_in import StandIn

from salt.comet.content import Settings
from salt.comet.process import SenderProcess
from salt.comet.record import Record, write_record

KEY = "e" * 32
Patch = pytest.MonkeyPatch
Said = pytest.LogCaptureFixture


@pytest.fixture(autouse=True)
def _online(tmp_path: Path, monkeypatch: Patch, caplog: Said) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COMET_API_KEY", "secretsecretsecret")
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO, "salt")


@contextmanager
def silent() -> Iterator[str]:
    """Takes connections and never says anything."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(100)
        yield f"http://127.0.0.1:{server.getsockname()[1]}/clientlib/"


@contextmanager
def refusing() -> Iterator[str]:
    """Nobody is there."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{server.getsockname()[1]}/clientlib/"


def begin(folder: Path) -> SenderProcess:
    write_record(folder, Record(KEY))
    return SenderProcess(
        Settings(str(folder), KEY, project="salt", name=folder.name, options={"log_env_details": False})
    )


def tell(process: SenderProcess, rows: list[tuple[int, int, dict[str, float]]]) -> None:
    for step, epoch, values in rows:
        process.tell("values", {"step": step, "epoch": epoch, "metrics": values})


def check_archive(folder: Path, caplog: Said) -> None:
    archive = folder / "comet" / "attempt-1.zip"
    assert holds(logged(folder), archived(archive))
    assert "comet upload run/comet/attempt-1.zip" in caplog.text
    assert json.loads((folder / "comet.json").read_text())["next_step"] == len({s for _, s in logged(folder)})
    assert not list((folder / "comet").glob(".*"))
    assert "secretsecret" not in caplog.text
    assert b"secretsecret" not in archive.read_bytes()


@pytest.mark.parametrize("server", [silent, refusing])
def test_a_server_that_is_not_there(
    server: Callable[[], Iterator[str]],
    tmp_path: Path,
    monkeypatch: Patch,
    caplog: Said,
) -> None:
    rows = make_run(tmp_path / "run", 40)
    with server() as url:  # type: ignore[attr-defined]
        monkeypatch.setenv("COMET_URL_OVERRIDE", url)
        process = begin(tmp_path / "run")
        tell(process, rows)
        process.end()
    check_archive(tmp_path / "run", caplog)


@pytest.mark.parametrize("trouble", ["die", "fall_silent", "refuse_metrics"])
def test_a_server_that_fails_in_the_middle(trouble: str, tmp_path: Path, monkeypatch: Patch, caplog: Said) -> None:
    rows = make_run(tmp_path / "run", 40)
    with StandIn() as server:
        monkeypatch.setenv("COMET_URL_OVERRIDE", server.url)
        process = begin(tmp_path / "run")
        tell(process, rows[:20])
        until(lambda: bool(server.metrics(KEY)))
        getattr(server, trouble)()
        tell(process, rows[20:])
        process.end()
    check_archive(tmp_path / "run", caplog)


def test_what_a_killed_attempt_has_not_sent_is_sent_by_the_next(tmp_path: Path, monkeypatch: Patch) -> None:
    rows = make_run(tmp_path / "run", 40)
    write_record(tmp_path / "run", Record(KEY, next_step=10))
    with StandIn() as server:
        monkeypatch.setenv("COMET_URL_OVERRIDE", server.url)
        settings = Settings(str(tmp_path / "run"), KEY, attempt=3, first_step=30, options={"log_env_details": False})
        process = SenderProcess(settings)
        tell(process, rows[30:])
        process.end()
        assert process.heard == {"state": "sent"}
        assert {step for _, step in server.metrics(KEY) if step is not None} == set(range(10, 40))
    assert json.loads((tmp_path / "run/comet.json").read_text())["next_step"] == 40


KILLED = """
import os, signal, time
from test_bad_servers import begin
from pathlib import Path

process = begin(Path("run"))
while not process.heard:
    time.sleep(0.05)
process.tell("values", {"step": 0, "epoch": 0, "metrics": {"train/loss": 1.0}})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_training_that_is_killed_leaves_an_archive(tmp_path: Path, monkeypatch: Patch) -> None:
    make_run(tmp_path / "run", 5)
    with refusing() as url:
        monkeypatch.setenv("COMET_URL_OVERRIDE", url)
        monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
        done = subprocess.run([sys.executable, "-c", KILLED], check=False, timeout=600)
        assert done.returncode == -signal.SIGKILL
        until((tmp_path / "run/comet/attempt-1.zip").is_file)
    assert holds(logged(tmp_path / "run"), archived(tmp_path / "run/comet/attempt-1.zip"))


def test_an_archive_is_written_of_a_run_whose_node_died(tmp_path: Path) -> None:
    make_run(tmp_path / "run", 5)
    done = subprocess.run(
        [sys.executable, "-m", "salt.comet", "run"], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "to send the experiment to Comet: comet upload run/comet/attempt-1.zip\n"
    assert holds(logged(tmp_path / "run"), archived(tmp_path / "run/comet/attempt-1.zip"))


def until(condition: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
