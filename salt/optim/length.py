"""How long a training is."""

from lightning.pytorch import Trainer


def is_endless(trainer: Trainer) -> bool:
    """Whether the config says no end."""
    return trainer.max_epochs in (None, -1) and trainer.max_steps == -1


def steps_in_all(trainer: Trainer) -> int | None:
    """Optimiser steps of the whole training, from its first epoch; None if it has no end."""
    lengths = []
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        batches = int(trainer.num_training_batches)
        lengths.append(-(-batches // trainer.accumulate_grad_batches) * trainer.max_epochs)
    if trainer.max_steps > 0:
        lengths.append(trainer.max_steps)
    return min(lengths, default=None)
