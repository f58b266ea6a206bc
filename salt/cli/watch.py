"""What a command remembers of the Trainer's work, for the words with which it ends."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from salt.batch import JetBatch
from salt.cli.children import forget_readers, kill
from salt.cli.memory import Step
from salt.cli.run import RunState


class OwnSignals:
    """Stands where Lightning's handlers of signals are set up, and sets none up.

    Those save, and talk to other ranks, in the midst of whatever a signal interrupts, where ranks that are out of step
    wait for each other for ever.
    """

    received_sigterm = False

    def register_signal_handlers(self) -> None:
        """Leaves the handlers of the command as they are."""

    def teardown(self) -> None:
        """There is nothing to put back."""


class Watch(Callback):
    """Remembers the step that is under way, that a batch was trained, and the processes of further devices.

    Args:
        state: Where it is remembered.
    """

    def __init__(self, state: RunState) -> None:
        self.state = state

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Takes the answer to signals out of Lightning's hands; takes note of the processes that it started."""
        trainer._signal_connector = OwnSignals()  # type: ignore[assignment]
        # Lightning tells all ranks of SIGTERM before each batch, for which the host would wait for the device.
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
        # Nothing is started anew for a second sample, and Lightning forgets what it started for the first.
        self.state.children = list(getattr(trainer.strategy.launcher, "procs", [])) or self.state.children

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
        """Ends the processes of further devices, which would wait for this one; after a vote they end by themselves."""
        forget_readers()
        # Lightning looks at them every few seconds, and would kill this process as well because they end.
        getattr(trainer.strategy.launcher, "procs", []).clear()
        if not getattr(exception, "agreed", False):
            kill(self.state.children)

    def _begin(self, kind: str, trainer: Trainer, pl_module: LightningModule, batch: JetBatch) -> None:
        self.state.step = Step(
            kind,
            len(batch),
            {name: len(rows.values) for name, rows in batch.constituents.items()},
            trainer.datamodule.batch_size,  # type: ignore[attr-defined]
            str(pl_module.device),
        )
