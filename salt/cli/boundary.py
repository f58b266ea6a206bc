"""What happens between two batches: checkpoints in time, and the end that a signal asked for."""

from typing import Any

import torch
import torch.distributed
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint as LastCallback

from salt.callbacks.checkpoint import Checkpoint
from salt.callbacks.place import is_last_batch, validation_follows
from salt.cli.requeue import is_batch_job, requeue
from salt.cli.signals import Signals, Stopped, Wish


class Boundary(LastCallback):
    """Saves and ends a training between two batches, on all ranks after the same one.

    Lightning calls callbacks of this kind after all others, and those in the order in which they are given: this one
    comes last, when everything about a batch or an epoch is done and saved.

    Args:
        signals: What signals have asked for.
    """

    def __init__(self, signals: Signals) -> None:
        self.signals = signals
        self._checkpoint: Checkpoint | None = None
        self._group: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From now on signals wait for the end of a batch."""
        self._checkpoint = next((c for c in trainer.checkpoint_callbacks if isinstance(c, Checkpoint)), None)
        if trainer.world_size > 1 and torch.distributed.get_backend() != "gloo":
            # Ranks that vote by way of their GPUs would wait for what these still compute.
            self._group = torch.distributed.new_group(backend="gloo")
        self.signals.patient = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After a batch. Where a validation follows, what is not urgent waits for it."""
        if validation_follows(trainer):
            self._heed(trainer, urgent=True)
        elif not is_last_batch(trainer):
            self._heed(trainer)

    def on_validation_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """In a validation, which is begun anew by who goes on from here."""
        if not trainer.sanity_checking:
            self._heed(trainer, urgent=True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """After a validation inside an epoch."""
        if not trainer.sanity_checking and not is_last_batch(trainer):
            self._heed(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """After an epoch."""
        self._heed(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """There is no batch any more that a signal could wait for."""
        self.signals.patient = False

    def _heed(self, trainer: Trainer, urgent: bool = False) -> None:
        """Does what is wanted.

        Args:
            trainer: Which trains.
            urgent: Whether what only time asks for can wait.

        Raises:
            Stopped: The training is to end, and is saved.
        """
        checkpoint = self._checkpoint
        due = not urgent and checkpoint is not None and checkpoint.is_due(trainer)
        wish = self._vote(trainer, max(self.signals.wish, Wish.SAVE if due else Wish.NOTHING))
        if wish is Wish.NOTHING:
            return
        if checkpoint is not None:
            checkpoint.save_state(trainer)
        if wish >= Wish.TERMINATE:
            raise Stopped.by(wish)
        if wish is Wish.SAVE_FOR_LATER:
            self.signals.granted(wish)
            self._hand_over(trainer)

    def _hand_over(self, trainer: Trainer) -> None:
        """In a batch job lets the system start it again and ends, if that is possible."""
        if not is_batch_job():
            return
        queued = trainer.is_global_zero and requeue()
        if self._vote(trainer, Wish.SAVE if queued else Wish.NOTHING) is Wish.SAVE:
            raise Stopped("requeued", 0)

    def _vote(self, trainer: Trainer, wish: Wish) -> Wish:
        """The strongest wish of all ranks."""
        if trainer.world_size == 1:
            return wish
        strongest = torch.tensor([int(wish)])
        torch.distributed.all_reduce(strongest, torch.distributed.ReduceOp.MAX, group=self._group)
        return Wish(int(strongest))
