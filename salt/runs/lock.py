"""Whether a process works on a run: a lock that the system frees however the process ends."""

import fcntl
import logging
import os
import time
from pathlib import Path

log = logging.getLogger(__name__)

NAME = ".lock"

PATIENCE = 1.0
"""Seconds to wait for whoever just looks whether the lock is held."""


class RunLock:
    """Says by the system's ``flock`` that this process works on a run, until `release` or its end.

    Forked processes do not share it. On file systems that cannot lock, it protects nothing and says so.

    Args:
        folder: The run folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Takes the lock; False if another process has it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        patience = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > patience:
                    os.close(descriptor)
                    return False
                time.sleep(0.05)
            except OSError as error:
                log.warning(
                    "%s cannot be locked (%s): see to it that nothing else trains in this run",
                    self._path,
                    error.strerror,
                )
                break
            else:
                break
        self._descriptor = descriptor
        # A worker that outlives its parent by seconds must not keep the run from being gone on with.
        os.register_at_fork(after_in_child=self._close)
        return True

    def release(self) -> None:
        """Gives the lock back. Its file stays: another process may be about to lock it."""
        self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def is_alive(folder: Path) -> bool:
    """Whether a process works on a run. Writes nothing."""
    try:
        descriptor = os.open(folder / NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
