"""Files that are complete or absent."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_unfinished: set[Path] = set()
"""What this process is writing."""

last_acts: list[Callable[[], object]] = []
"""What else is done by a process that ends at once; see `discard_unfinished`."""


def hidden_name(path: Path) -> Path:
    """Where a file is written before it gets its name: beside it, so that renaming does not copy."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def hidden_files(folder: Path, pattern: str) -> list[Path]:
    """The files of any process that have, or had, such a hidden name.

    Args:
        folder: Where the files are.
        pattern: What their final names match, such as ``*.ckpt``.
    """
    return sorted(folder.glob(f".{pattern}.*.part"))


@contextmanager
def complete_or_absent(path: Path) -> Iterator[Path]:
    """Gives a hidden name beside `path` to write to, and renames it to `path` when the block ends well.

    On any error the hidden file is removed and a file that was at `path` before is untouched.
    """
    beside = hidden_name(path)
    _unfinished.add(beside)
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
        _unfinished.discard(beside)


def discard_unfinished() -> None:
    """Removes what is being written; for a process that ends at once, without leaving its blocks."""
    for path in tuple(_unfinished):
        with suppress(OSError):
            path.unlink(missing_ok=True)
    for act in tuple(last_acts):
        with suppress(OSError):
            act()


def write_text(path: Path, text: str) -> None:
    """Writes a whole text file, complete or absent."""
    with complete_or_absent(path) as beside:
        beside.write_text(text)
