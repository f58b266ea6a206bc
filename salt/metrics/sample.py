"""Values of many entries, from which ranks and quantiles are taken: all of them, or as many as memory is given for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from salt.metrics.base import HasTensors
from salt.metrics.lists import AnyList, Counted, Scratch

BOUND = 2**19
"""Entries of which nothing is lost, where their number is bounded."""


@dataclass(frozen=True, eq=False)
class Groups(HasTensors):
    """K lists of values, each of which stands for a group of entries with values next to it.

    Args:
        value: [K, R].
        weight: [K, R, W] entries of each kind; a value that stands for none does not matter.
    """

    value: Tensor
    weight: Tensor


@dataclass(frozen=True, eq=False)
class Sample(HasTensors):
    """K values of each of R entries.

    Args:
        values: [R, K].
        kind: [R, K] int8 from 0 to W - 1; -1 for a value that does not count.
        kinds: W.
        bound: Up to so many entries are kept as they are. Beyond, those so far are put into groups of neighbours, an
            eighth of the bound in number for each of the K values. None keeps all.
        groups: What was put into groups; None for nothing.
        portions: Further entries, K lists each.
    """

    values: Tensor
    kind: Tensor
    kinds: int
    bound: int | None = None
    groups: Groups | None = None
    portions: tuple[tuple[AnyList, ...], ...] = ()

    @classmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """The entries of all parts, in groups where there are too many."""
        groups = [part.groups for part in parts if part.groups is not None]
        together = replace(
            parts[0],
            values=torch.cat([part.values for part in parts]),
            kind=torch.cat([part.kind for part in parts]),
            groups=_joined(groups) if groups else None,
            portions=sum((part.portions for part in parts), ()),
        )
        if together.bound is None or len(together.values) <= together.bound:
            return together
        return together._without_entries(groups=together._folded(together.bound // 8))

    @property
    def size(self) -> int:
        """Entries in memory, but for those in groups."""
        return len(self.values) + sum(len(p[0]) for p in self.portions if isinstance(p[0], Counted))

    def lists(self, k: int) -> tuple[AnyList, ...]:
        """The k-th values of all entries."""
        return *(portion[k] for portion in self.portions), self._counted(k)

    def spilt(self, scratch: Scratch) -> Self:
        """The same with all entries in a file, unless their number is bounded."""
        if self.bound is not None:
            return self
        own = tuple(self._counted(k) for k in range(self.values.shape[1]))
        portions = tuple(
            tuple(scratch.keep(each) if isinstance(each, Counted) else each for each in portion)
            for portion in (*self.portions, own)
        )
        return self._without_entries(portions=portions)

    def pieces(self) -> Iterator[Self]:
        """The same in parts that can be sent, each of which fits into memory."""
        yield replace(self, portions=())
        for portion in self.portions:
            yield self._without_entries(groups=None, portions=(tuple(each.read(0, len(each)) for each in portion),))

    def _without_entries(self, **changes: object) -> Self:
        return replace(self, values=self.values[:0], kind=self.kind[:0], **changes)  # type: ignore[arg-type]

    def _counted(self, k: int) -> Counted:
        value, weight = self._sorted(k)
        return Counted(value.cpu().numpy(), weight.cpu().numpy())

    def _sorted(self, k: int) -> tuple[Tensor, Tensor]:
        """The different k-th values in memory, ascending [N], and the entries of each [N, W]."""
        kind = self.kind[:, k]
        value = self.values[kind >= 0, k]
        weight = (kind[kind >= 0, None] == torch.arange(self.kinds, device=kind.device)).double()
        if self.groups is not None:
            real = self.groups.weight[k].sum(-1) > 0
            value = torch.cat([value, self.groups.value[k][real]])
            weight = torch.cat([weight, self.groups.weight[k][real]])
        order = _order(value)
        value, weight = value[order], weight[order]
        last = torch.ones_like(value, dtype=torch.bool)
        last[:-1] = value[1:] != value[:-1]
        up_to = weight.cumsum(0)[last]
        return value[last], up_to.diff(dim=0, prepend=torch.zeros_like(up_to[:1]))

    def _folded(self, number: int) -> Groups:
        """Neighbours in groups of about as many entries, `number` groups in each list.

        A group has the value in the middle between its smallest and its largest; equal values are in one group.
        """
        each = [_grouped(*self._sorted(k), number) for k in range(self.values.shape[1])]
        return Groups(torch.stack([v for v, _ in each]), torch.stack([w for _, w in each]))


def _order(value: Tensor) -> Tensor:
    """What sorts; on a CPU NumPy is several times as fast as PyTorch."""
    return torch.from_numpy(np.argsort(value.numpy())) if value.device.type == "cpu" else value.argsort()


def _joined(parts: Sequence[Groups]) -> Groups:
    return Groups(torch.cat([p.value for p in parts], 1), torch.cat([p.weight for p in parts], 1))


def _grouped(value: Tensor, weight: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Different values, ascending, in groups; an empty group has the value 0."""
    each = weight.sum(-1)
    middle = each.cumsum(0) - each / 2
    group = (middle * (number / each.sum())).long().clamp(max=number - 1)
    empty = value.new_zeros(number)
    low = empty.scatter_reduce(0, group, value, "amin", include_self=False)
    high = empty.scatter_reduce(0, group, value, "amax", include_self=False)
    return (low + high) / 2, weight.new_zeros((number, weight.shape[-1])).index_add_(0, group, weight)
