"""The network between an embedding and the outputs of a task."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from salt.errors import ConfigError
from salt.inputs import JETS
from salt.nn.dense import ContextDense, Dense
from salt.tasks.base import Embedding


class Head(nn.Module):
    """A perceptron on the pooled jets, or on constituents with the pooled jet attached to each.

    Args:
        input: Name of the input it is about.
        embed_dim: D.
        hidden: Widths of the hidden layers.
        out_dim: Width of its output.
        activation: Name of the activation.
        dropout: Probability to drop a hidden unit.
    """

    def __init__(
        self,
        input: str,  # noqa: A002
        embed_dim: int,
        hidden: Sequence[int],
        out_dim: int,
        activation: str,
        dropout: float,
    ) -> None:
        super().__init__()
        self.input = input
        if input == JETS:
            self.jets: Dense | None = Dense(embed_dim, hidden, out_dim, activation, dropout)
        else:
            self.jets = None
            self.constituents = ContextDense(embed_dim, embed_dim, hidden, out_dim, activation, dropout)

    def forward(self, embedding: Embedding) -> Tensor:
        """[B, out_dim] for jets, [T, out_dim] for constituents."""
        if self.jets is not None:
            out: Tensor = self.jets(embedding.jets)
            return out
        x = embedding.constituents[self.input]
        rows: Tensor = self.constituents(x.values, embedding.jets, x.jet_T)
        return rows


def total(values: Tensor, valid: Tensor) -> Tensor:
    """The sum of the valid values; the others do not matter, not even where they are not finite."""
    return torch.where(valid, values, 0).sum()


def check_weight(task: str, weight: float) -> None:
    """ConfigError unless the weight of a task can weigh a loss."""
    if not 0 <= weight < float("inf"):
        raise ConfigError(f"task '{task}': weight is {weight}; it must be a finite number, at least 0")
