"""Sorted lists of values, in memory or in a file without a name, and a way through all of them at once."""

import logging
import os
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

Array: TypeAlias = NDArray[Any]

PIECE = 2**18
"""About so many values of all lists are in memory at once."""

LEAST = 2**10
"""Values that are read of a list at once, if there are that many lists."""


@dataclass(frozen=True, eq=False)
class Counted:
    """Different values and how many entries have them, in memory.

    Args:
        value: [N], ascending; those that are NaN come last and need not be different.
        weight: [N, W] entries of each kind.
    """

    value: Array
    weight: Array

    @classmethod
    def joined(cls, parts: Sequence["Counted"]) -> "Counted":
        """The values of all parts."""
        value = np.concatenate([part.value for part in parts])
        weight = np.concatenate([part.weight for part in parts]).astype(np.float64)
        order = np.argsort(value)
        value, weight = value[order], weight[order]
        last = np.ones(len(value), dtype=bool)
        last[:-1] = value[1:] != value[:-1]
        return cls(value[last], np.diff(weight.cumsum(0)[last], axis=0, prepend=0))

    def __len__(self) -> int:
        return len(self.value)

    @property
    def totals(self) -> Array:
        """[W] entries of each kind."""
        found: Array = self.weight.sum(0, dtype=np.float64)
        return found

    def read(self, start: int, stop: int) -> "Counted":
        """The values from `start` up to, but without, `stop`."""
        return Counted(self.value[start:stop], self.weight[start:stop])


@dataclass(frozen=True, eq=False)
class Stored:
    """The same in a file.

    Args:
        scratch: The file.
        offset: Where the list begins there, in bytes.
        size: N.
        dtype: Of an entry of the list, with the fields ``value`` and ``weight``.
        totals: [W] entries of each kind.
    """

    scratch: "Scratch"
    offset: int
    size: int
    dtype: np.dtype[Any]
    totals: Array

    def __len__(self) -> int:
        return self.size

    def read(self, start: int, stop: int) -> Counted:
        """The values from `start` up to, but without, `stop`."""
        width = self.dtype.itemsize
        content = self.scratch.read(self.offset + start * width, (min(stop, self.size) - start) * width)
        records = np.frombuffer(content, self.dtype)
        return Counted(records["value"], records["weight"])


AnyList: TypeAlias = Counted | Stored


class Scratch:
    """A file without a name, of which nothing is left when its lists are forgotten or the process is killed.

    Args:
        folder: The file system on which it is made, with the first list.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: Any = None
        self._end = 0
        self._full = False

    def keep(self, values: Counted) -> AnyList:
        """Puts a list into the file; where that cannot be written, the list stays in memory."""
        dtype = np.dtype([("value", values.value.dtype), ("weight", np.uint32, values.weight.shape[1:])])
        records = np.empty(len(values), dtype)
        records["value"], records["weight"] = values.value, values.weight
        if self._full:
            return values
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115
                weakref.finalize(self, self._file.close)
            self._write(records.tobytes())
        except OSError as error:
            self._full = True
            if self._file is not None:
                self._file.truncate(self._end)  # What the disk still has room for is needed by others.
            reason = error.strerror or error
            log.warning("scores of jets stay in memory, as they cannot be written into %s: %s", self._folder, reason)
            return values
        stored = Stored(self, self._end, len(values), dtype, values.totals)
        self._end += records.nbytes
        return stored

    def _write(self, content: bytes) -> None:
        done = 0
        while done < len(content):
            done += os.pwrite(self._file.fileno(), content[done:], self._end + done)

    def read(self, offset: int, size: int) -> bytes:
        """What was written there."""
        return os.pread(self._file.fileno(), size, offset)


def totals(lists: Sequence[AnyList]) -> Array:
    """[W] entries of each kind in some lists."""
    found: Array = np.sum([each.totals for each in lists], axis=0)
    return found


def sweep(lists: Sequence[AnyList], size: int = PIECE) -> Iterator[Counted]:
    """All values of some lists, ascending, in pieces of which none is empty.

    What is read of each list ends at another value; a piece goes up to the least of these, so that equal values of all
    lists are in one piece.

    Args:
        lists: The lists.
        size: About how many values are in memory at once.
    """
    share = max(size // max(len(lists), 1), LEAST)
    heads = [each.read(0, 0) for each in lists]
    done = [0] * len(lists)
    while True:
        for i, each in enumerate(lists):
            if len(heads[i]) <= share // 2 and done[i] < len(each):
                more = each.read(done[i], done[i] + share)
                done[i] += len(more)
                heads[i] = Counted(
                    np.concatenate([heads[i].value, more.value]), np.concatenate([heads[i].weight, more.weight])
                )
        ends = [head.value[-1] for head, each, n in zip(heads, lists, done, strict=True) if n < len(each)]
        limit = np.sort(ends)[0] if ends else np.nan
        cuts = [int(np.searchsorted(head.value, limit, side="right")) for head in heads]
        if not any(cuts):
            return
        yield Counted.joined([head.read(0, cut) for head, cut in zip(heads, cuts, strict=True)])
        heads = [head.read(cut, len(head)) for head, cut in zip(heads, cuts, strict=True)]
