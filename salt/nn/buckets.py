"""Jets side by side in a few rectangles, for the operations that need one.

Attention compares all constituents of a jet with each other, which is a matrix product on rectangles [b, L, ...] only.
A plan lays the jets into rows (several short ones may share a row), sorts the rows by length and cuts them into a few
buckets, each padded to its own longest row. It is made once for a forward, on the host, and shared by all layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from salt.graphs import outside_graphs
from salt.ragged import Ragged

MAX_BUCKETS = 8
"""More buckets pad less and start more kernels."""

BUCKET_COST = 64
"""How many padded slots are worth a bucket less."""


@dataclass(frozen=True, eq=False)
class Bucket:
    """b rows of one or more jets each, padded to L slots.

    Args:
        num_rows: b.
        length: L.
        mask: [b, L, L] float32 to be added to scores: 0 where two slots of a row hold constituents of one jet, or both
            hold none (so that each slot goes with some slot), or the second is the sink of the row; minus infinity
            elsewhere. None where each row is one jet and nothing is padded.
    """

    num_rows: int
    length: int
    mask: Tensor | None


@dataclass(frozen=True, eq=False)
class Plan:
    """How packed values go into buckets and come back.

    Args:
        buckets: Without the jets that have no constituents.
        slots: [S] the constituent that each slot of the buckets shows, a padded one any; None where slots and
            constituents are the same.
        inverse: [T] the slot in which each constituent lies; None with `slots`.
    """

    buckets: tuple[Bucket, ...]
    slots: Tensor | None = None
    inverse: Tensor | None = None

    def split(self, values: Tensor) -> list[Tensor]:
        """[T, ...] values to a [b, L, ...] rectangle for each bucket."""
        if self.slots is not None:
            values = values.index_select(0, self.slots)
        if len(self.buckets) == 1:
            bucket = self.buckets[0]
            return [values.reshape(bucket.num_rows, bucket.length, *values.shape[1:])]
        parts = values.split([bucket.num_rows * bucket.length for bucket in self.buckets])
        return [p.unflatten(0, (b.num_rows, b.length)) for p, b in zip(parts, self.buckets, strict=True)]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """A [b, L, ...] rectangle for each bucket to [T, ...] values; what padded slots hold is lost."""
        flat = [part.flatten(0, 1) for part in parts]
        values = flat[0] if len(flat) == 1 else torch.cat(flat)
        return values if self.inverse is None else values.index_select(0, self.inverse)


@outside_graphs
def make_plan(ragged: Ragged, unit: int = 1, multiple: int = 1, sink: bool = False) -> Plan:
    """Cuts the jets of a batch into buckets, from their lengths on the host alone.

    Args:
        ragged: The jets.
        unit: The length of a row is a multiple of it; jets share rows as long as there is room. With 1 each row is
            one jet.
        multiple: The number of rows in a bucket is a multiple of it or, below it, a power of two.
        sink: Leave the first slot of each row free, to be seen from all of its constituents.
    """
    reserved = int(sink)
    total = ragged.values.shape[0]
    if ragged.num_jets == 1 and not sink:
        return Plan((Bucket(1, total, None),))
    if total == 0:
        return Plan((Bucket(0, 1, None),))
    counts, jets = ragged.host_counts.sort(descending=True, stable=True)
    some = int((counts > 0).sum())
    counts, jets = counts[:some], jets[:some]
    row_of_jet, start_in_row, lengths = _fill(counts, unit, reserved)
    lengths, order = lengths.sort(stable=True)

    shapes, starts = [], []
    size = 0
    for begin, end in pairwise(_cut(*lengths.unique_consecutive(return_counts=True))):
        length = int(lengths[end - 1])
        rows = _rounded(end - begin, multiple)
        shapes.append((rows, length))
        starts.append(size + torch.arange(end - begin) * length)
        size += rows * length
    start_of_row = torch.empty_like(order).scatter_(0, order, torch.cat(starts))

    start_of_jet = start_of_row.index_select(0, row_of_jet) + start_in_row
    place = torch.arange(total) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    constituent = ragged.host_offsets[jets].repeat_interleave(counts) + place
    slot = start_of_jet.repeat_interleave(counts) + place
    inverse = torch.empty(total, dtype=torch.int64).scatter_(0, constituent, slot)
    slots = torch.zeros(size, dtype=torch.int64).scatter_(0, slot, constituent)
    jet_S = torch.full((size,), -1).scatter_(0, slot, jets.repeat_interleave(counts))

    device = ragged.offsets.device
    on_device = to_device(jet_S, device)
    buckets = []
    at = 0
    for rows, length in shapes:
        here = slice(at, at + rows * length)
        host, jet_bL = jet_S[here].view(rows, length), on_device[here].view(rows, length)
        whole = host[:, reserved:]
        mask = None if bool((whole == whole[:, :1]).all()) else _only_within(jet_bL, reserved)
        buckets.append(Bucket(rows, length, mask))
        at = here.stop
    return Plan(tuple(buckets), to_device(slots, device), to_device(inverse, device))


def _rounded(rows: int, multiple: int) -> int:
    if rows >= multiple:
        return -(-rows // multiple) * multiple
    return 1 << (rows - 1).bit_length()


def _only_within(jet_bL: Tensor, reserved: int) -> Tensor:
    """[b, L, L] 0 for slots of the same jet and for the reserved ones, minus infinity for others."""
    apart = jet_bL[:, :, None] != jet_bL[:, None, :]
    apart[:, :, :reserved] = False
    return torch.zeros(apart.shape, device=jet_bL.device).masked_fill_(apart, -torch.inf)


def _fill(counts: Tensor, unit: int, reserved: int) -> tuple[Tensor, Tensor, Tensor]:
    """Lays jets into rows, the longest first, each into the fullest row that has room for it, else into a new one.

    Args:
        counts: [B] descending, at least 1.
        unit: New rows are as long as their first jet, rounded up to a multiple of this.
        reserved: Slots at the beginning of each row that stay free.

    Returns:
        [B] the row of each jet, [B] where in the row it begins, and the length of each row.
    """
    row, start = torch.empty_like(counts), torch.empty_like(counts)
    capacity = torch.empty_like(counts)
    rows = 0
    room: dict[int, Tensor] = {}  # rows, by the number of free slots at their end
    jet = 0
    for count, number in zip(*(x.tolist() for x in counts.unique_consecutive(return_counts=True)), strict=True):
        end = jet + number
        while jet < end:
            free = min((r for r in room if r >= count), default=0)
            if not free:
                free = -(-(count + reserved) // unit) * unit - reserved
                new = min(end - jet, -(-(end - jet) // (free // count)))
                room[free] = torch.arange(rows, rows + new)
                capacity[rows : rows + new] = free
                rows += new
            candidates = room.pop(free)
            taken, left = candidates[: end - jet], candidates[end - jet :]
            row[jet : jet + len(taken)] = taken
            start[jet : jet + len(taken)] = reserved + capacity[taken] - free
            jet += len(taken)
            for rest, some in ((free, left), (free - count, taken)):
                if rest and len(some):
                    room[rest] = torch.cat([room[rest], some]) if rest in room else some
    return row, start, reserved + capacity[:rows]


def _cut(lengths: Tensor, rows: Tensor) -> list[int]:
    """Where to cut sorted rows so that buckets and padding cost least: [U] lengths and how many rows have each.

    Dynamic programming over the distinct lengths: a bucket from length i up to length j costs its slots.
    """
    after = torch.cat([torch.zeros(1, dtype=torch.int64), rows.cumsum(0)])
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


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """A copy to the device for which the host does not wait."""
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)
