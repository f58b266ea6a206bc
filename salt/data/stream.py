"""A remote file as HDF5 reads it, and where the rows of its datasets lie."""

import gc
import io
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from salt.data.places import Reading, fetch_joined
from salt.data.reader import Array
from salt.data.remote import RemoteFile, Span

BLOCK_BYTES = 2**16
READ_ROWS = 200
"""Rows of a dataset without chunks that are fetched together."""
MOST_BLOCKS = 256
"""Blocks that are kept of what HDF5 reads by itself: names, types, and where chunks lie."""


class RemoteStream(io.RawIOBase):
    """Bytes of a remote file, for ``h5py.File``.

    What was fetched by `ahead` is read from there; all else is fetched in blocks, the last of which are kept.

    Args:
        file: The file.
    """

    def __init__(self, file: RemoteFile) -> None:
        super().__init__()
        self._size = file.size
        self._reading = Reading(file)
        self._place = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._held = threading.local()

    def give_up(self) -> None:
        """Lets those that wait for bytes wait no longer."""
        self._reading.close()

    @contextmanager
    def ahead(self, spans: Sequence[Span]) -> Iterator[None]:
        """Fetches ranges at once, for what this thread reads inside of the block.

        Raises:
            DataError: They cannot be read.
        """
        self._held.pieces = fetch_joined(self._reading, spans)
        try:
            yield
        finally:
            self._held.pieces = []

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The place of the next byte."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Goes to a place."""
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer, but where the file ends."""
        target = memoryview(buffer).cast("B")
        start, stop = self._place, min(self._place + len(target), self._size)
        for first, data in getattr(self._held, "pieces", ()):
            if first <= start and stop <= first + len(data):
                target[: stop - start] = memoryview(data)[start - first : stop - first]
                break
        else:
            for number in range(start // BLOCK_BYTES, -(-stop // BLOCK_BYTES)):
                block, begin = self._block(number), number * BLOCK_BYTES
                low, high = max(start, begin), min(stop, begin + len(block))
                target[low - start : high - start] = memoryview(block)[low - begin : high - begin]
        self._place = stop
        return max(0, stop - start)

    def close(self) -> None:
        """Lets go of what is kept, and of those that wait for bytes."""
        self.give_up()
        self._blocks.clear()
        super().close()

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            start = number * BLOCK_BYTES
            with _no_collection():
                (block,) = self._reading.fetch([(start, min(start + BLOCK_BYTES, self._size))])
            self._blocks[number] = block
            while len(self._blocks) > MOST_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return self._blocks[number]


@contextmanager
def _no_collection() -> Iterator[None]:
    """Holds back the collection of garbage.

    While HDF5 waits for bytes it holds a lock that h5py's objects take when they are collected. If that happened in
    the thread that fetches the bytes, both would wait for ever.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@dataclass(frozen=True, eq=False)
class RowSpans:
    """Where the rows of a dataset lie in its file.

    Args:
        rows: Rows that are stored together.
        first: [C] the number of such a set of rows, ascending.
        start: [C] where its bytes begin.
        size: [C] how many they are.
    """

    rows: int
    first: Array
    start: Array
    size: Array

    @classmethod
    def of(cls, item: Any) -> "RowSpans":
        """Those of an open ``h5py.Dataset``; none where its data lie elsewhere or were never written."""
        if item.chunks is None:
            offset, size = item.id.get_offset(), item.id.get_storage_size()
            together = READ_ROWS * (size // max(1, item.shape[0]))
            start = np.arange(0, size, together) if offset is not None and together else np.empty(0, np.int64)
            return cls(READ_ROWS, np.arange(len(start)), (offset or 0) + start, (size - start).clip(max=together))
        found: list[tuple[int, int, int]] = []
        item.id.chunk_iter(lambda info: found.append((info.chunk_offset[0], info.byte_offset, info.size)))
        table = np.array(sorted(found), dtype=np.int64).reshape(-1, 3)
        return cls(item.chunks[0], table[:, 0] // item.chunks[0], table[:, 1], table[:, 2])

    def between(self, rows: Array) -> list[Span]:
        """The ranges in which some rows lie.

        Args:
            rows: [B], ascending.
        """
        wanted = np.unique(rows // self.rows)
        low, high = np.searchsorted(self.first, wanted), np.searchsorted(self.first, wanted, "right")
        return [
            (int(self.start[i]), int(self.start[i] + self.size[i]))
            for a, b in zip(low, high, strict=True)
            for i in range(a, b)
        ]
