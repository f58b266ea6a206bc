"""Reading of files wherever they are: here, or on other machines."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from salt.data.remote import ChangedError, Place, Ranges, RemoteFile, Span, UnreachableError, patiently, shown
from salt.data.served import ServedRanges, find_served, is_served
from salt.errors import DataError

JOINED_BYTES = 2**16
"""Ranges with a gap of no more between them are read as one."""
LONGEST_SPAN = 2**23
"""Longer ranges are read in parts, which may travel side by side."""


class Reading:
    """Reads a remote file in this process, waits where the network fails, and makes sure that it stays the same file.

    Args:
        file: The file.
    """

    def __init__(self, file: RemoteFile) -> None:
        self.file = file
        self._ranges: Ranges | None = None
        self._doubtful = True
        self._given_up = threading.Event()

    def fetch(self, spans: Sequence[Span]) -> list[bytes]:
        """The bytes of each range.

        Raises:
            DataError: They cannot be read, or the file is another one than at the start.
        """
        return patiently(self.file, lambda: self._fetch(spans), self._given_up)

    def close(self) -> None:
        """Lets those that wait for bytes wait no longer."""
        self._given_up.set()

    def _fetch(self, spans: Sequence[Span]) -> list[bytes]:
        try:
            if self._ranges is None:
                self._ranges = open_ranges(self.file)
            if self._doubtful:
                self.file.check(self._ranges.identity())
                self._doubtful = False
            return self._ranges.fetch(spans)
        except UnreachableError:
            self._doubtful = True
            raise
        except ChangedError as error:
            assert self._ranges is not None
            self.file.check(self._ranges.identity())
            raise DataError(f"{self.file} is another file than at the start: {error}; start again") from error


def find_remote(url: str, key: str) -> tuple[RemoteFile, ...]:
    """The files that a URL means.

    Args:
        url: Where they are.
        key: The option, for messages.

    Raises:
        ConfigError: The URL is of a kind that cannot be read.
        DataError: There is no such file, or it is out of reach.
    """
    try:
        if is_served(url):
            return find_served(url, key)
        from salt.data.urls import find_url

        return find_url(url, key)
    except UnreachableError as error:
        raise DataError(f"{key}: {shown(url)} is out of reach: {error}") from error


def open_ranges(file: RemoteFile) -> Ranges:
    """What reads a remote file in this process."""
    if is_served(file.url):
        return ServedRanges(file)
    from salt.data.urls import UrlRanges

    return UrlRanges(file.url, str(file), dict(file.identity))


def fetch_joined(reading: Reading, spans: Sequence[Span]) -> list[tuple[int, bytes]]:
    """The bytes of ranges, in any order and perhaps with those between them.

    Returns:
        Pieces, each with the place of its first byte; no range lies across two of them that is no longer than
        `LONGEST_SPAN`.
    """
    joined: list[Span] = []
    for start, stop in sorted(spans):
        if joined and start - joined[-1][1] <= JOINED_BYTES and stop - joined[-1][0] <= LONGEST_SPAN:
            joined[-1] = joined[-1][0], max(stop, joined[-1][1])
        else:
            joined.append((start, stop))
    return list(zip((start for start, _ in joined), reading.fetch(joined), strict=True)) if joined else []


def read_bytes(place: Place, start: int, stop: int) -> bytes:
    """Bytes of a file; fewer where it ends before `stop`.

    Raises:
        OSError: A file of this machine cannot be read.
        DataError: A remote file cannot be read.
    """
    if isinstance(place, RemoteFile):
        return Reading(place).fetch([(start, min(stop, place.size))])[0] if start < place.size else b""
    with place.open("rb") as file:
        file.seek(start)
        return file.read(stop - start)


def read_text(place: Place) -> str:
    """The text of a small file, in UTF-8."""
    if isinstance(place, RemoteFile):
        return read_bytes(place, 0, place.size).decode()
    return place.read_text(encoding="utf-8")


def size_of(place: Place) -> int:
    """Bytes of a file."""
    return place.size if isinstance(place, RemoteFile) else place.stat().st_size


def changes_of(place: Place) -> list[Any]:
    """What changes whenever a file does, also where its times are set back."""
    if isinstance(place, RemoteFile):
        return [list(pair) for pair in place.identity]
    found = place.stat()
    return [found.st_mtime_ns, found.st_ctime_ns]


def is_there(place: Place) -> bool:
    """Whether a file was there when it was found."""
    return isinstance(place, RemoteFile) or place.is_file()


def local(place: Place) -> Path | None:
    """The path of a file of this machine; None for another one."""
    return place if isinstance(place, Path) else None
