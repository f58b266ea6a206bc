"""Packed jets in a folder: plain arrays that are mapped into memory, and batches that are gathered from them.

Beside ``header.json``, which holds the type and shape of each array, the folder has one file for each array:

    rows          [N] int64, the rows of the jets in their files; absent where they count up from 0
    0_values      [N, F] float32 of the input `jets`, the first of the inputs
    0_label0      [N] a label of it
    1_starts      [N] int64 of the first constituent input: where the constituents of each jet begin in the arrays below
    1_counts      [N] how many there are
    1_values      [T, F] float32
    1_slots       [T] their places on the padded axis of the file
    1_label0      [T] a label of it, one file for each further one

Integers are stored as small as they fit. The constituents of one jet lie back to back, those of different jets in
any order.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from salt.data.group import Group
from salt.data.reader import Array
from salt.inputs import JETS, Target

HEADER = "header.json"
ROWS = "rows"
INTEGERS = ("u1", "i1", "i2", "i4", "i8")
"""The types in which integers are stored, smallest first; PyTorch gathers no other ones."""


@dataclass(frozen=True)
class Column:
    """One array of a store.

    Args:
        name: Name of its file.
        dtype: NumPy's name of the type.
        shape: Of one entry: ``()`` or ``(F,)``.
        of_jets: Whether it has an entry for each jet; otherwise for each constituent.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] = ()
    of_jets: bool = True

    @property
    def entry_bytes(self) -> int:
        """Bytes of one entry."""
        return np.dtype(self.dtype).itemsize * int(np.prod(self.shape, dtype=np.int64))


def column_name(index: int, what: str) -> str:
    """The name of an array of the input with this number."""
    return f"{index}_{what}"


def smallest_integer(low: int, high: int) -> str:
    """The smallest type of a store that holds all integers from `low` to `high`."""
    return next(t for t in INTEGERS if np.iinfo(t).min <= low and high <= np.iinfo(t).max)


def write_header(folder: Path, arrays: Sequence[tuple[Column, int]]) -> None:
    """Writes what is needed to map arrays of these lengths."""
    header = {column.name: [column.dtype, [length, *column.shape]] for column, length in arrays}
    (folder / HEADER).write_text(json.dumps(header, indent=1))


class Store:
    """Gathers batches from packed jets; each process maps the files when it first reads.

    Args:
        folder: The folder.
        inputs: Names of the inputs, in the order in which they are stored.
        targets: The labels; those of one input in the order in which they are stored.
    """

    def __init__(self, folder: Path, inputs: Sequence[str], targets: Sequence[Target]) -> None:
        self.folder = folder
        self._inputs = tuple(inputs)
        self._labels = {
            target: column_name(i, f"label{j}")
            for i, name in enumerate(inputs)
            for j, target in enumerate(t for t in targets if t.input == name)
        }
        self._maps: Mapping[str, Tensor] | None = None

    def group(self, steps: Sequence[Array]) -> Group:
        """Reads batches at once.

        Args:
            steps: The positions of each batch; a batch may be empty.
        """
        if self._maps is None:
            self._maps = _map(self.folder)
        maps = self._maps
        sizes = tuple(len(step) for step in steps)
        positions = torch.from_numpy(np.concatenate(steps))
        entries = {JETS: positions}
        jets, values, offsets, slots = torch.empty(0), {}, {}, {}
        for i, name in enumerate(self._inputs):
            stored = maps[column_name(i, "values")]
            if name == JETS:
                jets = stored.index_select(0, positions)
                continue
            counts = maps[column_name(i, "counts")].index_select(0, positions).to(torch.int64)
            starts = maps[column_name(i, "starts")].index_select(0, positions)
            entries[name] = _spans(starts, counts)
            offsets[name] = _offsets(counts, sizes)
            values[name] = stored.index_select(0, entries[name])
            slots[name] = maps[column_name(i, "slots")].index_select(0, entries[name]).to(torch.int64)
        labels = {
            target: _widened(maps[n].index_select(0, entries[target.input])) for target, n in self._labels.items()
        }
        rows = maps[ROWS].index_select(0, positions) if ROWS in maps else positions
        return Group(sizes, jets, values, offsets, slots, labels, rows)

    def close(self) -> None:
        """Unmaps the files in this process; the next batch maps them again."""
        self._maps = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": None}


def _map(folder: Path) -> dict[str, Tensor]:
    arrays = json.loads((folder / HEADER).read_text())
    with warnings.catch_warnings():
        # Nothing writes to these tensors, and the mapping would not let it.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return {
            name: torch.from_numpy(
                np.memmap(folder / name, dtype, "r", shape=tuple(shape)) if np.prod(shape) else np.zeros(shape, dtype)
            )
            for name, (dtype, shape) in arrays.items()
        }


def _spans(starts: Tensor, counts: Tensor) -> Tensor:
    """The positions from each start on, as many as its count, back to back."""
    ends = torch.cumsum(counts, 0)
    spans = np.repeat((starts - (ends - counts)).numpy(), counts.numpy())  # PyTorch's own takes longer.
    spans += np.arange(len(spans))
    return torch.from_numpy(spans)


def _offsets(counts: Tensor, sizes: Sequence[int]) -> Tensor:
    offsets = torch.zeros(len(counts) + len(sizes), dtype=torch.int64)
    first = 0
    for i, size in enumerate(sizes):
        torch.cumsum(counts[first : first + size], 0, out=offsets[first + i + 1 : first + i + 1 + size])
        first += size
    return offsets


def _widened(labels: Tensor) -> Tensor:
    return labels if labels.is_floating_point() else labels.to(torch.int64)
