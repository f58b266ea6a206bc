"""What lies on fast storage: its names, what is known of it, and the removal of what nobody uses."""

import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from salt.data.lease import Lease
from salt.data.remote import Place
from salt.data.space import StorageError
from salt.errors import ConfigError

CONTENTS = "contents.json"


@dataclass(frozen=True)
class Contents:
    """What a staged folder tells of itself.

    Args:
        stage: ``copy`` or ``packed``.
        files: The files that it was made from.
        made: When, as text.
        sizes: Bytes of each file in it.
    """

    stage: str
    files: tuple[str, ...]
    made: str
    sizes: dict[str, int]


@dataclass(frozen=True)
class Staged:
    """One staged folder as it is found.

    Args:
        path: The folder; if it is not complete, its name once it is.
        contents: What it tells of itself; None if it is not complete.
        size: Bytes that it takes.
        held: Whether a process builds, uses or removes it.
        users: The processes that do, as far as the system tells.
    """

    path: Path
    contents: Contents | None
    size: int
    held: bool
    users: tuple[int, ...]


def storage_folder(option: str) -> Path:
    """The folder that an option names; ``~`` and variables such as ``$TMPDIR`` are replaced.

    Raises:
        ConfigError: A variable is not set.
    """
    text = os.path.expandvars(option)
    if "$" in text:
        raise ConfigError(f"data.move_files_temp is {option}, but not all of its variables are set here")
    return Path(text).expanduser()


def staged_name(key: str) -> str:
    """The name of the folder of the present user for what has this key of 16 hexadecimal digits."""
    return f"salt_{os.geteuid()}_{key}"


def write_contents(folder: Path, stage: str, files: Sequence[Place]) -> None:
    """Writes into a folder, which is complete otherwise, what it is."""
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    made = time.strftime("%Y-%m-%d %H:%M:%S")
    contents = Contents(stage, tuple(str(path.resolve()) for path in files), made, sizes)
    (folder / CONTENTS).write_text(json.dumps(asdict(contents), indent=1))


def check_contents(folder: Path) -> None:
    """Makes sure that nobody has taken anything away from a folder that others use already.

    Raises:
        StorageError: A file is missing, or of another size than it was.
    """
    contents = _read_contents(folder)
    wrong = [CONTENTS] if contents is None else [n for n, size in contents.sizes.items() if _size(folder / n) != size]
    if wrong:
        raise StorageError(
            f"data.move_files_temp: {folder / wrong[0]} is not as it was written, and a training uses it\n"
            "keep cleaners of temporary files away, wait for that training to end, or name another folder"
        )


def find_staged(folder: Path) -> list[Staged]:
    """All that lies staged in a folder and belongs to the present user."""
    return [found for lease in _leases(folder) for found in _look(lease)]


def clean_staged(folder: Path) -> list[Staged]:
    """Removes what no process uses; returns what that was."""
    return [found for lease in _leases(folder) for found in _look(lease) if not found.held and lease.discard_leftover()]


def discard_leftovers(folder: Path) -> None:
    """Removes what no process uses."""
    for lease in _leases(folder):
        lease.discard_leftover()


def _leases(folder: Path) -> list[Lease]:
    pattern = re.compile(rf"(salt_{os.geteuid()}_[0-9a-f]{{16}})(\.part|\.lock)?")
    found = {match[1] for match in (pattern.fullmatch(path.name) for path in folder.iterdir()) if match}
    return [Lease(folder, name) for name in sorted(found)]


def _look(lease: Lease) -> Iterator[Staged]:
    """What a lease is about, unless it vanishes meanwhile."""
    users, held = tuple(lease.users()), lease.is_held()
    contents, sizes = _read_contents(lease.path), [_bytes(path) for path in (lease.path, lease.unfinished)]
    if held or lease.path.exists() or lease.unfinished.exists():
        yield Staged(lease.path, contents, sum(sizes), held, users)


def _read_contents(folder: Path) -> Contents | None:
    try:
        found = json.loads((folder / CONTENTS).read_text())
        return Contents(found["stage"], tuple(found["files"]), found["made"], found["sizes"])
    except (OSError, ValueError, KeyError):
        return None


def _bytes(folder: Path) -> int:
    """What the files of a folder take, as far as they do not vanish meanwhile."""
    try:
        paths = list(os.scandir(folder))
    except OSError:
        return 0
    return sum(_taken(path) for path in paths)


def _taken(path: os.DirEntry[str]) -> int:
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
