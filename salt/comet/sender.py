"""The process that talks to Comet: it reads lines from the training, and answers with what became of them.

The training is told at once whatever it asks, and waits for nothing until its end. If this process cannot reach Comet,
or no longer, it begins anew as one that writes what is in the run folder into an archive. It outlives a training that
is killed for as long as that takes.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TextIO

from salt.comet.content import FOLDER, Settings, Values, assets, figures, parameters, values
from salt.comet.record import Record, read_record, write_record
from salt.comet.sdk import PATIENCE, Experiment, answers, has_key, within, without_key

OPENING = 20.0
"""Seconds that a server which answers has to take an experiment."""
CLOSING = 30.0
"""Seconds that it has, at the end, to take what is yet to be sent."""

ARCHIVING = "SALT_COMET_ARCHIVE"
"""The settings of a process that only writes an archive are in this variable."""

ENTRY = "import sys; sys.path.append({root!r}); from salt.comet.sender import main; main()"

Message = Mapping[str, Any]


def command() -> list[str]:
    """What starts this process, wherever the command that trains was started."""
    root = str(Path(__file__).resolve().parents[2])
    return [sys.executable, "-P", "-c", ENTRY.format(root=root)]


class Voice:
    """Tells the training what became of it, one line of JSON for each state."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def __call__(self, state: str, **details: Any) -> None:
        """Says it; nobody may be there to hear it."""
        with suppress(OSError):
            self._file.write(json.dumps({"state": state, **details}) + "\n")
            self._file.flush()


class Sender:
    """An experiment that is online, from its settings to its end.

    Args:
        settings: Which experiment.
        say: Tells the training what became of it.
    """

    def __init__(self, settings: Settings, say: Voice) -> None:
        self.settings = settings
        self.folder = Path(settings.folder)
        self.say = say
        self.record = _record(settings)
        self.messages: SimpleQueue[Message | None] = SimpleQueue()
        self.ended = threading.Event()

    def run(self, source: TextIO) -> bool:
        """Sends everything.

        Args:
            source: Where the training says what is to be sent.

        Returns:
            Whether all of it has arrived; if not, it belongs into an archive.
        """
        threading.Thread(target=self._listen, args=(source,), daemon=True).start()
        experiment = self._open()
        if experiment is None:
            self.ended.wait()
            return False
        self.say("online", url=experiment.url)
        experiment.log_run(parameters(self.folder, self.settings.config), assets(self.folder), self.settings.attempt)
        self._catch_up(experiment)
        next_step = self._pass_on(experiment)
        reason = self._close(experiment)
        if reason is not None:
            self.say("offline", reason=f"Comet: {reason}")
            return False
        write_record(self.folder, self.record.kept(next_step))
        return True

    def _close(self, experiment: Experiment) -> str | None:
        """Waits until all has arrived; what went wrong if it has not."""
        reason = answers() if experiment.connected else "the connection was lost"
        if reason is not None:
            return reason
        try:
            return None if within(CLOSING, experiment.end) else "not all has arrived"
        except Exception as error:  # Whatever the SDK meets at its end, the archive is the answer to it.
            return without_key(str(error) or type(error).__name__)

    def _listen(self, source: TextIO) -> None:
        """Takes over what the training says as fast as it says it; it has ended where it says nothing more."""
        with suppress(OSError):
            for line in source:
                message = json.loads(line)
                if message["kind"] == "end":
                    break
                self.messages.put(message)
        self.ended.set()
        self.messages.put(None)

    def _open(self) -> Experiment | None:
        online = self.settings.online
        if online is None and os.environ.get("COMET_START_ONLINE", "").lower() in ("0", "false"):
            online = False
        reason = "as asked for" if online is False else None if has_key() else "no key"
        try:
            reason = reason or answers(PATIENCE, self.ended)
            if reason is None:
                return within(OPENING, lambda: Experiment(self.settings))
        except (ConnectionError, TimeoutError) as error:
            reason = str(error)
        self.say("offline", reason=reason)
        return None

    def _catch_up(self, experiment: Experiment) -> None:
        """Sends what earlier attempts have left to nobody, since they were killed."""
        for row in values(self.folder, self.record.next_step, self.settings.first_step):
            experiment.log_values(row)

    def _pass_on(self, experiment: Experiment) -> int:
        """Sends what is said until nothing more is.

        Returns:
            The step up to which everything was sent.
        """
        next_step = max(self.record.next_step, self.settings.first_step)
        while (message := self.messages.get()) is not None:
            if message["kind"] == "values":
                row = Values(message["step"], message["epoch"], message["metrics"])
                experiment.log_values(row)
                next_step = max(next_step, row.step + 1)
            else:
                experiment.log_figure(message)
        return next_step


def archive(settings: Settings) -> Path:
    """Writes what the run folder has, and what is not kept elsewhere, into an archive that ``comet upload`` sends.

    Returns:
        The archive, ``comet/attempt-<number>.zip`` in the run folder.
    """
    folder = Path(settings.folder)
    record = _record(settings)
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=".archive.", dir=place))
    try:
        experiment = Experiment(settings, beside)
        experiment.log_run(parameters(folder, settings.config), assets(folder), settings.attempt)
        next_step = record.next_step
        for row in values(folder, record.next_step):
            experiment.log_values(row)
            next_step = max(next_step, row.step + 1)
        for figure in figures(folder, record.next_step):
            experiment.log_figure(figure)
        experiment.end()
        (written,) = beside.glob("*.zip")
        target = place / f"attempt-{settings.attempt}.zip"
        written.replace(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    write_record(folder, record.kept(next_step))
    return target


def _record(settings: Settings) -> Record:
    return read_record(Path(settings.folder)) or Record(settings.experiment_key)


def main() -> None:
    """Runs the process: its settings are the first line that it reads, or in the environment."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # It ends when the training ends.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    out = os.dup(1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    say = Voice(os.fdopen(out, "w"))
    code = 0
    try:
        text = os.environ.pop(ARCHIVING, None)
        if text is not None:
            say("archived", path=str(archive(Settings.from_json(text))))
        else:
            text = sys.stdin.readline()
            if Sender(Settings.from_json(text), say).run(sys.stdin):
                say("sent")
            else:
                # Threads of the SDK that wait for the network are left behind in this way.
                os.dup2(out, 1)
                os.environ[ARCHIVING] = text
                os.execv(sys.executable, command())
    except BaseException as error:
        say("failed", reason=without_key(f"{type(error).__name__}: {error}"))
        code = 1
    os._exit(code)
