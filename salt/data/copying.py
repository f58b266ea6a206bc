"""Copies of whole files, several pieces at once, each read back and compared."""

import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from salt.data.places import read_bytes, size_of
from salt.data.progress import progress
from salt.data.remote import Place, RemoteFile
from salt.data.space import StorageError, file_system
from salt.errors import DataError

PIECE_BYTES = 32 * 2**20
READ_BYTES = 2**18
COPIERS = 4

RESERVING = ("btrfs", "ext4", "tmpfs", "xfs")
"""File systems that can set space aside at once; on others the system's library would write it full instead."""


def copy_name(number: int, path: Place) -> str:
    """The name of the copy of the file with this number, which no two files share."""
    return f"{number}_{path.name}"


def copy_files(paths: Sequence[Place], folder: Path) -> None:
    """Copies files into an empty folder.

    Space for all of them is set aside first, where the file system can do so. Each piece gets a checksum (CRC-32) when
    it is read from its file, which is read once, and is then read back from the storage itself, as far as the system
    lets go of what it has cached.

    Args:
        paths: The files.
        folder: Where to.

    Raises:
        DataError: A file cannot be read, or becomes shorter.
        StorageError: What is read back is not what was written.
        OSError: The folder cannot be written.
    """
    sizes = [size_of(path) for path in paths]
    targets = [folder / copy_name(number, path) for number, path in enumerate(paths)]
    reserving = file_system(folder) in RESERVING
    for target, size in zip(targets, sizes, strict=True):
        _reserve(target, size, reserving)
    pieces = [
        (path, target, start, min(PIECE_BYTES, size - start))
        for path, target, size in zip(paths, targets, sizes, strict=True)
        for start in range(0, size, PIECE_BYTES)
    ]
    with ThreadPoolExecutor(COPIERS, "copier") as pool:
        futures = [pool.submit(_copy_piece, *piece) for piece in pieces]
        try:
            with progress("copying files", sum(sizes)) as advance:
                for future in futures:
                    advance(future.result())
        except BaseException:
            for future in futures:
                future.cancel()
            raise


def _reserve(target: Path, size: int, reserving: bool) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        if reserving and size:
            os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)


def _copy_piece(source: Place, target: Path, start: int, length: int) -> int:
    writing = os.open(target, os.O_RDWR)
    try:
        checksum = _transfer(source, writing, start, length)
        os.fdatasync(writing)
        os.posix_fadvise(writing, start, length, os.POSIX_FADV_DONTNEED)
        if _checksum(writing, start, length) != checksum:
            raise StorageError(
                f"data.move_files_temp: {target.parent.parent} does not give back what was written to it "
                f"(bytes {start} to {start + length} of the copy of {source}); use another folder"
            )
    finally:
        os.close(writing)
    return length


def _transfer(source: Place, writing: int, start: int, length: int) -> int:
    """Copies a piece of a file; returns its checksum."""
    if isinstance(source, RemoteFile):
        data = read_bytes(source, start, start + length)
        _write(writing, data, start)
        return zlib.crc32(data)
    try:
        reading = os.open(source, os.O_RDONLY)
    except OSError as error:
        raise _unreadable(source, error) from error
    try:
        checksum, place, end = 0, start, start + length
        while place < end:
            try:
                data = os.pread(reading, min(READ_BYTES, end - place), place)
            except OSError as error:
                raise _unreadable(source, error) from error
            if not data:
                raise DataError(f"{source} became shorter while it was copied; start again when it is complete")
            checksum = zlib.crc32(data, checksum)
            _write(writing, data, place)
            place += len(data)
    finally:
        os.close(reading)
    return checksum


def _write(writing: int, data: bytes, place: int) -> None:
    left = memoryview(data)
    while left:
        written = os.pwrite(writing, left, place)
        left, place = left[written:], place + written


def _unreadable(source: Path, error: OSError) -> DataError:
    return DataError(f"{source} cannot be read: {error.strerror or error}")


def _checksum(reading: int, start: int, length: int) -> int:
    """Of a piece of an open file; of less, if the file ends before."""
    checksum, place, end = 0, start, start + length
    while place < end:
        data = os.pread(reading, min(READ_BYTES, end - place), place)
        if not data:
            break
        checksum, place = zlib.crc32(data, checksum), place + len(data)
    return checksum
