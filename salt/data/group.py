"""Several batches in few tensors, which is what travels from a worker to the trainer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from salt.batch import JetBatch
from salt.data.packing import Packed, Part, take
from salt.data.reader import Array
from salt.data.source import Source
from salt.inputs import JETS, Target
from salt.ragged import Ragged


@dataclass(frozen=True, eq=False)
class Group:
    """Consecutive batches, back to back.

    Args:
        sizes: B of each batch.
        jets: [sum B, F].
        values: For each constituent input [sum T, F].
        offsets: For each constituent input [sum (B + 1)], those of each batch from 0.
        slots: For each constituent input [sum T].
        labels: For each target [sum B] or [sum T].
        rows: [sum B].
    """

    sizes: tuple[int, ...]
    jets: Tensor
    values: Mapping[str, Tensor]
    offsets: Mapping[str, Tensor]
    slots: Mapping[str, Tensor]
    labels: Mapping[Target, Tensor]
    rows: Tensor

    def batches(self) -> Iterator[JetBatch]:
        """The batches, as views."""
        first = 0
        entries = dict.fromkeys(self.values, 0)
        for i, size in enumerate(self.sizes):
            spans = {JETS: slice(first, first + size)}
            constituents = {}
            for name, values in self.values.items():
                offsets = self.offsets[name][first + i : first + i + size + 1]
                spans[name] = slice(entries[name], entries[name] + int(offsets[-1]))
                entries[name] = spans[name].stop
                constituents[name] = Ragged(values[spans[name]], offsets, offsets)
            yield JetBatch(
                self.jets[spans[JETS]],
                constituents,
                {target: values[spans[target.input]] for target, values in self.labels.items()},
                self.rows[spans[JETS]],
                {name: slots[spans[name]] for name, slots in self.slots.items()},
            )
            first += size

    def pin_memory(self) -> "Group":
        """In page-locked memory; PyTorch's loader calls this."""
        return Group(
            self.sizes,
            self.jets.pin_memory(),
            {k: v.pin_memory() for k, v in self.values.items()},
            {k: v.pin_memory() for k, v in self.offsets.items()},
            self.slots,
            {k: v.pin_memory() for k, v in self.labels.items()},
            self.rows,
        )


def read_group(source: Source, steps: Sequence[Array], threads: int = 1) -> Group:
    """Reads batches at once, each part of a file once.

    Args:
        source: The jets.
        steps: The positions of each batch; a batch may be empty.
        threads: How many may read at the same time.

    Raises:
        DataError: A value is not finite or a label unknown.
    """
    sizes = tuple(len(step) for step in steps)
    positions = np.concatenate(steps)
    if np.any(positions[1:] < positions[:-1]):
        order = np.argsort(positions, kind="stable")
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return to_group(take(source.pack(positions[order], threads), back), sizes)
    return to_group(source.pack(positions, threads), sizes)


def to_group(packed: Packed, sizes: Sequence[int]) -> Group:
    """Cuts packed jets into batches of these sizes."""
    others = {name: part for name, part in packed.parts.items() if name != JETS}
    return Group(
        sizes=tuple(sizes),
        jets=torch.from_numpy(packed.parts[JETS].values),
        values={name: torch.from_numpy(part.values) for name, part in others.items()},
        offsets={name: torch.from_numpy(_offsets(part, sizes)) for name, part in others.items()},
        slots={name: torch.from_numpy(part.slots) for name, part in others.items()},
        labels={t: torch.from_numpy(v) for part in packed.parts.values() for t, v in part.labels.items()},
        rows=torch.from_numpy(packed.rows),
    )


def _offsets(part: Part, sizes: Sequence[int]) -> Array:
    offsets = np.zeros(sum(sizes) + len(sizes), dtype=np.int64)
    first = 0
    for i, size in enumerate(sizes):
        np.cumsum(part.counts[first : first + size], out=offsets[first + i + 1 : first + i + 1 + size])
        first += size
    return offsets
