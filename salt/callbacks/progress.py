"""What is under way, looked at now and then: the common part of bars and of lines."""

import time
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from salt.callbacks.later import Later
from salt.callbacks.pace import Pace, validations_in
from salt.callbacks.status import Status
from salt.callbacks.throughput import Throughput
from salt.data.datamodule import JetDataModule
from salt.training import Tagger

RECENT = 15.0
"""Seconds over which the jets per second of a training are taken."""


class Progress(Callback):
    """Follows what a Trainer does, and shows it when that is due; in between it only counts.

    The loss is added up on the device. A look at it asks for a copy that the next look finds, so nothing waits.

    Args:
        throughput: What counts the jets of the training.
        clock: Tells the time in seconds.
    """

    def __init__(self, throughput: Throughput, clock: Callable[[], float] = time.perf_counter) -> None:
        self.throughput = throughput
        self.clock = clock
        self._next = clock()
        self._losses: Tensor | float = 0.0
        self._steps = 0
        self._told = Later()
        self._recent: deque[Pace] = deque()
        self._what = self._before = ""
        self._begun = 0.0
        self._batches = 0
        self._jets = 0
        self._validation = 0.0

    @abstractmethod
    def show(self, trainer: Trainer, status: Status) -> float:
        """Shows how it stands.

        Returns:
            Seconds until it shall be shown again.
        """

    def begin(self, trainer: Trainer) -> None:
        """Something is about to be shown. Called again for every epoch, validation and test."""

    def end(self) -> None:
        """There is nothing more to show. Called more than once."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins an epoch."""
        self._begin(trainer, f"epoch {trainer.current_epoch + 1}/{epochs(trainer)}")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts a step."""
        if isinstance(outputs, dict):
            self._losses = outputs["loss"] + self._losses
            self._steps += 1
        if self.clock() >= self._next:
            self._show(trainer, self._training(trainer, pl_module, batch_idx + 1))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins a validation."""
        self._before = self._what
        self._begin(trainer, "first look at the validation data" if trainer.sanity_checking else "validation")

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Counts a batch."""
        total = trainer.num_sanity_val_batches if trainer.sanity_checking else trainer.num_val_batches
        self._scored(trainer, batch, total)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Goes back to the epoch."""
        if not trainer.sanity_checking:
            self._validation = self.clock() - self._begun
        self._what = self._before
        self._losses, self._steps = 0.0, 0

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins a test."""
        self._begin(trainer, f"test{_which(trainer)}")

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Counts a batch."""
        self._scored(trainer, batch, trainer.num_test_batches)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins a prediction."""
        self._begin(trainer, f"prediction{_which(trainer)}")

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Counts a batch."""
        self._scored(trainer, batch, trainer.num_predict_batches)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Ends what is shown."""
        self.end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Ends what is shown."""
        self.end()

    def _begin(self, trainer: Trainer, what: str) -> None:
        self._what = what
        self._begun = self.clock()
        self._batches = self._jets = 0
        self._losses, self._steps = 0.0, 0
        self._told = Later()
        self.begin(trainer)

    def _show(self, trainer: Trainer, status: Status) -> None:
        self._next = self.clock() + self.show(trainer, status)

    def _scored(self, trainer: Trainer, batch: Any, totals: Any) -> None:
        self._batches += 1
        self._jets += len(batch) * trainer.world_size
        if (now := self.clock()) < self._next:
            return
        total = _whole(sum(totals) if isinstance(totals, list) else totals)
        seconds = max(now - self._begun, 1e-9)
        left = None if total is None else seconds / self._batches * (total - self._batches)
        self._show(trainer, Status(self._what, self._batches, total, self._jets / seconds, left=left))

    def _training(self, trainer: Trainer, pl_module: LightningModule, done: int) -> Status:
        pace = self.throughput.pace(trainer)
        self._recent.append(pace)
        while len(self._recent) > 2 and pace.seconds - self._recent[0].seconds > RECENT:
            self._recent.popleft()
        earlier = self._recent[0] if len(self._recent) > 1 else Pace()
        new = pace.since(earlier)
        loss = self._told.value()
        if self._steps and not self._told.pending:
            self._told.ask(self._losses / self._steps)
            self._losses, self._steps = 0.0, 0
            loss = self._told.value()
        total, each = _whole(trainer.num_training_batches), pace.seconds_per_step
        assert isinstance(pl_module, Tagger)
        steps = None if pl_module.total_steps is None else max(0, pl_module.total_steps - trainer.global_step)
        validations = 0.0
        if steps and total:
            every = trainer.val_check_batch if isinstance(trainer.val_check_batch, int) else None
            validations = self._validation * validations_in(steps, total, every, trainer.check_val_every_n_epoch)
        return Status(
            self._what,
            done,
            total,
            new.jets_per_second,
            loss=loss,
            rate=float(trainer.optimizers[0].param_groups[0]["lr"]),
            wait_share=new.wait_share,
            left=None if total is None else each * (total - done if steps is None else min(steps, total - done)),
            left_in_all=None if steps is None else each * steps + validations,
        )


def epochs(trainer: Trainer) -> str:
    """How many epochs there will be; a question mark where the steps are limited only."""
    return str(trainer.max_epochs) if trainer.max_epochs and trainer.max_epochs > 0 else "?"


def _which(trainer: Trainer) -> str:
    """Which of several samples is scored, such as `` of ttbar (1/3)``."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    several = isinstance(data, JetDataModule) and len(data.samples) > 1
    return f" of {data.chosen_sample.name} ({data.chosen + 1}/{len(data.samples)})" if several else ""


def _whole(batches: float) -> int | None:
    return None if batches == float("inf") else int(batches)
