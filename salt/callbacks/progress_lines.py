"""Progress where there is no terminal, such as in the log of a batch job."""

import logging

from lightning.pytorch import Trainer

from salt.callbacks.progress import Progress
from salt.callbacks.status import Status
from salt.callbacks.throughput import Throughput

log = logging.getLogger(__name__)

FIRST = 60.0
"""Seconds between the first lines."""

RARER = 0.1
"""Later lines come when so much more time has passed, as a share of all that passed before,"""

OF_AN_EPOCH = 0.1
"""but not later than after this share of an epoch or a test."""


class ProgressLines(Progress):
    """A plain line each minute at first, and then rarer, but ten in an epoch that takes long.

    Args:
        throughput: What counts the jets of the training.
    """

    def __init__(self, throughput: Throughput) -> None:
        super().__init__(throughput)
        self._start: float | None = None

    def begin(self, trainer: Trainer) -> None:
        """The first line comes a minute after the first beginning."""
        if self._start is None:
            self._start = self.clock()
            self._next = self._start + FIRST

    def show(self, trainer: Trainer, status: Status) -> float:
        """Prints the line."""
        if trainer.is_global_zero:
            log.info("%s", status)
        passed = self.clock() - (self._start or 0.0)
        return until_next(passed, status)


def until_next(passed: float, status: Status) -> float:
    """Seconds until the next line.

    Args:
        passed: Seconds since the beginning.
        status: How it stands.
    """
    longest = float("inf")
    if status.left is not None and status.total and status.done < status.total:
        longest = OF_AN_EPOCH * status.left * status.total / (status.total - status.done)
    return max(FIRST, min(RARER * passed, longest))
