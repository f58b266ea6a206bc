"""Processes that work for another one, and must not outlive it."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from typing import Any

PR_SET_PDEATHSIG = 1
LAST_SECONDS = 60
"""So long a process that reads lives on after SIGTERM."""


def end_with(parent: int) -> None:
    """Lets the system kill this process when the one that started it ends, however that ends.

    Args:
        parent: The number of that process; if it is gone already, this one ends at once.
    """
    _bind()
    if os.getppid() != parent:
        os._exit(1)


def begin_reader(worker: int) -> None:
    """Makes a process one that reads for another one, which alone answers signals to both of them.

    A batch system sends SIGTERM to all of a job. The parent needs the process until the training is saved, so it only
    ends some time later, or when SIGTERM comes once more.

    Args:
        worker: The number of this process among those that read.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_later)
    _bind()
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(1)


def _bind() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    else:
        threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _end_later(number: int, frame: Any) -> None:
    signal.signal(number, signal.SIG_DFL)
    signal.alarm(LAST_SECONDS)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
