"""What the model asks of an encoder and of a pooling."""

from abc import ABC, abstractmethod
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from salt.errors import ConfigError
from salt.ragged import Ragged


class Encoder(nn.Module, ABC):
    """Lets the constituents of each jet know of each other.

    An encoder of your own subclasses this and takes `embed_dim` as a keyword-only argument, which the model sets.
    """

    @abstractmethod
    def forward(self, x: Ragged) -> Ragged:
        """[T, D] rows to [T, D] rows of the same jets, any number of them, jets without constituents among them."""


class Pooling(nn.Module, ABC):
    """Makes one vector of the constituents of each jet.

    A pooling of your own subclasses this and takes `embed_dim` as a keyword-only argument, which the model sets.
    """

    @abstractmethod
    def forward(self, x: Ragged) -> Tensor:
        """[T, D] rows to [B, D], finite also for a jet without constituents."""


@runtime_checkable
class EncoderFactory(Protocol):
    """An encoder of which all is known but the width."""

    def __call__(self, *, embed_dim: int) -> Encoder:
        """Builds it."""
        ...


@runtime_checkable
class PoolingFactory(Protocol):
    """A pooling of which all is known but the width."""

    def __call__(self, *, embed_dim: int) -> Pooling:
        """Builds it."""
        ...


def check_depth(num_layers: int, num_heads: int, embed_dim: int) -> None:
    """ConfigError unless there are layers and heads and the heads share the width evenly."""
    if num_layers < 1 or num_heads < 1:
        raise ConfigError(f"an encoder with num_layers {num_layers} and num_heads {num_heads}; both are at least 1")
    if embed_dim % num_heads:
        raise ConfigError(f"embed_dim {embed_dim} cannot be shared evenly by num_heads {num_heads}")
