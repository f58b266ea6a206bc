"""Files on other machines: what is known of them, and patience with the network between."""

import concurrent.futures.thread  # noqa: F401 (before this module: its threads are waited for when a process ends)
import logging
import re
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeAlias, TypeVar
from urllib.parse import unquote, urlsplit

from salt.errors import DataError

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE_SECONDS = 300.0
"""So long what was there before may be out of reach, which is less than other processes of a training wait."""
SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 5.0

Span: TypeAlias = tuple[int, int]
"""The first byte of a range, and the one after its last."""


def is_url(option: str) -> bool:
    """Whether an option means something that is reached by a URL, or by a socket: ``https://...``, ``unix:...``."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://|unix:", option) is not None


@dataclass(frozen=True)
class RemoteFile:
    """A file on another machine, as it was when it was found.

    It can be told in words, pickled and compared; `salt.data.places` reads it.

    Args:
        url: Where it is.
        identity: What tells it from others, by name: its size, and what changes whenever the file does.
    """

    url: str
    identity: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        """The URL without passwords and signatures."""
        return shown(self.url)

    @property
    def size(self) -> int:
        """Bytes of it."""
        return int(dict(self.identity)["size"])

    @property
    def name(self) -> str:
        """The last part of its path."""
        return place_in_url(self.url).name

    @property
    def stem(self) -> str:
        """Its name without the suffix."""
        return place_in_url(self.url).stem

    @property
    def suffix(self) -> str:
        """The suffix of its name."""
        return place_in_url(self.url).suffix

    def resolve(self) -> "RemoteFile":
        """Itself: there are no links to follow."""
        return self

    def check(self, found: dict[str, str]) -> None:
        """Compares what was found at first with what is found now.

        Raises:
            DataError: It is another file; the message names the first thing that differs.
        """
        before = dict(self.identity)
        for field in {**before, **found}:
            if before.get(field) != found.get(field):
                was, now = (values.get(field, "not told") for values in (before, found))
                raise DataError(
                    f"{self} is another file than at the start: its {field} was {was}, now it is {now}\n"
                    "put the file back, or start again with this one"
                )


Place: TypeAlias = Path | RemoteFile
"""Where a file is."""


def shown(url: str) -> str:
    """A URL without passwords and signatures."""
    if url.startswith("unix:"):
        return url
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="").geturl()


def place_in_url(url: str) -> PurePosixPath:
    """The path of a URL, below the name of its machine."""
    if url.startswith("unix:"):
        return PurePosixPath(url.removeprefix("unix:").replace("#", "/"))
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return PurePosixPath("/", host, unquote(parts.path).lstrip("/"), parts.fragment)


class UnreachableError(Exception):
    """Something that may be over soon: no connection, a time-out, a server that is busy or starts."""


class ChangedError(Exception):
    """What is read is not what was found at first."""


class Ranges(Protocol):
    """Reads one remote file in one process."""

    def identity(self) -> dict[str, str]:
        """What tells the file from others; see `RemoteFile`.

        Raises:
            UnreachableError: It cannot be told now.
            DataError: There is no such file.
        """
        ...

    def fetch(self, spans: Sequence[Span]) -> list[bytes]:
        """The bytes of each range, in one go where that is possible.

        Raises:
            UnreachableError: They cannot be had now.
            ChangedError: The file is not the one that was found.
            DataError: They cannot be had at all.
        """
        ...


def patiently(where: object, work: Callable[[], T], given_up: threading.Event) -> T:
    """Does work that needs the network, again and again until it succeeds.

    Args:
        where: What is read, for messages.
        work: What to do.
        given_up: Set when nobody waits for it any more.

    Raises:
        DataError: It did not succeed for `PATIENCE_SECONDS`, or nobody waits.
    """
    begun, pause = time.monotonic(), SHORTEST_PAUSE
    failed = 0
    while True:
        try:
            result = work()
        except UnreachableError as error:
            waited = time.monotonic() - begun
            if waited > PATIENCE_SECONDS:
                raise DataError(f"{where} cannot be read: {error}; it was tried for {waited:.0f} s") from error
            failed += 1
            if failed == 2:
                log.warning("%s cannot be read: %s; it is tried for %.0f s", where, error, PATIENCE_SECONDS)
            if _wait(given_up, pause):
                raise DataError(f"{where} cannot be read: {error}") from error
            pause = min(2 * pause, LONGEST_PAUSE)
        else:
            if failed > 1:
                log.warning("%s can be read again", where)
            return result


def _wait(given_up: threading.Event, seconds: float) -> bool:
    """Waits; returns whether that is of no use any more."""
    _waiting.add(given_up)
    if _ended.is_set():
        given_up.set()
    return given_up.wait(seconds)


def _end() -> None:
    """Lets threads that wait for the network go, for which the end of the process would wait."""
    _ended.set()
    for event in list(_waiting):
        event.set()


_waiting: weakref.WeakSet[threading.Event] = weakref.WeakSet()
_ended = threading.Event()
threading._register_atexit(_end)  # type: ignore[attr-defined]
