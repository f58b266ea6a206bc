"""Jets of similar length side by side, for the few operations that need a rectangle.

Attention compares all constituents of a jet with each other, which is a matrix product on rectangles [b, L, ...] only.
A plan sorts the jets by length and cuts them into a few buckets, each padded to its own longest jet. It is made once
for a forward, on the host, and shared by all layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from salt.ragged import Ragged

MAX_BUCKETS = 8
"""More buckets pad less and start more kernels."""

BUCKET_COST = 64
"""How many padded slots are worth a bucket less."""


@dataclass(frozen=True, eq=False)
class Bucket:
    """b jets that are padded to L constituents each.

    Args:
        num_jets: b.
        length: L.
        mask: [b, L], True where there is a constituent; None where nothing is padded.
    """

    num_jets: int
    length: int
    mask: Tensor | None


@dataclass(frozen=True, eq=False)
class Plan:
    """How packed rows go into buckets and come back.

    Args:
        buckets: Without the jets that have no constituents.
        slots: [S] the row that each slot of the buckets shows, a padded one the first row of its jet; None where
            slots and rows are the same.
        inverse: [T] the slot in which each row lies; None with `slots`.
    """

    buckets: tuple[Bucket, ...]
    slots: Tensor | None = None
    inverse: Tensor | None = None

    def split(self, values: Tensor) -> list[Tensor]:
        """[T, ...] rows to a [b, L, ...] rectangle for each bucket."""
        if self.slots is not None:
            values = values.index_select(0, self.slots)
        if len(self.buckets) == 1:
            bucket = self.buckets[0]
            return [values.reshape(bucket.num_jets, bucket.length, *values.shape[1:])]
        parts = values.split([bucket.num_jets * bucket.length for bucket in self.buckets])
        return [p.unflatten(0, (b.num_jets, b.length)) for p, b in zip(parts, self.buckets, strict=True)]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """A [b, L, ...] rectangle for each bucket to [T, ...] rows; what padded slots hold is lost."""
        flat = [part.flatten(0, 1) for part in parts]
        values = flat[0] if len(flat) == 1 else torch.cat(flat)
        return values if self.inverse is None else values.index_select(0, self.inverse)


def make_plan(ragged: Ragged) -> Plan:
    """Cuts the jets of a batch into buckets, from their lengths on the host alone."""
    total = ragged.values.shape[0]
    if ragged.num_jets == 1:
        return Plan((Bucket(1, total, None),))
    if total == 0:
        return Plan((Bucket(0, 1, None),))
    counts, order = ragged.host_counts.sort(stable=True)
    starts = ragged.host_offsets[:-1].index_select(0, order)
    lengths, jets = counts.unique_consecutive(return_counts=True)
    if lengths[0] == 0:
        counts, starts, lengths, jets = counts[jets[0] :], starts[jets[0] :], lengths[1:], jets[1:]
    cuts = _cut(lengths, jets)
    shapes, slots, filled = [], [], []
    for begin, end in pairwise(cuts):
        length = int(counts[end - 1])
        place = torch.arange(length)
        is_filled = place < counts[begin:end, None]
        slots.append((starts[begin:end, None] + torch.where(is_filled, place, 0)).flatten())
        filled.append(is_filled.flatten())
        shapes.append((end - begin, length, int(counts[begin]) < length))
    slot_S, filled_S = torch.cat(slots), torch.cat(filled)
    inverse = torch.empty(total, dtype=torch.int64)
    full = filled_S.nonzero().flatten()
    inverse[slot_S[full]] = full
    device = ragged.offsets.device
    filled_S = _to_device(filled_S, device)
    masks = filled_S.split([jets * length for jets, length, _ in shapes])
    buckets = tuple(
        Bucket(jets, length, mask.view(jets, length) if padded else None)
        for (jets, length, padded), mask in zip(shapes, masks, strict=True)
    )
    return Plan(buckets, _to_device(slot_S, device), _to_device(inverse, device))


def _cut(lengths: Tensor, jets: Tensor) -> list[int]:
    """Where to cut sorted jets so that buckets and padding cost least: [U] lengths and how many jets have each.

    Dynamic programming over the distinct lengths: a bucket from length i up to length j costs its slots.
    """
    after = torch.cat([torch.zeros(1, dtype=torch.int64), jets.cumsum(0)])
    cost = (after[None, :] - after[:, None]) * torch.cat([lengths[:1], lengths])[None, :] + BUCKET_COST
    never = torch.iinfo(torch.int64).max // 4
    step = torch.arange(len(after))
    cost = torch.where(step[:, None] < step[None, :], cost, never).fill_diagonal_(0)
    best, origins = cost[0], []
    for _ in range(min(MAX_BUCKETS, len(lengths)) - 1):
        best, origin = (best[:, None] + cost).min(0)
        origins.append(origin)
    at = len(lengths)
    cuts = [at]
    for origin in reversed(origins):
        at = int(origin[at])
        cuts.append(at)
    return [int(after[at]) for at in sorted({0, *cuts})]


def _to_device(x: Tensor, device: torch.device) -> Tensor:
    """A copy to the device for which the host does not wait."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)
