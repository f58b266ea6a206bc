"""Servers that refuse, are silent, or die: nobody waits for them, and nothing is lost."""

import json
import logging
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from run_files import archived, holds, logged, make_run
from stand_in import StandIn

from salt.callbacks.comet import Comet
from salt.comet.content import FIGURES, Settings, figures
from salt.comet.process import SenderProcess
from salt.comet.record import Record, write_record

KEY = "e" * 32
Patch = pytest.MonkeyPatch
Said = pytest.LogCaptureFixture


@pytest.fixture(autouse=True)
def _online(tmp_path: Path, monkeypatch: Patch, caplog: Said) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COMET_API_KEY", "secretsecretsecret")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
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
    assert not list((folder.parent / "tmp").iterdir())
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


def test_a_key_that_comet_does_not_know(tmp_path: Path, monkeypatch: Patch, caplog: Said) -> None:
    monkeypatch.delenv("COMET_API_KEY")
    (tmp_path / ".comet.config").write_text("[comet]\napi_key=secretsecretsecret\n")
    rows = make_run(tmp_path / "run", 40)
    with StandIn(only_key="another") as server:
        monkeypatch.setenv("COMET_URL_OVERRIDE", server.url)
        process = begin(tmp_path / "run")
        tell(process, rows)
        process.end()
    assert "Comet: it does not know the API key" in caplog.text
    check_archive(tmp_path / "run", caplog)


def figure(step: int) -> dict[str, Any]:
    counts = [[step, 1], [2, 3]]
    return {"name": "c", "step": step, "epoch": 0, "kind": "confusion", "counts": counts, "classes": ["a", "b"]}


def uploads(archive: Path, kind: str) -> list[int]:
    """Steps of all files of a kind in an archive."""
    with zipfile.ZipFile(archive) as file:
        lines = [json.loads(line) for line in file.read("messages.json").decode().splitlines()]
    sent = [line["payload"] for line in lines if line["type"] == "file_upload"]
    return [each["additional_params"]["step"] for each in sent if each["upload_type"] == kind]


def test_going_on_from_before_what_was_kept(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    make_run(folder, 20)
    write_record(folder, Record(KEY, next_step=20))
    (folder / "comet").mkdir()
    (folder / FIGURES).write_text("".join(json.dumps(figure(step)) + "\n" for step in (5, 15)))
    logger = Comet(online=False)
    logger.begin(folder, 2, "config.yaml", 10, None)
    with (folder / FIGURES).open("a") as file:
        for step in range(10, 15):
            logger.log_metrics({"epoch": 1, "train/loss": 7.0 + step}, step)
            file.write(json.dumps(figure(step)) + "\n")
            assert logger._process is not None
            logger._process.tell("figure", figure(step))
    logger.finalize("success")
    archive = folder / "comet" / "attempt-2.zip"
    found = {step: value for (name, step), value in archived(archive).items() if name == "train/loss"}
    assert found == {step: 7.0 + step for step in range(10, 15)}
    assert uploads(archive, "confusion-matrix") == list(range(10, 15))
    assert uploads(archive, "visualization")[-1] == 14
    assert json.loads((folder / "comet.json").read_text())["next_step"] == 15
    assert [each["step"] for each in figures(folder, 0)] == [5, 10, 11, 12, 13, 14]


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
