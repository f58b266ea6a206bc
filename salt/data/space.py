"""Whether there is room before anything large is written."""

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from salt.errors import DataError

MEMORY = ("tmpfs", "ramfs")
"""File systems that are memory."""

UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM)
"""What the system says where there is no more room."""


class StorageError(DataError):
    """Fast storage cannot be used, or not now; the files themselves are fine."""


def check_space(folder: Path, needed: int, what: str) -> int:
    """Makes sure that `what` fits.

    In a folder that is memory, the memory that is left to this job counts too: its scheduler ends a job that takes
    more, whatever the folder would hold.

    Returns:
        The bytes that are free.

    Raises:
        StorageError: It needs more bytes than are free in the folder; the message has both numbers.
    """
    free = shutil.disk_usage(folder).free
    where = f"{folder} has {in_words(free)} free"
    if file_system(folder) in MEMORY:
        left = memory_left()
        if left is not None and left < free:
            free, where = left, f"{folder} is memory, of which {in_words(left)} are left to this job"
    if needed > free:
        raise StorageError(f"data.move_files_temp: {where}, but {what} need {in_words(needed)}")
    return free


def in_words(size: float) -> str:
    """A number of bytes, such as ``1.23 GB``."""
    power = 0
    while size >= 999.5 and power < len(UNITS) - 1:
        size, power = size / 1000, power + 1
    return f"{size:.3g} {UNITS[power]}"


def file_system(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The kind of the file system of a folder, such as ``tmpfs``; empty where the system does not tell."""
    try:
        lines = [line.split() for line in mounts.read_text().splitlines()]
    except OSError:
        return ""
    place = folder.resolve()
    within = [(len(Path(line[1]).parts), i) for i, line in enumerate(lines) if place.is_relative_to(line[1])]
    return lines[max(within)[1]][2] if within else ""


def memory_left(process: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The bytes of memory that this job may still take: of the machine, and of the control groups it runs in.

    Args:
        process: Where the system tells of memory and groups.
        groups: Where it tells of each group, of version 1 or 2.

    Returns:
        The least of them; None where the system does not tell.
    """
    return min(_memory_limits(process, groups), default=None)


def _memory_limits(process: Path, groups: Path) -> Iterator[int]:
    yield from (1024 * value for value in _numbers(process / "meminfo", "MemAvailable:"))
    try:
        lines = (process / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        kinds, place = line.split(":", 2)[1:]
        if kinds == "":
            top, names = groups, ("memory.max", "memory.current", "file", "shmem")
        elif "memory" in kinds.split(","):
            top, names = (
                groups / "memory",
                ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache", "total_shmem"),
            )
        else:
            continue
        group = top / place.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(top):
                yield from _left_in_group(folder, *names)


def _left_in_group(folder: Path, limit: str, usage: str, cache: str, shared: str) -> Iterator[int]:
    for most in _numbers(folder / limit):
        for used in _numbers(folder / usage):
            # What is only cached of files is given up when memory is asked for, but not what lies in /dev/shm.
            cached = sum(_numbers(folder / "memory.stat", cache)) - sum(_numbers(folder / "memory.stat", shared))
            yield max(0, most - used + max(0, cached))


def _numbers(path: Path, key: str | None = None) -> Iterator[int]:
    """The number in a file, or in its line that begins with `key`, if there is one."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return
    for words in lines:
        value = words[0] if key is None else words[1] if words[0] == key else ""
        if value.isdigit():
            yield int(value)
