"""Wanted entries out of the compressed chunks of a compound dataset, with no padding ever put together."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import h5py
import numpy as np

from salt.data.entries import Entries, real_entries
from salt.data.filters import Pipeline, UndecodableError
from salt.data.reader import VALID, Array


@dataclass(frozen=True, eq=False)
class ChunkTable:
    """Some fields of a compound dataset whose chunks are whole rows, read chunk by chunk.

    Shuffled chunks hold the first bytes of all entries, then the second bytes, and so on. Of these planes only the
    wanted ones are touched, and of them only the bytes of wanted entries, so a chunk is never unshuffled as a whole.

    Args:
        dataset: The open dataset, as h5py's low-level object.
        pipeline: Its filters.
        rows: Rows of a chunk.
        width: Length of the padded axis; None for a dataset of jets.
        wanted: The fields and where they are.
    """

    dataset: Any
    pipeline: Pipeline
    rows: int
    width: int | None
    wanted: "Wanted"

    @classmethod
    def of(cls, item: Any, fields: Sequence[str]) -> "ChunkTable | None":
        """The table of an open ``h5py.Dataset``, or None where only HDF5 itself can read it."""
        plist = item.id.get_create_plist()
        pipeline = Pipeline.of(tuple(plist.get_filter(i)[0] for i in range(plist.get_nfilters())))
        wanted = _wanted(item.id.get_type().encode(), tuple(fields))
        if pipeline is None or wanted is None or item.chunks is None or item.chunks[1:] != item.shape[1:]:
            return None
        return cls(item.id, pipeline, item.chunks[0], item.shape[1] if item.ndim == 2 else None, wanted)

    def pick(self, rows: Array) -> Entries:
        """The real entries of some rows.

        Args:
            rows: [B], ascending.

        Raises:
            UndecodableError: Only HDF5 itself can read them, or say what is wrong.
        """
        scratch = np.empty(self.rows * (self.width or 1) * self.wanted.record.itemsize, dtype=np.uint8)
        chunks = rows // self.rows
        cuts = [0, *(np.flatnonzero(np.diff(chunks)) + 1).tolist(), len(rows)]
        pieces = []
        for first, last in pairwise(cuts):
            chunk = int(chunks[first])
            data, shuffled = self._chunk(chunk * self.rows, scratch)
            pieces.append(self._pick(data, shuffled, rows[first:last] - chunk * self.rows, first))
        if len(pieces) == 1:
            records, jet, slot = pieces[0]
        else:
            records, jet, slot = (np.concatenate(column) for column in zip(*pieces, strict=True))
        return Entries(records.view(self.wanted.picked).reshape(-1), jet, slot)

    def _chunk(self, row: int, scratch: Array) -> tuple[Array, bool]:
        try:
            skipped, stored = self.dataset.read_direct_chunk((row,) if self.width is None else (row, 0))
        except (
            OSError,
            RuntimeError,
            ValueError,
            MemoryError,
        ) as error:  # One that was never written has any size.
            raise UndecodableError(str(error)) from error
        return self.pipeline.undo(stored, skipped, scratch)

    def _pick(self, data: Array, shuffled: bool, rows: Array, first: int) -> tuple[Array, Array, Array]:
        """Bytes [T, bytes of the picked record] of the wanted entries, their jets from `first` on, and their slots."""
        size = self.wanted.record.itemsize
        planes = data.reshape(size, -1) if shuffled else data.reshape(-1, size).T
        if self.width is None:
            places, jet, slot = rows, np.arange(first, first + len(rows)), np.zeros(len(rows), dtype=np.int64)
        else:
            kind, offset = self.wanted.record.fields[VALID][:2]  # type: ignore[index]
            flags = np.ascontiguousarray(planes[offset : offset + kind.itemsize].T).view(kind).reshape(-1, self.width)
            jet, slot = real_entries(flags, rows)
            places = rows[jet] * self.width + slot
            jet += first
        if not shuffled:
            whole = data.reshape(-1, size).take(places, axis=0)
            return np.concatenate([whole[:, source] for source, _ in self.wanted.spans], axis=1), jet, slot
        found = np.empty((self.wanted.picked.itemsize, len(places)), dtype=np.uint8)
        for source, target in self.wanted.spans:
            planes[source].take(places, axis=1, out=found[target], mode="clip")
        return np.ascontiguousarray(found.T), jet, slot


@dataclass(frozen=True)
class Wanted:
    """Some fields of a record.

    Args:
        record: Type of a whole record.
        picked: Type of the records that are picked: the wanted fields back to back.
        spans: Where the bytes of the wanted fields lie in a record, and where they go.
    """

    record: np.dtype[Any]
    picked: np.dtype[Any]
    spans: tuple[tuple[slice, slice], ...]


@lru_cache(maxsize=64)
def _wanted(encoded: bytes, fields: tuple[str, ...]) -> Wanted | None:
    """The fields of HDF5's encoded type, or None if their bytes are not those of their types in memory."""
    stored = h5py.h5t.decode(encoded)
    record = stored.dtype
    if record.names is None or stored.get_size() != record.itemsize:
        return None
    members = [stored.get_member_name(i).decode() for i in range(stored.get_nmembers())]
    spans: list[tuple[slice, slice]] = []
    end = 0
    for field in fields:
        kind, offset = record.fields[field][:2]
        index = members.index(field)
        member = stored.get_member_type(index)
        base = member.get_super() if isinstance(member, h5py.h5t.TypeEnumID) else member
        expected = h5py.h5t.py_create(np.dtype(np.int8) if kind == np.bool_ else kind)
        if stored.get_member_offset(index) != offset or not expected.equal(base):
            return None
        if spans and spans[-1][0].stop == offset:
            source, target = spans.pop()
            spans.append((slice(source.start, offset + kind.itemsize), slice(target.start, end + kind.itemsize)))
        else:
            spans.append((slice(offset, offset + kind.itemsize), slice(end, end + kind.itemsize)))
        end += kind.itemsize
    return Wanted(record, np.dtype([(field, record[field]) for field in fields]), tuple(spans))
