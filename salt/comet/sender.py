"""The process that talks to Comet: it reads lines from the training, and answers with what became of them.

The training is told at once whatever it asks, and waits for nothing until its end. Where Comet cannot be reached, this
process writes all that it is told into an archive, while the training goes on. If the connection is lost later, it
begins anew as one that writes what is in the run folder into an archive. It outlives a training that is killed for as
long as that takes.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TextIO

from salt.comet.archive import archive, archive_path, archiving, record_of, tell_run, tell_steps
from salt.comet.content import Settings, Values
from salt.comet.record import write_record
from salt.comet.sdk import PATIENCE, Experiment, answers, has_key, prepare, within, without_key

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
        self.file = file

    def __call__(self, state: str, **details: Any) -> None:
        """Says it; nobody may be there to hear it."""
        with suppress(OSError):
            self.file.write(json.dumps({"state": state, **details}) + "\n")
            self.file.flush()


class Sender:
    """An experiment from its settings to its end.

    Args:
        settings: Which experiment.
        say: Tells the training what became of it.
    """

    def __init__(self, settings: Settings, say: Voice) -> None:
        self.settings = settings
        self.folder = Path(settings.folder)
        self.say = say
        self.record = record_of(settings)
        self.messages: SimpleQueue[Message | None] = SimpleQueue()
        self.ended = threading.Event()
        self.killed = True  # Unless the training says that it ends.

    def run(self, source: TextIO) -> bool:
        """Sends everything, or keeps it.

        Args:
            source: Where the training says what is to be sent.

        Returns:
            Whether all of it has arrived or lies in an archive; if not, it belongs into one.
        """
        threading.Thread(target=self._listen, args=(source,), daemon=True).start()
        reason = self._obstacle()
        if reason is not None:
            self._keep(reason)
            return True
        try:
            experiment = within(OPENING, lambda: Experiment(self.settings))
        except (ConnectionError, TimeoutError) as error:
            self._hand_on(str(error))
            return True
        self.say("online", url=experiment.url)
        tell_run(experiment, self.settings)
        next_step = self._tell(experiment)
        reason = self._close(experiment)
        if reason is not None:
            self.say("offline", reason=reason)
            return False
        write_record(self.folder, self.record.kept(next_step))
        self.say("sent")
        return True

    def _obstacle(self) -> str | None:
        """Why the experiment is not sent at once; None if it may be."""
        online = self.settings.online
        if online is None and os.environ.get("COMET_START_ONLINE", "").lower() in ("0", "false"):
            online = False
        if online is False:
            return self.settings.trouble or "as asked for"
        return answers(PATIENCE, self.ended) if has_key() else "no key"

    def _keep(self, reason: str) -> None:
        """Writes an archive while the training goes on."""
        self.say("offline", reason=reason)
        with archiving(self.settings) as experiment:
            next_step = self._tell(experiment)
        write_record(self.folder, self.record.kept(next_step))
        self.say("archived", path=str(archive_path(self.settings)))

    def _hand_on(self, reason: str) -> None:
        """Has another process keep it, which has none of the SDK's threads that may still wait for the network here."""
        settings = replace(self.settings, online=False, trouble=reason)
        process = subprocess.Popen(command(), stdin=subprocess.PIPE, stdout=self.say.file, text=True)
        assert process.stdin is not None
        with suppress(OSError), process.stdin as pipe:
            pipe.write(settings.to_json() + "\n")
            while (message := self.messages.get()) is not None:
                pipe.write(json.dumps(message) + "\n")
                pipe.flush()
        process.wait()

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
                    self.killed = False
                    break
                self.messages.put(message)
        self.ended.set()
        self.messages.put(None)

    def _tell(self, experiment: Experiment) -> int:
        """Tells what earlier attempts have left to nobody, since they were killed, and what is said until the end.

        Pictures take long, so they wait until nothing else does; of those that wait the last of each name is drawn.

        Returns:
            The step up to which everything was told.
        """
        tell_steps(experiment, self.folder, self.record.next_step, self.settings.first_step)
        next_step = max(self.record.next_step, self.settings.first_step)
        waiting: dict[str, Message] = {}
        while True:
            if waiting and self.messages.empty() and not self.ended.is_set():
                experiment.log_picture(waiting.pop(next(iter(waiting))))
                continue
            message = self.messages.get()
            if message is None:
                break
            if message["kind"] == "values":
                row = Values(message["step"], message["epoch"], message["metrics"])
                experiment.log_values(row)
                next_step = max(next_step, row.step + 1)
            else:
                experiment.log_numbers(message)
                waiting[message["name"]] = message
        for figure in waiting.values():
            experiment.log_picture(figure)
        if self.killed:  # What it has not come to say it has written; of its last step perhaps a part was said.
            return max(next_step, tell_steps(experiment, self.folder, max(0, next_step - 1)))
        return next_step


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
    # The SDK leaves files behind where it is given up.
    tempfile.tempdir = place = tempfile.mkdtemp(prefix="salt-comet.")
    try:
        prepare()
        text = os.environ.pop(ARCHIVING, None)
        if text is not None:
            say("archived", path=str(archive(Settings.from_json(text))))
        else:
            text = sys.stdin.readline()
            if not Sender(Settings.from_json(text), say).run(sys.stdin):
                # Threads of the SDK that wait for the network are left behind in this way.
                shutil.rmtree(place, ignore_errors=True)
                os.dup2(out, 1)
                os.environ[ARCHIVING] = text
                os.execv(sys.executable, command())
    except BaseException as error:
        say("failed", reason=without_key(f"{type(error).__name__}: {error}"))
        code = 1
    shutil.rmtree(place, ignore_errors=True)
    os._exit(code)
