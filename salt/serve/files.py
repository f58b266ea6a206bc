"""The files that a server gives, and no others."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from salt.data.formats import open_reader
from salt.data.links import linked_files
from salt.data.paths import resolve
from salt.data.remote import RemoteFile, Span
from salt.data.served import HEADER_BYTES, header_hash, tag_of, types_of
from salt.errors import DataError


class WrittenError(Exception):
    """A file was written since the server began."""


class OpenFile:
    """A file that is served, open all the time.

    Args:
        path: The file.

    Attributes:
        identity: What tells it from others, by name.
        tag: The same in one word.

    Raises:
        DataError: It cannot be read as a file of jets, or does not hold all of its data.
    """

    def __init__(self, path: Path) -> None:
        if linked := linked_files(path):
            raise DataError(f"the data of {path} lie in {linked[0]}; serve the files that hold the data")
        self.path = path
        reader = open_reader(path, {})
        try:
            layouts = reader.layouts()
        finally:
            reader.close()
        self._file = path.open("rb", buffering=0)
        self._state = self._now()
        size, modified = self._state
        self.identity = {
            "size": str(size),
            "modified": str(modified),
            "header": header_hash(os.pread(self._file.fileno(), HEADER_BYTES, 0)),
            **types_of(layouts),
        }
        self.tag = tag_of(self.identity)

    def read(self, spans: Sequence[Span]) -> bytes:
        """The bytes of ranges, one after the other.

        Raises:
            WrittenError: The file was written since it was opened.
            OSError: It cannot be read.
        """
        found = b"".join(self._read(start, stop) for start, stop in spans)
        if self._now() != self._state:
            raise WrittenError(f"{self.path.name} was written since the server began; start the server anew")
        return found

    def close(self) -> None:
        """Closes it."""
        self._file.close()

    def _read(self, start: int, stop: int) -> bytes:
        pieces = []
        while start < stop and (data := os.pread(self._file.fileno(), stop - start, start)):
            pieces.append(data)
            start += len(data)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _now(self) -> tuple[int, int]:
        found = os.fstat(self._file.fileno())
        return found.st_size, found.st_mtime_ns


@contextmanager
def opened_files(options: Mapping[str, str]) -> Iterator[dict[str, list[OpenFile]]]:
    """Opens what is served, for as long as the block lasts.

    Args:
        options: For parts such as ``train`` a path, a wildcard, or a sample.

    Yields:
        The files of each part.

    Raises:
        SaltError: There is no such file, or it cannot be served.
    """
    with ExitStack() as stack:
        found: dict[str, list[OpenFile]] = {}
        for part, option in options.items():
            found[part] = []
            for place in resolve(option, f"--files.{part}"):
                if isinstance(place, RemoteFile):
                    raise DataError(f"--files.{part}: {place} is on another machine; read it from there")
                found[part].append(stack.enter_context(closing(OpenFile(place))))
        yield found
