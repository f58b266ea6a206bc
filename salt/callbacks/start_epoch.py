"""A training that begins as if some of its epochs were over."""

import logging

from lightning.pytorch import Callback, LightningModule, Trainer

log = logging.getLogger(__name__)


class StartEpoch(Callback):
    """Counts epochs, and the steps of each, as finished when a training begins with weights alone.

    It comes before callbacks that look at the step when a training starts.

    Args:
        epoch: How many epochs.
    """

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Sets the counts as they are between two epochs."""
        loop = trainer.fit_loop
        batches = self.epoch * int(trainer.num_training_batches)
        steps = -(-int(trainer.num_training_batches) // trainer.accumulate_grad_batches) * self.epoch
        for count, done in (
            (loop.epoch_progress.total, self.epoch),
            (loop.epoch_progress.current, self.epoch),
            (loop.epoch_loop.batch_progress.total, batches),
        ):
            count.ready = count.started = count.processed = count.completed = done  # type: ignore[attr-defined]
        taken = loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total
        taken.ready = taken.completed = steps
        loop.epoch_loop._batches_that_stepped = steps
        if trainer.is_global_zero:
            log.info(
                "epoch %d and step %d are the first ones, as if those before were trained", self.epoch + 1, steps + 1
            )
