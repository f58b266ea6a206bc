"""Values of many entries, from which ranks and quantiles are taken: all of them, or as many as memory is given for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from salt.metrics.base import HasTensors

BOUND = 2**19
"""Entries of which nothing is lost, where their number is bounded."""


@dataclass(frozen=True, eq=False)
class Points(HasTensors):
    """K lists of R values, each of which stands for some entries of W kinds.

    Args:
        value: [K, R].
        weight: [K, R, W] how many entries of each kind have the value; a value that stands for none does not matter.
    """

    value: Tensor
    weight: Tensor

    def folded(self, number: int) -> "Points":
        """Neighbours in groups of about as many entries, `number` groups in each list.

        A group has the value in the middle between its smallest and its largest; equal values are in one group.
        """
        each = [_grouped(*self.sorted(k), number) for k in range(len(self.value))]
        return Points(torch.stack([v for v, _ in each]), torch.stack([w for _, w in each]))

    def sorted(self, k: int) -> tuple[Tensor, Tensor]:
        """The different values of list k that stand for something, ascending [N], and the entries of each [N, W]."""
        real = self.weight[k].sum(-1) > 0
        value, weight = self.value[k][real], self.weight[k][real]
        order = _order(value)
        value, weight = value[order], weight[order]
        last = torch.ones_like(value, dtype=torch.bool)
        last[:-1] = value[1:] != value[:-1]
        up_to = weight.cumsum(0)[last]
        return value[last], up_to.diff(dim=0, prepend=torch.zeros_like(up_to[:1]))


@dataclass(frozen=True, eq=False)
class Sample(HasTensors):
    """K values of each of R entries.

    Args:
        values: [R, K] float32.
        kind: [R, K] int8 from 0 to W - 1; -1 for a value that does not count.
        kinds: W.
        bound: Up to so many entries are kept as they are. Beyond, those so far are put into groups of neighbours, an
            eighth of the bound in number for each of the K values. None keeps all.
        groups: What was put into groups; None for nothing.
    """

    values: Tensor
    kind: Tensor
    kinds: int
    bound: int | None = None
    groups: Points | None = None

    @classmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """The entries of all parts, in groups where there are too many."""
        groups = [part.groups for part in parts if part.groups is not None]
        together = replace(
            parts[0],
            values=torch.cat([part.values for part in parts]),
            kind=torch.cat([part.kind for part in parts]),
            groups=_joined(groups) if groups else None,
        )
        if together.bound is None or len(together.values) <= together.bound:
            return together
        return replace(
            together,
            values=together.values[:0],
            kind=together.kind[:0],
            groups=together.points().folded(together.bound // 8),
        )

    def points(self) -> Points:
        """All entries as lists."""
        kinds = torch.arange(self.kinds, device=self.kind.device)
        single = Points(self.values.T, (self.kind.T[..., None] == kinds).double())
        return single if self.groups is None else _joined([self.groups, single])


def _order(value: Tensor) -> Tensor:
    """What sorts; on a CPU NumPy is several times as fast as PyTorch."""
    return torch.from_numpy(np.argsort(value.numpy())) if value.device.type == "cpu" else value.argsort()


def _joined(parts: Sequence[Points]) -> Points:
    return Points(torch.cat([p.value for p in parts], 1), torch.cat([p.weight for p in parts], 1))


def _grouped(value: Tensor, weight: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Different values, ascending, in groups; an empty group has the value 0."""
    each = weight.sum(-1)
    middle = each.cumsum(0) - each / 2
    group = (middle * (number / each.sum())).long().clamp(max=number - 1)
    empty = value.new_zeros(number)
    low = empty.scatter_reduce(0, group, value, "amin", include_self=False)
    high = empty.scatter_reduce(0, group, value, "amax", include_self=False)
    return (low + high) / 2, weight.new_zeros((number, weight.shape[-1])).index_add_(0, group, weight)
