"""One line per epoch, for terminals and batch logs alike."""

import logging
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

log = logging.getLogger(__name__)

WAIT_TO_MENTION = 0.1


class EpochLine(Callback):
    """Says after each epoch how it went, and early in the first one whether the training waits for data."""

    def __init__(self) -> None:
        self._start = 0.0
        self._jets = 0
        self._said_wait = False

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says what is trained. An epoch that is resumed in its middle has no other start of the clock."""
        self._start = time.perf_counter()
        parameters = sum(p.numel() for p in pl_module.parameters() if p.requires_grad)
        steps = int(trainer.num_training_batches)
        log.info("%s parameters, %s steps an epoch, on %s", f"{parameters:,}", steps, pl_module.device)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._start = time.perf_counter()
        self._jets = 0

    @rank_zero_only
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts jets, and after some batches compares the time spent waiting with the time spent training."""
        self._jets += len(batch) * trainer.world_size
        if batch_idx == 20 and not self._said_wait:
            self._said_wait = True
            waited = getattr(trainer.train_dataloader, "waited", 0.0)
            share = waited / (time.perf_counter() - self._start)
            if share > WAIT_TO_MENTION:
                log.warning(
                    "the training waits for data %.0f%% of its time; try more data.num_workers or data.move_files_temp",
                    100 * share,
                )

    @rank_zero_only
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints the line. The validation of the epoch has run by then."""
        seconds = time.perf_counter() - self._start
        values = trainer.callback_metrics
        losses = [f"train/loss {pl_module.epoch_loss:.4f}"]  # That of its last step alone is in the metrics.
        losses += [f"val/loss {float(values['val/loss']):.4f}"] if "val/loss" in values else []
        accuracies = [
            f"{key.removeprefix('val/')} {float(value):.3f}"
            for key, value in values.items()
            if key.endswith("/accuracy")
        ]
        epochs = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else "?"
        parts = [f"epoch {trainer.current_epoch + 1}/{epochs}", *losses, *accuracies]
        log.info("%s; %.0f jets/s", ", ".join(parts), self._jets / max(seconds, 1e-9))
