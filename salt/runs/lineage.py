"""Where a run comes from and which attempts were made: ``lineage.json`` of a run folder."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from salt.errors import DataError
from salt.files import write_text

NAME = "lineage.json"

NEW, FORK, WARM_START = "new", "fork", "warm_start"
"""How a run begins: from nothing, from the full state of a checkpoint, or with weights of one."""

RUNNING, FINISHED, FAILED, KILLED = "running", "finished", "failed", "killed"
"""Outcomes of an attempt; a signal leaves others, such as ``interrupted``, ``terminated`` and ``requeued``."""


@dataclass(frozen=True)
class Parent:
    """The checkpoint that a run began from.

    Args:
        run_id: The run that it is of; None for a checkpoint outside of any run.
        checkpoint: Its path at that time.
        sha256: Hash of its content.
        step: Optimiser steps that it had seen, if that is known.
    """

    run_id: str | None
    checkpoint: str
    sha256: str
    step: int | None = None


@dataclass(frozen=True)
class Attempt:
    """One process, or several that work together, that worked on a run.

    Args:
        number: From 1.
        begun: When it began, as ISO 8601 with time zone.
        ended: When it ended; None while it runs, and for ever if it was killed.
        outcome: ``running``, ``finished``, ``failed``, ``killed``, or what a signal made of it.
        exit_code: Of its command.
        from_step: Optimiser steps that were done when it began to train.
        to_step: Optimiser steps that were done when it ended.
        host: Where it ran.
        pid: Number of its first process there.
        job: The batch job that it belonged to, such as ``slurm:123_4``.
        command: The words of its command.
    """

    number: int
    begun: str
    host: str
    pid: int
    job: str | None = None
    command: tuple[str, ...] = ()
    ended: str | None = None
    outcome: str = RUNNING
    exit_code: int | None = None
    from_step: int | None = None
    to_step: int | None = None


@dataclass(frozen=True)
class Lineage:
    """What ``lineage.json`` holds.

    Args:
        run_id: Name of the run, which is that of its folder.
        kind: ``new``, ``fork`` or ``warm_start``.
        parent: What it began from.
        attempts: In their order.
    """

    run_id: str
    kind: str = NEW
    parent: Parent | None = None
    attempts: tuple[Attempt, ...] = field(default=())

    @property
    def last(self) -> Attempt | None:
        """The newest attempt."""
        return self.attempts[-1] if self.attempts else None

    def with_last(self, **changes: Any) -> "Lineage":
        """The lineage with some fields of the newest attempt changed."""
        return replace(self, attempts=(*self.attempts[:-1], replace(self.attempts[-1], **changes)))


def read_lineage(folder: Path) -> Lineage:
    """The lineage of a run; that of a run without attempts where there is no ``lineage.json``.

    Raises:
        DataError: The file is broken.
    """
    path = folder / NAME
    run_id = folder.resolve().name
    try:
        tree = json.loads(path.read_text())
        parent = tree["parent"]
        return Lineage(
            run_id,
            str(tree["kind"]),
            None if parent is None else Parent(**_known(Parent, parent)),
            tuple(_attempt(each) for each in tree["attempts"]),
        )
    except FileNotFoundError:
        return Lineage(run_id)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read: {error}\nmove it away to go on; the run's ancestry is then lost"
        ) from None


def write_lineage(folder: Path, lineage: Lineage) -> None:
    """Writes ``lineage.json``, complete or not at all."""
    write_text(folder / NAME, json.dumps(asdict(lineage), indent=2) + "\n")


def _attempt(tree: Mapping[str, Any]) -> Attempt:
    known = _known(Attempt, tree)
    return Attempt(**{**known, "command": tuple(known.get("command", ()))})


def _known(record: type, tree: Mapping[str, Any]) -> dict[str, Any]:
    """What the record has fields for: a newer version may write more."""
    names = {each.name for each in fields(record)}
    return {key: value for key, value in tree.items() if key in names}
