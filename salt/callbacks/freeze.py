"""Parameters that stay as they are for some epochs."""

import logging
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.optim import Optimizer

from salt.callbacks.warm_start import LoadWeights, check_patterns, matches
from salt.errors import ConfigError
from salt.runs.options import WarmStart

log = logging.getLogger(__name__)


class Freeze(Callback):
    """Keeps parameters as they are: no step of the optimiser reaches them, and no weight decay.

    Their gradients are dropped before each step, so the optimiser knows all parameters from the beginning, and a
    training that is resumed before, at or after the thaw goes on as it would have.

    Args:
        options: Which parameters, and for how long.
        loading: What loads weights when the training begins, if anything does.
    """

    def __init__(self, options: WarmStart, loading: LoadWeights | None = None) -> None:
        self.options = options
        self._loading = loading
        self._loaded: list[str] = []
        self._frozen: list[nn.Parameter] = []

    def state_dict(self) -> dict[str, Any]:
        """What was loaded when the training began."""
        return {"loaded": self._loaded}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes it from a checkpoint."""
        self._loaded = list(state_dict["loaded"])

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finds the parameters."""
        if self._loading is not None:
            self._loaded = self._loading.loaded
        parameters = dict(pl_module.named_parameters())
        check_patterns("freeze", self.options.freeze, parameters)
        if self.options.freeze:
            names = [name for name in parameters if matches(name, self.options.freeze)]
        else:
            names = [name for name in self._loaded if name in parameters]
        if not names:
            raise ConfigError(
                "run.warm_start.freeze_epochs is given, but no weights are loaded that could be frozen; name "
                "parameters in run.warm_start.freeze, or a checkpoint"
            )
        if len(names) == len(parameters) and self.options.freeze_epochs is None:
            raise ConfigError("run.warm_start.freeze leaves nothing to train; name fewer parameters or freeze_epochs")
        self._frozen = [parameters[name] for name in names]
        epochs = self.options.thaws
        if epochs is None or trainer.current_epoch < epochs:
            until = "for the whole training" if epochs is None else f"until epoch {epochs} ends"
            total = sum(p.numel() for p in self._frozen)
            log.info(f"{total:,} parameters stay as they are {until}")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says when they thaw."""
        if trainer.current_epoch == self.options.thaws:
            log.info("all parameters are trained from now on")

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Drops their gradients."""
        epochs = self.options.thaws
        if epochs is None or trainer.current_epoch < epochs:
            for parameter in self._frozen:
                parameter.grad = None
