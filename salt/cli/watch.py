"""What a command remembers of the Trainer's work, for the words with which it ends."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from salt.batch import JetBatch
from salt.cli.memory import Step
from salt.cli.run import RunState


class Watch(Callback):
    """Remembers the step that is under way, that a batch was trained, and that Ctrl-C ended it.

    Args:
        state: Where it is remembered.
    """

    def __init__(self, state: RunState) -> None:
        self.state = state

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: JetBatch, batch_idx: int
    ) -> None:
        """Takes note of the step."""
        self._begin("training", trainer, pl_module, batch)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: JetBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Takes note of the step."""
        self._begin("validation", trainer, pl_module, batch)

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: JetBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Takes note of the step."""
        self._begin("test", trainer, pl_module, batch)

    def on_predict_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: JetBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Takes note of the step."""
        self._begin("prediction", trainer, pl_module, batch)

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """The step is over, and the run worth keeping."""
        self.state.step = None
        self.state.trained = True

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """The step is over."""
        self.state.step = None

    on_test_batch_end = on_validation_batch_end
    on_predict_batch_end = on_validation_batch_end

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Takes note of Ctrl-C."""
        self.state.interrupted = isinstance(exception, KeyboardInterrupt)

    def _begin(self, kind: str, trainer: Trainer, pl_module: LightningModule, batch: JetBatch) -> None:
        self.state.step = Step(
            kind,
            len(batch),
            {name: len(rows.values) for name, rows in batch.constituents.items()},
            trainer.datamodule.batch_size,  # type: ignore[attr-defined]
            str(pl_module.device),
        )
