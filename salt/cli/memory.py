"""What to say when memory runs out."""

import errno
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

FULL = re.compile(r"out of memory|can't allocate memory|cannot allocate memory|bad_alloc|_STATUS_ALLOC_FAILED", re.I)
"""How PyTorch and the libraries beneath it word it where the type of the error does not say it."""

KILLED = re.compile(r"DataLoader worker .*(killed by signal: (Killed|Bus error)|exited unexpectedly)")
"""What PyTorch says when the system has ended a worker; a full /dev/shm is a bus error."""

READ_LESS = "try fewer --data.num_workers, or a smaller --data.batch_size"


@dataclass(frozen=True)
class Step:
    """A step that is under way.

    Args:
        kind: ``training``, ``validation``, ``test`` or ``prediction``.
        jets: Jets in the batch of this device.
        constituents: For each input of constituents how many of them the batch has.
        batch_size: The option ``data.batch_size``.
        device: Where it runs, such as ``cuda:0``.
    """

    kind: str
    jets: int
    constituents: Mapping[str, int]
    batch_size: int
    device: str


def memory_advice(error: BaseException, step: Step | None) -> str | None:
    """Names the step that did not fit into memory and what to try.

    Args:
        error: What ended the command.
        step: The step that was under way, if one was.

    Returns:
        Two lines; None if the error is about something else.
    """
    if any(isinstance(e, RuntimeError) and KILLED.search(str(e)) for e in chain(error)):
        return f"a process that reads was killed, as happens when memory runs out\n{READ_LESS}"
    if not any(_is_full(e) for e in chain(error)):
        return None
    if step is None:
        return f"out of memory outside of the steps, such as while files were read or written\n{READ_LESS}"
    having = ", ".join(f"{count} {name}" for name, count in step.constituents.items())
    size = f"{step.jets} jets" + (f" with {having}" if having else "")
    tries = []
    smaller = min(step.batch_size, step.jets) // 2
    if smaller:
        tries.append(f"--data.batch_size {smaller}")
    total = sum(step.constituents.values())
    if step.kind == "training" and total > 1:
        tries.append(f"the same batch in parts by --data.constituents_per_step {total // 2}")
    advice = ", or ".join(tries) or "a smaller model, such as half the --model.embed_dim"
    return f"out of memory on {step.device} in a {step.kind} step of {size}\ntry {advice}"


def _is_full(error: BaseException) -> bool:
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, RuntimeError) and FULL.search(str(error)) is not None)
    )


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that led to it."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__
