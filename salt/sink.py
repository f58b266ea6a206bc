"""A file for HDF5 to write to that may run out of disk without taking HDF5 down with it."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path


class Sink:
    """What h5py needs of a file object, over a plain file.

    HDF5 cannot close a file whose writes fail; it ends in a crash of the interpreter. So a write that fails is kept in
    memory, as are all later ones, which lets HDF5 finish in peace. The trouble is raised by `check`. While the file is
    open it is locked, by which those of killed processes are told from it.

    Args:
        path: The file; it is made anew.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        with suppress(OSError):  # Some file systems have no locks.
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._position = 0
        self._end = 0
        self._error: OSError | None = None
        self._late: list[tuple[int, bytes]] = []

    def check(self) -> None:
        """Raises what has gone wrong so far."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Brings everything to disk and raises what has gone wrong."""
        try:
            self.check()
            os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves to a position."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end}
        self._position = base[whence] + offset
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def write(self, data: memoryview) -> int:
        """Writes at the position; never fails."""
        content = bytes(data)
        if self._error is None:
            try:
                done = 0
                while done < len(content):
                    done += os.pwrite(self._descriptor, content[done:], self._position + done)
            except OSError as error:
                self._error = error
        if self._error is not None:
            self._late.append((self._position, content))
        self._position += len(content)
        self._end = max(self._end, self._position)
        return len(content)

    def readinto(self, buffer: memoryview) -> int:
        """Reads what was written, be it on disk or not."""
        start, size = self._position, len(buffer)
        found = bytearray(size)
        on_disk = os.pread(self._descriptor, size, start)
        found[: len(on_disk)] = on_disk
        for offset, content in self._late:
            first, last = max(start, offset), min(start + size, offset + len(content))
            if first < last:
                found[first - start : last - start] = content[first - offset : last - offset]
        buffer[:] = bytes(found)
        self._position += size
        return size

    def read(self, size: int) -> bytes:
        """Reads `size` bytes of what was written, be it on disk or not."""
        buffer = bytearray(size)
        self.readinto(memoryview(buffer))
        return bytes(buffer)

    def truncate(self, size: int) -> int:
        """Sets the length of the file; never fails."""
        if self._error is None:
            try:
                os.ftruncate(self._descriptor, size)
            except OSError as error:
                self._error = error
        self._end = size
        return size

    def flush(self) -> None:
        """Nothing waits to be written here."""
