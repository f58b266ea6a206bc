"""Copies of whole files, several pieces at once."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from salt.data.progress import progress
from salt.data.space import check_space

PIECE_BYTES = 32 * 2**20
COPIERS = 4


def copy_name(number: int, path: Path) -> str:
    """The name of the copy of the file with this number, which no two files share."""
    return f"{number}_{path.name}"


def copy_files(paths: Sequence[Path], folder: Path) -> None:
    """Copies files into an empty folder.

    Args:
        paths: The files.
        folder: Where to.

    Raises:
        DataError: There is too little space.
        OSError: A file cannot be read, or the folder not be written.
    """
    sizes = [path.stat().st_size for path in paths]
    check_space(folder.parent, sum(sizes), "the training and validation files")
    pieces = [
        (path, folder / copy_name(number, path), start, min(PIECE_BYTES, size - start))
        for number, (path, size) in enumerate(zip(paths, sizes, strict=True))
        for start in range(0, size, PIECE_BYTES)
    ]
    with ThreadPoolExecutor(COPIERS) as pool:
        futures = [pool.submit(_copy_piece, *piece) for piece in pieces]
        try:
            with progress("copying files", sum(sizes)) as advance:
                for future in futures:
                    advance(future.result())
        except BaseException:
            for future in futures:
                future.cancel()
            raise


def _copy_piece(source: Path, target: Path, start: int, length: int) -> int:
    reading = os.open(source, os.O_RDONLY)
    writing = os.open(target, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        done = 0
        while done < length:
            data = memoryview(os.pread(reading, length - done, start + done))
            if not data:
                raise OSError(f"{source} became shorter")
            while data:
                written = os.pwrite(writing, data, start + done)
                data, done = data[written:], done + written
    finally:
        os.close(reading)
        os.close(writing)
    return length
