"""Fully connected networks, with the linear layer that never concatenates its inputs."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from salt.errors import ConfigError, unknown
from salt.nn.dropout import Dropout
from salt.nn.linear import Linear

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": partial(nn.ReLU, inplace=True),
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}
"""The activations that a config can name."""


def make_activation(name: str) -> nn.Module:
    """The activation of that name, or ConfigError with the nearest ones."""
    if name not in ACTIVATIONS:
        raise ConfigError(unknown("activation", name, ACTIVATIONS))
    return ACTIVATIONS[name]()


def make_dropout(rate: float) -> nn.Module:
    """Dropout, or nothing at rate 0; ConfigError outside [0, 1)."""
    if not 0 <= rate < 1:
        raise ConfigError(f"dropout is {rate}; it is a probability, at least 0 and below 1")
    return Dropout(rate) if rate else nn.Identity()


def check_sizes(what: str, sizes: Sequence[int]) -> None:
    """ConfigError unless all sizes are at least 1."""
    if any(size < 1 for size in sizes):
        raise ConfigError(f"{what} is {list(sizes)}; layer sizes are at least 1")


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision becomes float32; float32 and float64 stay as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class SplitLinear(nn.Module):
    """``W [x_i, g]`` for rows i that share a context g, as ``W1 x_i + W2 g``, where ``W2 g`` is made once.

    Args:
        in_dim: Width of a row.
        context_dim: Width of a context.
        out_dim: Width of the result.
    """

    def __init__(self, in_dim: int, context_dim: int, out_dim: int) -> None:
        super().__init__()
        self.rows = Linear(in_dim, out_dim)
        self.context = Linear(context_dim, out_dim, bias=False)
        bound = (in_dim + context_dim) ** -0.5  # As nn.Linear would begin that sees both.
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x_TD: Tensor, context_BD: Tensor, jet_T: Tensor) -> Tensor:
        """[T, in_dim], [B, context_dim] and the jet of each row to [T, out_dim]."""
        rows: Tensor = self.rows(x_TD)
        context: Tensor = self.context(context_BD)
        return rows + context.index_select(0, jet_T)


class Dense(nn.Module):
    """A multi-layer perceptron: linear, activation, dropout for each hidden size, then one linear layer.

    Args:
        in_dim: Width of its input.
        hidden: Widths of the hidden layers; empty makes it a linear layer.
        out_dim: Width of its output.
        activation: Name of the activation.
        dropout: Probability to drop a hidden unit.
    """

    def __init__(
        self, in_dim: int, hidden: Sequence[int], out_dim: int, activation: str = "relu", dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_sizes("hidden", hidden)
        layers: list[nn.Module] = []
        for before, after in zip([in_dim, *hidden], hidden, strict=False):
            layers += [Linear(before, after), make_activation(activation), make_dropout(dropout)]
        self.layers = nn.Sequential(*layers, Linear([in_dim, *hidden][-1], out_dim))

    def forward(self, x: Tensor) -> Tensor:
        """[..., in_dim] to [..., out_dim]."""
        out: Tensor = self.layers(x)
        return out


class ContextDense(nn.Module):
    """A `Dense` on rows that share a context, which enters its first layer.

    Args:
        in_dim: Width of a row.
        context_dim: Width of a context.
        hidden: Widths of the hidden layers.
        out_dim: Width of its output.
        activation: Name of the activation.
        dropout: Probability to drop a hidden unit.
    """

    def __init__(
        self,
        in_dim: int,
        context_dim: int,
        hidden: Sequence[int],
        out_dim: int,
        activation: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_sizes("hidden", hidden)
        self.first = SplitLinear(in_dim, context_dim, hidden[0] if hidden else out_dim)
        self.rest = after_first(hidden, out_dim, activation, dropout)

    def forward(self, x_TD: Tensor, context_BD: Tensor, jet_T: Tensor) -> Tensor:
        """[T, in_dim], [B, context_dim] and the jet of each row to [T, out_dim]."""
        out: Tensor = self.rest(self.first(x_TD, context_BD, jet_T))
        return out


def after_first(hidden: Sequence[int], out_dim: int, activation: str, dropout: float) -> nn.Module:
    """What follows the first linear layer of a perceptron; nothing where that layer is its only one."""
    if not hidden:
        return nn.Identity()
    rest = Dense(hidden[0], hidden[1:], out_dim, activation, dropout)
    return nn.Sequential(make_activation(activation), make_dropout(dropout), rest)
