"""The first steps of a training, measured, after which it ends."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from salt.callbacks.memory import memory_in_use
from salt.callbacks.monitor import check_monitor
from salt.data.datamodule import JetDataModule
from salt.data.group import read_group
from salt.errors import ConfigError

SECONDS = 1.5
"""So long steps are measured, but at least two of them."""

MOST_STEPS = 12

READ_JETS = 5_000
"""Jets that are read to measure how fast that is."""


class EnoughError(Exception):
    """The trial is over."""


@dataclass(frozen=True)
class Trialled:
    """What a trial has measured, on one device.

    Args:
        steps: How many steps were taken.
        step_seconds: How long one takes, without waiting for data.
        validation_seconds: How long a batch of the validation takes; 0 where there was none.
        read_seconds: How long one process reads at the jets of a step.
        memory: GB that were in use at most.
        batches: Batches of an epoch.
        device: What it ran on.
    """

    steps: int
    step_seconds: float
    validation_seconds: float
    read_seconds: float
    memory: float
    batches: int
    device: torch.device


class Trial(Callback):
    """Lets a training begin as it would, and ends it after its first steps by `EnoughError`.

    Args:
        monitors: Metrics by which checkpoints are to be compared, which are not saved here.

    Attributes:
        errors: What is wrong with those metrics.
    """

    def __init__(self, monitors: Sequence[str]) -> None:
        self.monitors = tuple(monitors)
        self.errors: list[ConfigError] = []
        self._read_seconds = 0.0
        self._batches = 0
        self._steps: list[float] = []
        self._validation: list[float] = []
        self._begun = 0.0
        self._first = 0.0
        self._memory = 0.0
        self._device = torch.device("cpu")

    @property
    def measured(self) -> Trialled | None:
        """What was measured; None before the first step."""
        if not self._steps:
            return None
        return Trialled(
            steps=len(self._steps),
            step_seconds=median(self._steps[1:] or self._steps),
            validation_seconds=self._validation[-1] if self._validation else 0.0,
            read_seconds=self._read_seconds,
            memory=self._memory,
            batches=self._batches,
            device=self._device,
        )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Has this process read, once the files have been looked at; others would only just have begun."""
        trainer.datamodule.num_workers = 0  # type: ignore[attr-defined]

    def on_validation_batch_start(self, *args: Any, **kwargs: Any) -> None:
        """Lets the clock run."""
        self._begun = time.perf_counter()

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any) -> None:
        """Stops it."""
        _wait_for(pl_module.device)
        self._validation.append(time.perf_counter() - self._begun)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks for the metrics, and reads some jets."""
        for metric in self.monitors:
            try:
                check_monitor(trainer, pl_module, metric, "trainer.callbacks.Checkpoint.monitor")
            except ConfigError as error:
                self.errors.append(error)
        data: JetDataModule = trainer.datamodule  # type: ignore[attr-defined]
        loader: Any = trainer.train_dataloader
        steps = loader.order.group(0, 0)[: max(1, READ_JETS // data.batch_size)]
        begun = time.perf_counter()
        read_group(loader.source, steps)
        self._read_seconds = (time.perf_counter() - begun) / len(steps)
        self._batches = int(trainer.num_training_batches)
        self._device = pl_module.device
        self._first = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Lets the clock run."""
        _wait_for(pl_module.device)
        self._begun = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any) -> None:
        """Stops it, and ends the trial in time.

        Raises:
            EnoughError: It is over.
        """
        _wait_for(pl_module.device)
        now = time.perf_counter()
        self._steps.append(now - self._begun)
        over = len(self._steps) >= MOST_STEPS or (len(self._steps) > 1 and now - self._first > SECONDS)
        if over or len(self._steps) >= self._batches:
            self._memory = memory_in_use(pl_module.device)
            raise EnoughError


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
