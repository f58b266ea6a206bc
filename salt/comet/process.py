"""The sender as the training sees it: told of everything at once, and waited for only at the end."""

import json
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from salt.comet.content import Settings
from salt.comet.sender import CLOSING, command

log = logging.getLogger(__name__)

SILENT = 300.0
"""Seconds after which a sender that says nothing is given up. It bounds itself by far less."""

MASKED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


class SenderProcess:
    """Starts a sender, in a session of its own, where no Ctrl-C and no signal to the training's group reaches it.

    Args:
        settings: Of the experiment.

    Attributes:
        heard: The last that it has said.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self.heard: Mapping[str, Any] = {}
        # Signals of a moment before it ignores them wait until it does.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, MASKED)
        try:
            self._process = subprocess.Popen(
                command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._writing = threading.Thread(target=self._write, daemon=True)
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._writing.start()
        self._reading.start()
        self._lines.put(settings.to_json())

    def tell(self, kind: str, message: Mapping[str, Any]) -> None:
        """Has a message passed on, without waiting for it."""
        self._lines.put(json.dumps({"kind": kind, **message}))

    def end(self) -> None:
        """Waits until everything has been sent, or lies in an archive. Where Comet is silent, that is a few seconds."""
        self.tell("end", {})
        self._lines.put(None)
        end = time.monotonic() + SILENT + CLOSING
        self._reading.join(max(0.0, end - time.monotonic()))
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0 if self._reading.is_alive() else 5)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self.heard.get("state") not in ("sent", "archived"):
            reason = self.heard.get("reason") or "it was killed"
            log.warning("the experiment could not be kept for Comet: %s\n%s", reason, advice(self._settings))

    def _write(self) -> None:
        assert self._process.stdin is not None
        with suppress(OSError), self._process.stdin as pipe:
            while (line := self._lines.get()) is not None:
                pipe.write(line + "\n")
                pipe.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            for line in pipe:
                self.heard = json.loads(line)
                _announce(self.heard)


def _announce(message: Mapping[str, Any]) -> None:
    """Says what a user wants to know."""
    state = message["state"]
    if state == "online":
        log.info("Comet: %s", message["url"])
    elif state == "offline":
        if message["reason"] in ("no key", "as asked for"):
            words = "no Comet key in the environment" if message["reason"] == "no key" else "Comet is offline"
            log.info("%s: the experiment will be kept as an archive in the run folder", words)
        else:
            log.warning("Comet: %s; the experiment will be kept as an archive in the run folder", message["reason"])
    elif state == "archived":
        log.info("to send the experiment to Comet: comet upload %s", _shown(Path(message["path"])))


def _shown(path: Path) -> str:
    relative = os.path.relpath(path)
    return relative if not relative.startswith("..") else str(path)


def advice(settings: Settings) -> str:
    """How an archive is written later."""
    return f"to write an archive of it: python -m salt.comet {_shown(Path(settings.folder))}"
