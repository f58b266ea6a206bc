"""Predictions that are rolled out for more steps as epochs go by."""

import logging
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from salt.tasks import RollsOut

log = logging.getLogger(__name__)


class Rollouts(Callback):
    """Tells tasks that are rolled out for how many steps they are, which depends on the epoch alone.

    The epoch with which a number began to grow is kept in checkpoints; a warm start, which begins at epoch 0, has none.
    """

    def __init__(self) -> None:
        self._since: dict[str, int] = {}
        self._told: dict[str, int] = {}

    def state_dict(self) -> dict[str, Any]:
        """For each task whose number of steps grows the epoch with which it began."""
        return {"since": self._since}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes them from a checkpoint."""
        self._since = dict(state_dict["since"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A number that does not grow yet, or no longer, has no such epoch."""
        growing = [task.name for task in _tasks(pl_module) if task.rollout.grows]
        self._since = {name: self._since.get(name, trainer.current_epoch) for name in growing}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Tells them, also in an epoch that is gone on with in its middle."""
        epoch = trainer.current_epoch
        for task in _tasks(pl_module):
            steps = task.rollout.steps(epoch, self._since.get(task.name, epoch))
            task.begin_epoch(epoch, steps)
            if task.rollout.most > 1 and self._told.get(task.name) != steps:
                self._told[task.name] = steps
                log.info("epoch %d: %s is rolled out for %d step%s", epoch, task.name, steps, "s" * (steps > 1))


def rollouts(pl_module: LightningModule) -> list[Callback]:
    """The callback, for a model that has such a task."""
    return [Rollouts()] if _tasks(pl_module) else []


def _tasks(pl_module: LightningModule) -> list[RollsOut]:
    tasks: Any = pl_module.tasks
    return [task for task in tasks.values() if isinstance(task, RollsOut)]
