"""Rows of many jets back to back: the one layout of everything that a jet has a varying number of.

Axis letters, here and in the whole package: **B** jets, **T** constituents back to back, **P** pairs of constituents
of one jet, **F** input variables, **D** embedding width, **H** heads, **C** classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from salt.graphs import outside_graphs, replaceable


@dataclass(frozen=True, eq=False)
class Ragged:
    """Values of the constituents of B jets, back to back.

    The constituents of jet b are ``values[offsets[b]:offsets[b + 1]]``. In plain Python::

        [values[start:stop] for start, stop in zip(offsets[:-1], offsets[1:])]

    Args:
        values: [T, ...], T the number of constituents of all jets together.
        offsets: [B + 1] int64, from 0 to T, on the device of the values.
        host_offsets: The same numbers in the memory of the host, so that no kernel and no shape waits for the device.
        derived: What was computed from the offsets, kept for all values of the same jets.
    """

    values: Tensor
    offsets: Tensor
    host_offsets: Tensor
    derived: dict[str, Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def from_counts(cls, values: Tensor, counts: Tensor) -> "Ragged":
        """Builds it from the number of constituents of each jet, both on the host."""
        offsets = torch.zeros(len(counts) + 1, dtype=torch.int64)
        torch.cumsum(counts, 0, out=offsets[1:])
        return cls(values, offsets, offsets)

    @property
    def num_jets(self) -> int:
        """B."""
        return self.host_offsets.shape[0] - 1

    @property
    def host_counts(self) -> Tensor:
        """[B] number of constituents of each jet, on the host."""
        return self.host_offsets.diff()

    @property
    def counts(self) -> Tensor:
        """[B] number of constituents of each jet, on the device."""
        return self.offsets.diff()

    @property
    def max_count(self) -> int:
        """The largest number of constituents of a jet; 0 without jets."""
        return int(self.host_counts.max()) if self.num_jets else 0

    @property
    def jet_T(self) -> Tensor:  # noqa: N802
        """[T] the jet to which each constituent belongs."""
        return jet_of_each(self)

    def with_values(self, values: Tensor) -> "Ragged":
        """The same jets with other values, [T, ...]."""
        return replace(self, values=values)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Ragged":
        """On another device; the host's copy of the offsets stays where it is."""
        return Ragged(
            self.values.to(device, non_blocking=non_blocking),
            self.offsets.to(device, non_blocking=non_blocking),
            self.host_offsets,
        )

    def pin_memory(self) -> "Ragged":
        """In page-locked memory, from which copies to a GPU run beside its work."""
        return Ragged(self.values.pin_memory(), self.offsets.pin_memory(), self.host_offsets)


@outside_graphs
def jet_of_each(ragged: Ragged) -> Tensor:
    """[T] the jet to which each constituent belongs, computed once for the same jets."""
    if "jet_T" not in ragged.derived:
        jets = torch.arange(ragged.num_jets, device=ragged.offsets.device)
        output_size = ragged.values.shape[0]
        ragged.derived["jet_T"] = torch.repeat_interleave(jets, ragged.counts, output_size=output_size)
    return ragged.derived["jet_T"]


def repeat_rows(rows: Tensor, like: Ragged) -> Ragged:
    """The same [R, ...] rows for each jet of another one."""
    step = torch.arange(like.num_jets + 1)
    values = rows.repeat(like.num_jets, *[1] * (rows.dim() - 1))
    return Ragged(values, torch.arange(like.num_jets + 1, device=like.offsets.device) * len(rows), step * len(rows))


@replaceable
def sum_rows(values: Tensor, segment: Tensor, num_segments: int) -> Tensor:
    """Sums rows that belong together: [T, ...] and [T] segment numbers to [num_segments, ...]; 0 for none."""
    return values.new_zeros((num_segments, *values.shape[1:])).index_add(0, segment, values)


@replaceable
def sum_jets(values: Tensor, like: Ragged) -> Tensor:
    """Sums over the constituents of each jet: [T, ...] values of the constituents to [B, ...]; 0 for none."""
    return sum_rows(values, like.jet_T, like.num_jets)


def softmax_rows(logits: Tensor, segment: Tensor, num_segments: int, sink: bool = False) -> Tensor:
    """Softmax over the rows of each segment, for each column: [T, ...] and [T] to [T, ...].

    With a sink each segment has one more row, whose logits are 0 and whose weights are not returned.
    """
    shape = (num_segments, *logits.shape[1:])
    index = segment.reshape(-1, *([1] * (logits.dim() - 1))).expand_as(logits)
    least = 0.0 if sink else -torch.inf
    largest = logits.new_full(shape, least).scatter_reduce(0, index, logits.detach(), "amax")
    exponent = (logits - largest.index_select(0, segment)).exp()
    total = sum_rows(exponent, segment, num_segments)
    if sink:
        total = total + (-largest).exp()
    return exponent / total.index_select(0, segment)


@outside_graphs
def merge(parts: Sequence[Ragged]) -> tuple[Ragged, list[Tensor]]:
    """Puts the constituents of several inputs together, jet by jet, in the order of the inputs.

    Returns:
        The merged rows, and for each input the [T_input] positions of its rows among them, so that
        ``merged.values.index_select(0, positions[k])`` gives the k-th input back.
    """
    if len(parts) == 1:
        return parts[0], [torch.arange(parts[0].values.shape[0], device=parts[0].values.device)]
    device = parts[0].offsets.device
    offsets = torch.stack([p.offsets for p in parts]).sum(0)
    host = torch.stack([p.host_offsets for p in parts]).sum(0)
    positions = []
    before = torch.zeros(parts[0].num_jets, dtype=torch.int64, device=device)
    for part in parts:
        shift = offsets[:-1] + before - part.offsets[:-1]
        rows = torch.arange(part.values.shape[0], device=device)
        positions.append(rows + shift.index_select(0, part.jet_T))
        before = before + part.counts
    order = torch.argsort(torch.cat(positions))
    values = torch.cat([p.values for p in parts]).index_select(0, order)
    return Ragged(values, offsets, host), positions


@dataclass(frozen=True, eq=False)
class Pairs:
    """All unordered pairs of different constituents of one jet.

    Args:
        first: [P] position of one constituent among the T.
        second: [P] position of the other; always larger.
    """

    first: Tensor
    second: Tensor


@outside_graphs
def pairs(ragged: Ragged) -> Pairs:
    """The pairs i < j of each jet, jet by jet, ordered by i and then j."""
    counts = ragged.host_counts
    total = int((counts * (counts - 1) // 2).sum())
    device = ragged.offsets.device
    rows = torch.arange(ragged.values.shape[0], device=device)
    end = ragged.offsets[1:].index_select(0, ragged.jet_T)
    partners = end - rows - 1
    first = torch.repeat_interleave(rows, partners, output_size=total)
    start = torch.cumsum(partners, 0) - partners
    second = torch.arange(total, device=device) - start.index_select(0, first) + first + 1
    return Pairs(first, second)
