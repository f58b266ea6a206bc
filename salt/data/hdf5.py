"""HDF5 files that open themselves where they are needed, and errors of the library in plain words."""

import atexit
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 (registers its filters)
import numpy as np

from salt.data.reader import Array
from salt.data.remote import Place, RemoteFile
from salt.data.stream import RemoteStream, RowSpans
from salt.errors import DataError

CACHE_BYTES = 16 * 2**20
MOST_OPEN = 200
"""Files that one process keeps open, each of which takes a descriptor and half a megabyte."""


class FileHandle:
    """One HDF5 file, opened on first use in each process and never carried from one process to another.

    Files are opened without locking, since locks do not work on many network file systems and nothing is written.
    Where very many are read, those that were not used for longest are closed, and open again by themselves.

    Args:
        path: The file.

    Attributes:
        kept: Whatever belongs to the open file; emptied when it is closed.
    """

    def __init__(self, path: Place) -> None:
        self.path = path
        self.kept: dict[Any, Any] = {}
        self._file: Any = None
        self._stream: RemoteStream | None = None
        self._process = 0
        self._users = 0
        self._lock = threading.RLock()

    def __call__(self) -> Any:
        """The open ``h5py.File``, to be used at once; `opened` is for what takes longer.

        Raises:
            DataError: The file cannot be opened.
        """
        with self._lock:
            if self._file is None or self._process != os.getpid():
                self.kept = {}
                with plain_errors(self.path, "is not a complete HDF5 file"):
                    self._file = self._open()
                self._process = os.getpid()
            file = self._file
            with _guard:
                _used[id(self)] = weakref.ref(self)
                _used.move_to_end(id(self))
                oldest = list(_used.items())[: max(0, len(_used) - MOST_OPEN)]
        for key, reference in oldest:
            handle = reference()
            if handle is None:
                with _guard:
                    _used.pop(key, None)
            elif handle is not self:
                handle._close_unused()
        return file

    @contextmanager
    def opened(self) -> Iterator[Any]:
        """The open file, which stays open meanwhile.

        Raises:
            DataError: The file cannot be opened.
        """
        with self._lock:
            self._users += 1
        try:
            yield self()
        finally:
            with self._lock:
                self._users -= 1

    @contextmanager
    def ahead(self, item: Any, rows: Array) -> Iterator[None]:
        """Fetches at once what is read inside of the block, where the file is on another machine.

        Args:
            item: A dataset of the open file.
            rows: [B], ascending.

        Raises:
            DataError: It cannot be read.
        """
        if self._stream is None:
            yield
            return
        key = (item.name, RowSpans)
        if key not in self.kept:
            self.kept[key] = RowSpans.of(item)
        with self._stream.ahead(self.kept[key].between(rows)):
            yield

    def close(self) -> None:
        """Closes the file in this process; the next call opens it again."""
        if self._stream is not None:
            self._stream.give_up()
        with self._lock:
            self._close()

    def _close_unused(self) -> None:
        if self._lock.acquire(blocking=False):
            try:
                if not self._users:
                    self._close()
            finally:
                self._lock.release()

    def _open(self) -> Any:
        if not isinstance(self.path, RemoteFile):
            return h5py.File(self.path, "r", locking=False, rdcc_nbytes=CACHE_BYTES)
        self._stream = RemoteStream(self.path)
        return h5py.File(self._stream, "r", rdcc_nbytes=CACHE_BYTES)

    def _close(self) -> None:
        if self._file is not None and self._process == os.getpid():
            self._file.close()
        if self._stream is not None:
            self._stream.close()
        self._file = self._stream = None
        self.kept = {}
        with _guard:
            _used.pop(id(self), None)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        FileHandle.__init__(self, **state)


_guard = threading.Lock()
_used: OrderedDict[int, weakref.ref[FileHandle]] = OrderedDict()
"""The open files of this process by `id`, the one that was used last at the end."""


@atexit.register
def _close_remote() -> None:
    """Closes what HDF5 would otherwise read through Python at the end, when that is gone."""
    for each in list(_used.values()):
        handle = each()
        if handle is not None and isinstance(handle.path, RemoteFile):
            handle.close()


@contextmanager
def plain_errors(path: Place, problem: str) -> Iterator[None]:
    """Turns an OSError of the HDF5 library into a DataError ``<path> <problem>: <reason>``."""
    try:
        yield
    except OSError as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path} {problem}: {reason}") from error


def record_type(item: Any) -> np.dtype[Any]:
    """The type of the records of an open dataset, without the time that h5py takes for each of many like files."""
    return _record_type(item.id.get_type().encode())


@lru_cache(maxsize=64)
def _record_type(encoded: bytes) -> np.dtype[Any]:
    found: np.dtype[Any] = h5py.h5t.decode(encoded).dtype
    return found


def text_list(value: Any) -> tuple[str, ...] | None:
    """An attribute as a list of names, or None if it is something else."""
    if value is None or isinstance(value, h5py.Empty | str | bytes) or np.ndim(value) != 1:
        return None
    items = list(value)
    if not items or not all(isinstance(i, str | bytes) for i in items):
        return None
    return tuple(i.decode() if isinstance(i, bytes) else str(i) for i in items)
