"""Dropout whose random numbers may come from a generator of the thread's own."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

_local = threading.local()


@contextmanager
def drawing_from(generator: torch.Generator | None) -> Iterator[None]:
    """Within it this thread's dropout draws from a generator; from PyTorch's global one if that is None."""
    before = getattr(_local, "generator", None)
    _local.generator = generator
    try:
        yield
    finally:
        _local.generator = before


def dropped(x: Tensor, rate: float) -> Tensor:
    """Sets entries to 0 with a probability, and scales up the others (Srivastava et al. 2014, JMLR 15, 1929)."""
    generator = getattr(_local, "generator", None)
    if generator is None:
        return functional.dropout(x, rate)
    return x * torch.empty_like(x).bernoulli_(1 - rate, generator=generator).div_(1 - rate)


class Dropout(nn.Module):
    """Sets entries to 0 while training.

    Args:
        rate: With which probability.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Of the same shape."""
        return dropped(x, self.rate) if self.training else x
