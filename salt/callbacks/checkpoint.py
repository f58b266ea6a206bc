"""Checkpoints in the run folder."""

import logging
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from salt.errors import ConfigError, unknown
from salt.files import complete_or_absent

log = logging.getLogger(__name__)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints beside their name and renames them, so that one is complete or absent."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Writes one checkpoint."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with complete_or_absent(target) as beside:
            super().save_checkpoint(checkpoint, beside, storage_options)


class Checkpoint(ModelCheckpoint):
    """Saves the best checkpoints by one metric, and the last one, under ``ckpts/`` of the run folder.

    Args:
        monitor: Metric of the validation by which checkpoints are compared, such as ``val/loss`` or
            ``val/jets_classification/accuracy``. Without a validation file only the last checkpoint is kept.
        mode: Whether a small or a large value is good.
        save_top_k: How many of the best are kept; -1 keeps all.
        every_n_epochs: Save after every so many epochs.
    """

    CHECKPOINT_NAME_LAST = "last"

    def __init__(
        self,
        monitor: str = "val/loss",
        mode: Literal["min", "max"] = "min",
        save_top_k: int = 3,
        every_n_epochs: int = 1,
    ) -> None:
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

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Finds the run folder."""
        if stage == "fit":
            self.dirpath = str(Path(trainer.default_root_dir) / "ckpts")
            datamodule = trainer.datamodule  # type: ignore[attr-defined]
            if datamodule.options["val"] is None and self.monitor is not None:
                log.info("no data.val_file: the last checkpoint is kept, there is no best one")
                self.monitor, self.save_top_k, self.filename = None, 1, "epoch{epoch:03d}"
        super().setup(trainer, pl_module, stage)

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks that the monitored metric exists, before the first step.

        Raises:
            ConfigError: It does not.
        """
        known = list(trainer.callback_metrics)
        if self.monitor is not None and known and self.monitor not in known:
            raise ConfigError(unknown("metric", self.monitor, known, "in trainer.callbacks.Checkpoint.monitor"))
