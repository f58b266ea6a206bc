"""The network that reads the nuisance, and how it learns beside the tagger."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from salt.metrics.probe import perceptron

HIDDEN = (64, 64)

Reduce = Callable[[Tensor], Tensor]
"""Sums a tensor over the devices."""


@dataclass(frozen=True)
class Clipping:
    """How its gradient is clipped: as that of the tagger.

    Args:
        limit: The largest norm, or value; None for no limit.
        by_value: Whether it is a limit of each value.
    """

    limit: float | None = None
    by_value: bool = False


class Opponent:
    """A network from scores to bins of the nuisance, with an optimiser of its own.

    It is no module of the tagger: what is saved, exported and averaged of the tagger is that of any other one.

    Args:
        width: C, the number of scores.
        number: K, the number of bins.
        hidden: Widths of its hidden layers.
        seed: From it the first weights follow.
    """

    def __init__(self, width: int, number: int, hidden: Sequence[int], seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.network = perceptron([width, *hidden, number], generator).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.network.parameters())
        self.rate = 0.0
        self.clipping = Clipping()

    def to(self, device: torch.device) -> None:
        """Moves the network; before the first step."""
        self.network.to(device)

    def cross_entropy(self, scores: Tensor, bins: Tensor) -> Tensor:
        """The sum over the jets of the background, with the gradient of the scores alone."""
        with torch.autocast(scores.device.type, enabled=False):
            read = self.network(scores.to(next(self.network.parameters()).dtype))
            return functional.cross_entropy(read, bins, ignore_index=-1, reduction="sum")

    def learn(self, scores: Tensor, bins: Tensor, steps: int, reduce: Reduce) -> Tensor:
        """Takes steps on the scores of a batch.

        Args:
            scores: [B, C].
            bins: [B] with -1 for jets that do not count.
            steps: How many.
            reduce: Sums over the devices.

        Returns:
            [2] the cross-entropy before the first step and the number of jets, of all devices.
        """
        parameters = list(self.network.parameters())
        sizes = [p.numel() for p in parameters]
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate
        scores = scores.detach()
        number = (bins >= 0).sum().to(parameters[0].dtype)
        first: Tensor | None = None
        for _ in range(steps):
            self.network.requires_grad_(True)
            with torch.enable_grad():
                total = self.cross_entropy(scores, bins)
                gradients = torch.autograd.grad(total, parameters)
            self.network.requires_grad_(False)
            # One message for all of it, on several devices.
            everything = reduce(torch.cat([*(g.flatten() for g in gradients), total.detach()[None], number[None]]))
            *found, cross_entropy, count = everything.split([*sizes, 1, 1])
            first = torch.cat([cross_entropy, count]) if first is None else first
            for parameter, gradient in zip(parameters, found, strict=True):
                parameter.grad = gradient.view_as(parameter) / count.clamp(min=1)
            self._clip(parameters)
            self.optimizer.step()
        assert first is not None
        return first

    def state(self) -> dict[str, Any]:
        """All that it has learnt."""
        network = {name: tensor.cpu() for name, tensor in self.network.state_dict().items()}
        return {"network": network, "optimizer": self.optimizer.state_dict()}

    def adopt(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _clip(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        if self.clipping.limit is None:
            return
        if self.clipping.by_value:
            clip_grad_value_(parameters, self.clipping.limit)
        else:
            clip_grad_norm_(parameters, self.clipping.limit)
