"""Signals are noted when they come, and heeded between two batches.

SIGINT and SIGTERM ask for the end, SIGUSR1 for a checkpoint: that is what batch systems send before the time of a job
is over. While a training is under way the handler does nothing but to note them; before and after, where there is
nothing to save, the first two leave whatever runs by an exception. A second SIGINT ends the process at once: by an
exception too, and where the interpreter does not get around to that, by a thread that waits for it.
"""

import os
import select
import signal
import threading
from contextlib import suppress
from enum import IntEnum
from types import FrameType, TracebackType
from typing import Any

from salt.files import discard_unfinished

GRACE = 3.0
"""Seconds that a process has to end by itself after the second SIGINT."""
ECHO = 0.2
"""Signals that follow each other faster are one: a forked process may pass one on to its parent."""


class Wish(IntEnum):
    """What is wanted after a batch; of several wishes the strongest is granted."""

    NOTHING = 0
    SAVE = 1
    SAVE_FOR_LATER = 2
    TERMINATE = 3
    INTERRUPT = 4


WISHES = {
    signal.SIGUSR1: Wish.SAVE_FOR_LATER,
    signal.SIGTERM: Wish.TERMINATE,
    signal.SIGINT: Wish.INTERRUPT,
}


class Stopped(BaseException):
    """The end of a command that a signal asked for.

    Args:
        outcome: ``interrupted``, ``terminated`` or ``requeued``.
        code: The exit code.
        agreed: Whether all processes of the training end after the same batch, each by itself.
    """

    def __init__(self, outcome: str, code: int, agreed: bool = True) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.code = code
        self.agreed = agreed

    @classmethod
    def by(cls, wish: Wish, agreed: bool = True) -> "Stopped":
        """The end that a wish asks for."""
        if wish is Wish.INTERRUPT:
            return cls("interrupted", 128 + signal.SIGINT, agreed)
        return cls("terminated", 128 + signal.SIGTERM, agreed)


class Signals:
    """What signals have asked for since the block of this context began.

    Only the process that began it listens: one that it forks inherits the handlers, and does nothing.

    Attributes:
        wish: The strongest wish so far.
        patient: Whether wishes are only noted, because there will be a good moment for them.
    """

    def __init__(self) -> None:
        self.wish = Wish.NOTHING
        self.patient = False
        self._process = os.getpid()
        self._before: dict[int, Any] = {}
        self._guard: _Guard | None = None

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            for number in WISHES:
                if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup, or behind an ampersand
                    self._before[number] = signal.signal(number, self._note)
            # Whoever starts a command may have them wait until there is somebody to hear them.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WISHES)
            if signal.SIGINT in self._before:
                self._guard = _Guard()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._guard is not None:
            self._guard.close()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def granted(self, wish: Wish) -> None:
        """Forgets a wish that has been granted, unless a stronger one came meanwhile."""
        if self.wish <= wish:
            self.wish = Wish.NOTHING

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return
        wish = WISHES[signal.Signals(number)]
        again = wish is Wish.INTERRUPT and self.wish >= Wish.TERMINATE
        ending = self.wish >= Wish.TERMINATE
        self.wish = max(self.wish, wish)
        if again or (not self.patient and not ending and wish >= Wish.TERMINATE):
            raise Stopped.by(self.wish, agreed=False)
        if wish is Wish.INTERRUPT:
            say("ending after this batch; press Ctrl-C again to end at once")


class _Guard:
    """Ends the process after a second SIGINT if it does not end by itself.

    The system tells this thread of signals while the interpreter is kept busy by a computation, or waits for another
    process, and so cannot run a handler.
    """

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._before = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="second-signal", daemon=True).start()
        os.register_at_fork(after_in_child=self._leave_to_parent)

    def close(self) -> None:
        """Stops watching."""
        signal.set_wakeup_fd(self._before)
        self._closed.set()
        with suppress(OSError):  # The thread may have noticed already.
            os.write(self._writing, b"\0")
        os.close(self._writing)

    def _leave_to_parent(self) -> None:
        if not self._closed.is_set():
            signal.set_wakeup_fd(-1)

    def _watch(self) -> None:
        interrupts = 0
        while not self._closed.is_set() and interrupts < 2:
            interrupts += signal.SIGINT in os.read(self._reading, 64)
            self._closed.wait(ECHO)
            while select.select([self._reading], [], [], 0)[0] and os.read(self._reading, 64):
                pass
        if not self._closed.wait(GRACE):
            discard_unfinished()
            say("ended at once")
            os._exit(128 + signal.SIGINT)
        os.close(self._reading)


def say(text: str) -> None:
    """Writes a line to standard error from where logging could be in the middle of another.

    In a terminal it begins below the ``^C`` that the terminal shows, and below a bar.
    """
    with suppress(OSError):
        before = "\n" if os.isatty(2) else ""
        os.write(2, f"{before}{text}\n".encode())
