"""Optimiser steps on a CPU in one thread, where more of them only wait for each other."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

SMALL = 2**16
"""Values of a parameter, in the mean, below which waking further threads takes longer than what they do."""


class OneThread(Callback):
    """Lets the optimiser step with one thread of a CPU if parameters are small; the rest of a step has all of them."""

    def __init__(self) -> None:
        self._threads: int | None = None

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Leaves one thread."""
        sizes = [p.numel() for group in optimizer.param_groups for p in group["params"]]
        # Some optimisers compute the gradients several times in a step.
        if self._threads is None and pl_module.device.type == "cpu" and sum(sizes) < SMALL * len(sizes):
            self._threads = torch.get_num_threads()
            torch.set_num_threads(1)

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Gives the others back."""
        self._give_back()

    def on_exception(self, *args: Any, **kwargs: Any) -> None:
        """Gives the others back."""
        self._give_back()

    def _give_back(self) -> None:
        if self._threads is not None:
            torch.set_num_threads(self._threads)
            self._threads = None
