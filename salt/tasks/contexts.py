"""What of each jet is given, and what is to be predicted from it; made on the host, without waiting for the device."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from salt.batch import JetBatch
from salt.nn.buckets import to_device
from salt.ragged import Ragged

UInt64: TypeAlias = NDArray[np.uint64]

EVALUATION = -1
"""What is drawn in validation and test is that of this epoch."""


@dataclass(frozen=True, eq=False)
class Step:
    """One prediction for each of A jets. All tensors are on the host.

    Args:
        jets: [A] which jets of the batch.
        counts: [A] how many constituents each of them is given.
        rows: What these are: a row among the constituents of the batch, in their order, or, from T on, among those
            that were predicted in the steps before, step by step.
        there: [N] which of the A have a next constituent; the others end here.
        truth: [N] the rows of those.
    """

    jets: Tensor
    counts: Tensor
    rows: Tensor
    there: Tensor
    truth: Tensor


def draw(rows: Tensor, epoch: int) -> Tensor:
    """[B] float64 random numbers, at least 0 and below 1, that depend on the rows of the jets and the epoch alone.

    So a jet is treated in the same way whatever the batch, the device and the interruptions of the training.
    """
    mixed = _mix(_mix(rows.numpy().astype(np.uint64)) + np.uint64((epoch + 2) * 0x9E3779B97F4A7C15 % 2**64))
    return torch.from_numpy((mixed >> np.uint64(11)).astype(np.float64) / 2**53)


def _mix(x: UInt64) -> UInt64:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): all bits depend on all bits."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


def rollout_steps(
    offsets: Tensor, uniform: Tensor, number: int, min_context: int, max_count: int | None
) -> tuple[Step, ...]:
    """From the first s constituents of each jet on, for some steps.

    s is uniform between `min_context` and the number n of constituents of the jet. In step i the jets with at least
    s + i constituents take part; those with exactly as many have none to come.

    Args:
        offsets: [B + 1] of the constituents, on the host.
        uniform: [B] random numbers from which s follows.
        number: How many steps; fewer are returned where no jet has so many, but at least one.
        min_context: The smallest s.
        max_count: So many constituents of a jet are read at most: what comes after them is not known.
    """
    counts, total = offsets.diff(), int(offsets[-1])
    last = counts if max_count is None else torch.where(counts >= max_count, counts - 1, counts)
    given = min_context + (uniform * (last - min_context + 1)).long()
    steps: list[Step] = []
    predicted = torch.empty(len(counts), 0, dtype=torch.int64)  # The rows of what was predicted before.
    first = total
    for i in range(number):
        jets = torch.nonzero((last >= min_context) & (given + i <= last)).squeeze(1)
        if i and not len(jets):
            break
        start, true = offsets[jets], given[jets]
        of_row, place = _places(true + i)
        rows = start[of_row] + place
        if i:
            own = predicted[jets][of_row, (place - true[of_row]).clamp(min=0)]
            rows = torch.where(place < true[of_row], rows, own)
        there = torch.nonzero(true + i < counts[jets]).squeeze(1)
        steps.append(Step(jets, true + i, rows, there, (start + true + i)[there]))
        here = torch.full((len(counts), 1), -1).index_copy(0, jets, first + torch.arange(len(jets))[:, None])
        predicted = torch.cat([predicted, here], 1)
        first += len(jets)
    return tuple(steps)


def masked_steps(offsets: Tensor, uniform: Tensor, min_context: int) -> tuple[Step, ...]:
    """One constituent of each jet, any of them, from all of its others.

    Args:
        offsets: [B + 1] of the constituents, on the host.
        uniform: [B] random numbers from which it follows which one.
        min_context: The smallest number of others.
    """
    counts = offsets.diff()
    jets = torch.nonzero(counts > min_context).squeeze(1)
    start, left = offsets[jets], counts[jets] - 1
    hidden = (uniform[jets] * counts[jets]).long()
    of_row, place = _places(left)
    rows = start[of_row] + place + (place >= hidden[of_row]).long()
    return (Step(jets, left, rows, torch.arange(len(jets)), start + hidden),)


def ordered(x: Ragged, column: int) -> Tensor:
    """[T] the constituents of each jet by a variable, the largest first; those that have the same keep their order."""
    by_value = torch.argsort(x.values[:, column], descending=True, stable=True)
    return by_value.index_select(0, torch.argsort(x.jet_T.index_select(0, by_value), stable=True))


def with_constituents(batch: JetBatch, name: str, values: Tensor, step: Step) -> JetBatch:
    """The jets of a step without labels, with other constituents of one input, all of the others.

    Args:
        batch: The jets.
        name: The input whose constituents are replaced.
        values: What `step.rows` counts.
        step: The jets to take, and their constituents.
    """
    device = batch.jets.device
    others = {key: jets_of(x, step.jets) for key, x in batch.constituents.items() if key != name}
    rows = ragged(values.index_select(0, to_device(step.rows, device)), step.counts)
    constituents = {key: rows if key == name else others[key] for key in batch.constituents}
    jets = batch.jets.index_select(0, to_device(step.jets, device))
    return JetBatch(jets, constituents, {}, batch.rows[step.jets], {})


def jets_of(x: Ragged, jets: Tensor) -> Ragged:
    """Some of the jets of another one, by their numbers on the host."""
    counts = x.host_counts[jets]
    of_row, place = _places(counts)
    rows = x.host_offsets[jets][of_row] + place
    return ragged(x.values.index_select(0, to_device(rows, x.values.device)), counts)


def ragged(values: Tensor, counts: Tensor) -> Ragged:
    """Rows on any device, with counts on the host."""
    found = Ragged.from_counts(values, counts)
    return replace(found, offsets=to_device(found.host_offsets, values.device))


def number_of(steps: Sequence[Step]) -> int:
    """How many predictions there are in all steps."""
    return sum(len(step.jets) for step in steps)


def _places(counts: Tensor) -> tuple[Tensor, Tensor]:
    """The jet of each row, and its place there."""
    of_row = torch.repeat_interleave(torch.arange(len(counts)), counts)
    return of_row, torch.arange(len(of_row)) - (counts.cumsum(0) - counts)[of_row]
