"""Processes that train together, one of which has long work to do before the others go on."""

import threading
from collections.abc import Callable
from typing import Any

import torch

BEAT_SECONDS = 20.0
"""How long a process waits before it tells the others that it is not ready."""


def all_succeed(trainer: Any, work: Callable[[], bool]) -> bool:
    """Does the work of this process, and waits for that of the others.

    Processes end with an error if they wait for each other for longer than half an hour. So while one of them works,
    all ask each other again and again, beside the work, whether they are ready.

    Args:
        trainer: The Trainer, whose processes all call this; None for a process that is alone.
        work: What this process has to do; returns whether it went well.

    Returns:
        Whether the work of all went well.
    """
    if trainer is None or trainer.world_size == 1:
        return work()
    beat = _Beat(trainer.strategy)
    beat.start()
    return beat.end(work())


class _Beat(threading.Thread):
    def __init__(self, strategy: Any) -> None:
        super().__init__(name="beat", daemon=True)
        self._strategy = strategy
        self._ready = threading.Event()
        self._well = False
        self._answer: bool | Exception = False

    def run(self) -> None:
        device = self._strategy.root_device
        if device.type == "cuda":
            torch.cuda.set_device(device)
        try:
            while not self._strategy.reduce_boolean_decision(self._ready.wait(BEAT_SECONDS)):
                pass
            self._answer = bool(self._strategy.reduce_boolean_decision(self._well))
        except Exception as error:  # The loss of another process; it is passed on where this one waits.
            self._answer = error

    def end(self, well: bool) -> bool:
        """Tells the others how the work went; returns whether all went well, once they are ready too."""
        self._well = well
        self._ready.set()
        self.join()
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer
