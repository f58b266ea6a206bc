"""Averages of the weights: what is validated and saved in place of the weights in training."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import StochasticWeightAveraging, WeightAveraging
from torch import Tensor

from salt.errors import ConfigError
from salt.optim.averaging import ENTRY, add_averages

FOREIGN = (WeightAveraging, StochasticWeightAveraging)
"""Callbacks that would save averages for weights where a validation is interrupted, or replace the schedule."""


class Average(Callback, ABC):
    """Puts averages in place of the weights while a training validates, and into its checkpoints.

    The weights in training are put back as they were, to the last bit.
    """

    def __init__(self) -> None:
        self._trained: list[Tensor] | None = None

    @property
    @abstractmethod
    def kind(self) -> str:
        """What the averages are, in a few words."""

    @abstractmethod
    def put_in(self, trainer: Trainer, parameters: Sequence[Tensor]) -> None:
        """Changes the parameters to their averages."""

    @property
    def _is_put_in(self) -> bool:
        return self._trained is not None

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From now on the model is its average."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._swap_in(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The model is as it is trained again."""
        self._swap_out(pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds the averages, also inside a validation."""
        if trainer.state.fn != "fit":
            return
        names = [name for name, _ in pl_module.named_parameters()]
        inside = self._is_put_in
        if not inside:
            self._swap_in(trainer, pl_module)
        assert self._trained is not None
        average = {name: p.detach().clone() for name, p in pl_module.named_parameters()}
        trained = dict(zip(names, self._trained, strict=True))
        if not inside:
            self._swap_out(pl_module)
        add_averages(checkpoint, self.kind, average, trained)

    @torch.no_grad()
    def _swap_in(self, trainer: Trainer, pl_module: LightningModule) -> None:
        parameters = list(pl_module.parameters())
        self._trained = [p.detach().clone() for p in parameters]
        self.put_in(trainer, parameters)

    @torch.no_grad()
    def _swap_out(self, pl_module: LightningModule) -> None:
        if self._trained is not None:
            torch._foreach_copy_(list(pl_module.parameters()), self._trained)
            self._trained = None


class ScheduleFree(Average):
    """For optimisers that average by themselves (Defazio et al., arXiv:2405.15682), as those of `schedulefree` do.

    Args:
        optimizer: Name of its class.
    """

    def __init__(self, optimizer: str) -> None:
        super().__init__()
        self._name = optimizer

    @property
    def kind(self) -> str:
        """The optimiser's own."""
        return f"averages of {self._name}"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tells the optimiser that it trains; it counts on that until the end."""
        for optimizer in trainer.optimizers:
            optimizer.train()  # type: ignore[attr-defined]

    def put_in(self, trainer: Trainer, parameters: Sequence[Tensor]) -> None:
        """Has the optimiser put its averages in."""
        for optimizer in trainer.optimizers:
            optimizer.eval()  # type: ignore[attr-defined]
            for group in optimizer.param_groups:
                # The weights in training are put back by copying, which is exact, not by its own way back.
                group["train_mode"] = True


def averaging(callbacks: Sequence[Callback], model: LightningModule) -> list[Callback]:
    """What a model needs beside the configured callbacks to be validated and saved with averages of its optimiser.

    Raises:
        ConfigError: A configured callback does not go with checkpoints inside of validations, or the weights would be
            averaged twice.
    """
    for callback in callbacks:
        if isinstance(callback, FOREIGN):
            raise ConfigError(
                f"trainer.callbacks: {type(callback).__name__} does not go with resuming and the schedules of Salt; "
                "take EMA"
            )
    optimizer = model.configure_optimizers()
    own: list[Callback] = []
    if callable(getattr(optimizer, "train", None)) and callable(getattr(optimizer, "eval", None)):
        own.append(ScheduleFree(type(optimizer).__name__))
    averages = [c.kind for c in (*callbacks, *own) if isinstance(c, Average)]
    if len(averages) > 1:
        raise ConfigError(f"the weights would be averaged twice, by {' and by '.join(averages)}; take one of them")
    return own


def averages_of(checkpoint: Mapping[str, Any]) -> Mapping[str, Tensor] | None:
    """The averages of a checkpoint from which a training goes on; None if it had none."""
    average: Mapping[str, Tensor] | None = checkpoint.get(ENTRY, {}).get("average")
    return average
