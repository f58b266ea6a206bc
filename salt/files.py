"""Files that are complete or absent."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def hidden_name(path: Path) -> Path:
    """Where a file is written before it gets its name: beside it, so that renaming does not copy."""
    return path.with_name(f".{path.name}.{os.getpid()}.part")


@contextmanager
def complete_or_absent(path: Path) -> Iterator[Path]:
    """Gives a hidden name beside `path` to write to, and renames it to `path` when the block ends well.

    On any error the hidden file is removed and a file that was at `path` before is untouched.
    """
    beside = hidden_name(path)
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a whole text file, complete or absent."""
    with complete_or_absent(path) as beside:
        beside.write_text(text)
