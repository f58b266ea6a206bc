"""A moving average of the weights."""

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from salt.callbacks.average import Average, averages_of
from salt.errors import ConfigError


class EMA(Average):
    """Averages the weights over the last steps (Polyak and Juditsky 1992), and has the averages validated and saved.

    After each step ``average = d * average + (1 - d) * weights``, where d is ``decay``, and less in the beginning, so
    that the random first weights are forgotten: after n steps it is at most (1 + n) / (10 + n). The statistics of a
    batch norm, and other buffers, are those of the training.

    Args:
        decay: Between 0 and 1; the average looks back over about 1 / (1 - decay) steps.
    """

    def __init__(self, decay: float = 0.999) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ConfigError(f"trainer.callbacks.EMA.decay is {decay}; it is at least 0 and below 1")
        self.decay = decay
        self._average: list[Tensor] | None = None
        self._steps = 0
        self._seen = -1

    @property
    def kind(self) -> str:
        """With its decay."""
        return f"EMA of decay {self.decay:g}"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins with the weights as they are, or goes on with the averages of a checkpoint."""
        parameters = list(pl_module.parameters())
        if self._average is None:
            self._average = [p.detach().clone() for p in parameters]
        else:
            self._average = [a.to(p) for a, p in zip(self._average, parameters, strict=True)]
        self._seen = trainer.global_step

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Takes the weights of this step in."""
        if trainer.global_step == self._seen:
            return
        self._seen = trainer.global_step
        self._steps += 1
        assert self._average is not None
        torch._foreach_lerp_(self._average, list(pl_module.parameters()), 1 - decay_after(self._steps, self.decay))

    def put_in(self, trainer: Trainer, parameters: Sequence[Tensor]) -> None:
        """Copies the averages."""
        if self._average is not None:
            torch._foreach_copy_(list(parameters), self._average)

    def state_dict(self) -> dict[str, Any]:
        """How many steps are averaged. The averages themselves are the weights of the checkpoint."""
        return {"steps": self._steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes that from a checkpoint."""
        self._steps = int(state_dict["steps"])

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Takes the averages from a checkpoint with which a training goes on."""
        average = averages_of(checkpoint)
        if trainer.state.fn == "fit" and average is not None:
            self._average = [average[name].clone() for name, _ in pl_module.named_parameters()]


def decay_after(steps: int, decay: float) -> float:
    """The decay of one step, of which `steps` have been taken, this one included."""
    return min(decay, (1 + steps) / (10 + steps))
