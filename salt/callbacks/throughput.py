"""Jets per second, waiting for data, and memory, measured and logged while a model trains."""

import logging
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from salt.callbacks.memory import memory_in_use
from salt.callbacks.pace import Pace, PaceClock
from salt.callbacks.place import is_last_batch

log = logging.getLogger(__name__)

WAIT_TO_MENTION = 0.1
"""The share of its time that a training may wait for data without a word."""

STEPS_TO_JUDGE, SECONDS_TO_JUDGE = 20, 5.0
"""From when on it is known whether a training waits: by then reading is in its stride."""

LOG_EVERY = 2.0
"""Seconds between two logged values, which take milliseconds to hand over."""

MEMORY_EVERY = 10.0
"""Seconds between two looks at the memory, which take milliseconds."""


class Throughput(Callback):
    """Logs ``train/jets_per_second``, ``train/data_wait`` and ``train/memory``.

    They are logged with the other values of a step, but only every few seconds and at the end of an epoch. The first
    two are those of the steps since they were logged last. Jets are those of all devices, waiting is that of
    the first process as a share of its time. Memory is the most so far, in GB: that which PyTorch holds of the first
    GPU, or that of the first process with its readers.
    """

    def __init__(self) -> None:
        self._clock = PaceClock()
        self._logged = Pace()
        self._epoch = Pace()
        self._memory = 0.0
        self._looked = float("-inf")
        self._first: Pace | None = None
        self._judged = False

    def pace(self, trainer: Trainer) -> Pace:
        """All that this process has trained so far."""
        return self._clock.read(_waited(trainer))

    def epoch_pace(self, trainer: Trainer) -> Pace:
        """What it has trained in this epoch."""
        return self.pace(trainer).since(self._epoch)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lets the clock run."""
        self._clock.run(_waited(trainer))
        self._epoch = self.pace(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Logs, if the values of this step are logged."""
        if not pl_module._is_logged or not trainer.loggers:
            return
        pace = self.pace(trainer)
        new = pace.since(self._logged)
        if not new.steps or (self._logged.steps and new.seconds < LOG_EVERY and not trainer.is_last_batch):
            return
        self._logged = pace
        if pace.seconds - self._looked > MEMORY_EVERY:
            self._looked = pace.seconds
            self._memory = max(self._memory, memory_in_use(pl_module.device))
        values = {"jets_per_second": new.jets_per_second, "data_wait": new.wait_share, "memory": self._memory}
        for name, value in values.items():
            pl_module.log(f"train/{name}", value, batch_size=len(batch))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts the jets of all devices, and says early whether the training waits for data."""
        self._clock.step(len(batch) * trainer.world_size)
        if not self._judged and trainer.is_global_zero:
            self._judge(self.pace(trainer))

    def _judge(self, pace: Pace) -> None:
        """Says once whether the training waits for data, from its first batch on, which nobody could have in time."""
        if self._first is None:
            self._first = pace
        new = pace.since(self._first)
        if new.steps < STEPS_TO_JUDGE or new.seconds < SECONDS_TO_JUDGE:
            return
        self._judged = True
        if new.wait_share > WAIT_TO_MENTION:
            log.warning(
                "the training waits for data %.0f%% of its time; try more data.num_workers or data.move_files_temp",
                100 * new.wait_share,
            )

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the clock."""
        self._clock.pause()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lets it run again, if more of the epoch follows."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking and not is_last_batch(trainer):
            self._clock.run(_waited(trainer))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the clock while checkpoints of the epoch are written."""
        self._clock.pause()


def _waited(trainer: Trainer) -> float:
    return float(getattr(trainer.train_dataloader, "waited", 0.0))
