"""Signals that come while something must be tidied up, or must not be disturbed."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

TERMINATED = 128 + signal.SIGTERM
"""The exit code of a command that SIGTERM ended."""


@contextmanager
def unwinding() -> Iterator[None]:
    """Lets SIGTERM leave the block by an exception, as Ctrl-C does, so that what it has begun is tidied up.

    Where a handler is in place already, the signal is left to that.
    """

    def leave(number: int, frame: object) -> None:
        raise SystemExit(TERMINATED)

    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keeps Ctrl-C and SIGTERM waiting until the block ends.

    It is for starting processes: an exception from a signal's handler is lost where Python forks, or leaves some of
    them behind.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    before = {n: signal.signal(n, lambda number, frame: caught.append(number)) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for late in caught:
        signal.raise_signal(late)
