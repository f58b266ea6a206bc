"""Runs a command in a process group of its own, and says what time and memory it and its children took."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PERIOD = 0.1
"""Seconds between two looks at the memory."""

GRACE = 10.0
"""Seconds that a group has for its end before it is killed."""


@dataclass(frozen=True)
class Usage:
    """What a command took.

    Args:
        wall: Seconds from its start to its end.
        cpu: Seconds of CPU of the process and of the children that it waited for.
        peak: Largest memory in bytes of all of its processes together, pages that they share counted once; without
            a watch that of the largest process.
    """

    wall: float
    cpu: float
    peak: int


def run(
    command: Sequence[object], log: Path, environment: Mapping[str, str] | None = None, watch: bool = False
) -> Usage:
    """Runs a command to its end; its output goes to a file.

    Args:
        command: The command and its arguments.
        log: File for standard output and error.
        environment: Variables on top of those of this process.
        watch: Look at the memory of all processes all the time, which slows them down a little.

    Raises:
        RuntimeError: The command failed; the message has the end of its output.
    """
    words = [str(word) for word in command]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        begun = time.perf_counter()
        child = subprocess.Popen(
            words,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        with _ended(child), _watched(child.pid if watch else None) as peaks:
            _, status, used = os.wait4(child.pid, 0)
            wall = time.perf_counter() - begun
            child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise RuntimeError(f"{' '.join(words)}\nended with code {child.returncode}; the end of {log}:\n{tail}")
    # What the system remembers as the largest memory of a child includes that of this process, before the exec.
    largest = max(peaks, default=0) or used.ru_maxrss * 1024
    return Usage(wall, used.ru_utime + used.ru_stime, largest)


@contextmanager
def _ended(child: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Ends the whole group of a child on the way out, also when Ctrl-C or an error is the way."""
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(child.pid, number)
            except (ProcessLookupError, PermissionError):
                break
            deadline = time.monotonic() + GRACE
            while time.monotonic() < deadline and child.poll() is None:
                time.sleep(PERIOD)


@contextmanager
def _watched(session: int | None) -> Iterator[list[int]]:
    """Samples the memory of all processes of a session; the list grows by one sum in bytes for each look."""
    sums: list[int] = []
    if session is None:
        yield sums
        return
    done = threading.Event()

    def watch() -> None:
        while not done.wait(PERIOD):
            sums.append(memory_of(session))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield sums
    finally:
        done.set()
        thread.join()


def memory_of(session: int) -> int:
    """Bytes of memory of all processes of a session, shared pages once; 0 where the system does not tell."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The name of the process, in brackets, may hold anything; the session is the fourth word after it.
            if int((folder / "stat").read_text().rpartition(")")[2].split()[3]) != session:
                continue
            lines = (folder / "smaps_rollup").read_text().splitlines()
        except OSError:  # It has ended meanwhile.
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total
