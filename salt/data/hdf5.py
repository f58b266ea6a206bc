"""HDF5 files that open themselves where they are needed, and errors of the library in plain words."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 (registers its filters)
import numpy as np

from salt.errors import DataError

CACHE_BYTES = 16 * 2**20


class FileHandle:
    """One HDF5 file, opened on first use in each process and never carried from one process to another.

    Files are opened without locking, since locks do not work on many network file systems and nothing is written.

    Args:
        path: The file.

    Attributes:
        kept: Whatever belongs to the open file; emptied when it is closed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kept: dict[Any, Any] = {}
        self._file: Any = None
        self._process = 0
        self._lock = threading.Lock()

    def __call__(self) -> Any:
        """The open ``h5py.File``.

        Raises:
            DataError: The file cannot be opened.
        """
        with self._lock:
            if self._file is None or self._process != os.getpid():
                self.kept = {}
                with plain_errors(self.path, "is not a complete HDF5 file"):
                    self._file = h5py.File(self.path, "r", locking=False, rdcc_nbytes=CACHE_BYTES)
                self._process = os.getpid()
            return self._file

    def close(self) -> None:
        """Closes the file in this process; the next call opens it again."""
        if self._file is not None and self._process == os.getpid():
            self._file.close()
        self._file = None
        self.kept = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        FileHandle.__init__(self, **state)


@contextmanager
def plain_errors(path: Path, problem: str) -> Iterator[None]:
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
