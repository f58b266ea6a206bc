"""Checkpoints in the run folder."""

import errno
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from salt.callbacks.best_model import give_name
from salt.callbacks.checkpoint_io import discard_leftovers
from salt.callbacks.monitor import check_monitor
from salt.callbacks.place import settle
from salt.callbacks.random_state import random_state, restore_random_state
from salt.errors import ConfigError, DataError

log = logging.getLogger(__name__)

RANDOM = "random_states"
"""The entry of a checkpoint with the random numbers of each rank."""


class Checkpoint(ModelCheckpoint):
    """Saves the best checkpoints by one metric, and the last one, under ``ckpts/`` of the run folder.

    ``last.ckpt`` is the state to go on from. It is replaced at the end of an epoch, and inside it as often as asked
    for here; a training that goes on from it ends with the weights of one that was never interrupted.

    Args:
        monitor: Metric of the validation by which checkpoints are compared, such as ``val/loss`` or
            ``val/jets_classification/accuracy``. Without a validation file only the last checkpoint is kept.
        mode: Whether a small or a large value is good.
        save_top_k: How many of the best are kept; -1 keeps all.
        every_n_epochs: Save after every so many epochs, and after the last one.
        every_n_steps: Replace ``last.ckpt`` inside an epoch after every so many steps too; null for never.
        every_minutes: Replace ``last.ckpt`` inside an epoch when it is so many minutes old; null for never.
    """

    CHECKPOINT_NAME_LAST = "last"

    def __init__(
        self,
        monitor: str = "val/loss",
        mode: Literal["min", "max"] = "min",
        save_top_k: int = 3,
        every_n_epochs: int = 1,
        every_n_steps: int | None = None,
        every_minutes: float | None = 10.0,
    ) -> None:
        for name, value in (("every_n_steps", every_n_steps), ("every_minutes", every_minutes)):
            if value is not None and value <= 0:
                raise ConfigError(f"Checkpoint.{name} is {value}; it must be more than 0, or null")
        super().__init__(
            monitor=monitor,
            mode=mode,
            save_top_k=save_top_k,
            every_n_epochs=every_n_epochs,
            save_last=True,
            filename="epoch{epoch:03d}-" + monitor.replace("/", "_") + "{" + monitor + ":.5f}",
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )
        self.every_n_steps = every_n_steps
        self.every_minutes = every_minutes
        self._validated = -1
        self._saved_at = time.monotonic()
        self._saved_step = -1
        self._random: list[Any] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Finds the run folder, and removes what a killed process has left half-written there."""
        if stage == "fit":
            folder = Path(trainer.default_root_dir) / "ckpts"
            self.dirpath = str(folder)
            datamodule = trainer.datamodule  # type: ignore[attr-defined]
            if datamodule.options["val"] is None and self.monitor is not None:
                log.info("no data.val_file: the last checkpoint is kept, there is no best one")
                self.monitor, self.save_top_k, self.filename = None, 1, "epoch{epoch:03d}"
            if trainer.is_global_zero:
                discard_leftovers(folder)
        super().setup(trainer, pl_module, stage)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes up the random numbers where they were left; the last thing before the first batch.

        Raises:
            ConfigError: The monitored metric does not exist.
        """
        if self.monitor is not None:
            check_monitor(trainer, pl_module, self.monitor, "trainer.callbacks.Checkpoint.monitor")
        super().on_train_start(trainer, pl_module)
        if trainer.fit_loop.epoch_progress.current.completed == trainer.fit_loop.epoch_progress.current.ready:
            # With trainer.max_steps Lightning takes any resumed epoch for one to be continued.
            trainer.fit_loop.epoch_loop.restarting = False
        if any(c.wait_count >= c.patience for c in trainer.early_stopping_callbacks):
            trainer.should_stop = True
        if trainer.global_rank < len(self._random):
            restore_random_state(self._random[trainer.global_rank], pl_module.device)
        self._random = []
        self._saved_at = time.monotonic()
        self._saved_step = trainer.global_step

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the command asks whether it `is_due` when the processes of all devices have agreed."""

    def is_due(self, trainer: Trainer) -> bool:
        """Whether ``last.ckpt`` is to be replaced after this step."""
        if trainer.global_step == self._saved_step:
            return False
        if self.every_n_steps is not None and trainer.global_step % self.every_n_steps == 0:
            return True
        return self.every_minutes is not None and time.monotonic() - self._saved_at >= 60 * self.every_minutes

    def save_state(self, trainer: Trainer) -> None:
        """Replaces ``last.ckpt``; to be called on all ranks after the same batch.

        Raises:
            DataError: It cannot be written; the one that was there is unharmed.
        """
        assert self.dirpath is not None
        best = self._last_global_step_saved
        self.last_model_path = str(Path(self.dirpath) / f"{self.CHECKPOINT_NAME_LAST}{self.FILE_EXTENSION}")
        self._save_checkpoint(trainer, self.last_model_path)
        # The best ones of this step, if it is validated, are yet to be saved.
        self._last_global_step_saved = best

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves if this is not the validation at the end of each epoch."""
        if not trainer.sanity_checking:
            self._validated = trainer.global_step
        super().on_validation_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves the best checkpoints and the last one."""
        validated = self._validated == trainer.global_step
        if validated or self.monitor is None or not self.monitor.startswith("val/"):
            # Otherwise the training ends inside an epoch, and the metric is that of an earlier state.
            super().on_train_epoch_end(trainer, pl_module)
        epoch = trainer.current_epoch + 1
        wanted = epoch % max(1, self._every_n_epochs) == 0 or epoch == trainer.max_epochs
        if wanted and self._saved_step != trainer.global_step:
            self.save_state(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves the last checkpoint if the training ended otherwise than with an epoch that is saved.

        The best one gets the name of the model.
        """
        if self._saved_step != trainer.global_step:
            self.save_state(trainer)
        if trainer.is_global_zero:
            self._name_best(trainer, str(pl_module.name))

    def _name_best(self, trainer: Trainer, name: str) -> None:
        """Gives the best model, or the last if none was compared, the name of the model in the run folder."""
        compared = self.monitor is not None and Path(self.best_model_path).is_file()
        source = Path(self.best_model_path if compared else self.last_model_path)
        give_name(source, Path(trainer.default_root_dir) / f"{name}{self.FILE_EXTENSION}")

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds the random numbers of all ranks, and the place in the epoch as it is between two batches."""
        if trainer.state.fn != "fit" or trainer.fit_loop._data_fetcher is None:
            return
        checkpoint[RANDOM] = _of_all_ranks(trainer, random_state(pl_module.device))
        settle(trainer, checkpoint["loops"]["fit_loop"], self._validated == trainer.global_step)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keeps the random numbers until the first batch; lets the patience of the config win."""
        self._random = checkpoint.get(RANDOM, [])
        for callback in trainer.early_stopping_callbacks:
            if callback.state_key in checkpoint["callbacks"]:
                checkpoint["callbacks"][callback.state_key]["patience"] = callback.patience

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the best checkpoints so far, wherever the run folder was when they were saved."""
        super().load_state_dict(self._here(state_dict))

    def _here(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The state with its paths in this run folder, if it is of this run."""
        assert self.dirpath is not None
        folder = Path(self.dirpath)
        best: Mapping[str, Any] = state.get("best_k_models", {})
        if not all((folder / Path(path).name).is_file() for path in best):
            return dict(state)
        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        return {
            **state,
            **{key: str(folder / Path(state[key]).name) if state.get(key) else "" for key in paths},
            "best_k_models": {str(folder / Path(path).name): score for path, score in best.items()},
            "dirpath": self.dirpath,
        }

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        """Saves, and agrees with the other ranks on whether that went well."""
        failure: OSError | None = None
        try:
            super()._save_checkpoint(trainer, filepath)
        except OSError as error:
            failure = error
            trainer.strategy.barrier()  # where the others wait
        well = failure is None
        if trainer.world_size > 1:
            well = trainer.strategy.reduce_boolean_decision(well)
        if not well:
            raise DataError(self._trouble(filepath, failure)) from failure
        if Path(filepath).stem == self.CHECKPOINT_NAME_LAST:
            self._saved_at = time.monotonic()
            self._saved_step = trainer.global_step

    def _trouble(self, filepath: str, failure: OSError | None) -> str:
        if failure is None:
            return f"cannot write {filepath}: the first process says why"
        last = Path(filepath).with_name(f"{self.CHECKPOINT_NAME_LAST}{self.FILE_EXTENSION}")
        kept = f"; {last} of before is whole and unharmed" if last.is_file() else ""
        advice = ", make room and go on from there" if last.is_file() and failure.errno in FULL else ""
        return f"cannot write {filepath}: {failure.strerror or failure}{kept}{advice}"


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says when there is no room."""


def _of_all_ranks(trainer: Trainer, state: Any) -> list[Any]:
    """The states of all ranks, by rank."""
    if trainer.world_size == 1:
        return [state]
    states: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(states, state)
    return states
