"""One attempt at a run, from the lock that it takes to what it leaves in ``lineage.json``."""

import os
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from salt.errors import ConfigError
from salt.runs.folder import config_name, loss_weights_name, metadata_name
from salt.runs.lineage import KILLED, NEW, RUNNING, Attempt, Lineage, Parent, read_lineage, write_lineage
from salt.runs.lock import RunLock


class RunningAttempt:
    """The attempt that this process makes. It is in ``lineage.json`` from its beginning on.

    An attempt that trains nothing leaves no trace: a new run goes with its folder, an old one is as it was.

    Args:
        folder: The run folder.
        command: The words of the command.
        job: The batch job, if there is one.
        kind: How a new run begins; an old one knows.
        parent: What a new run begins from.
        new: Whether the run is new.

    Raises:
        ConfigError: Another process works on the run.
    """

    def __init__(
        self,
        folder: Path,
        command: Sequence[str],
        job: str | None,
        kind: str = NEW,
        parent: Parent | None = None,
        new: bool = True,
    ) -> None:
        self.folder = folder
        self.new = new
        self._lock = RunLock(folder)
        if not self._lock.acquire():
            raise ConfigError(alive_message(folder))
        found = read_lineage(folder)
        if new:
            found = replace(found, kind=kind, parent=parent)
        elif found.last is not None and found.last.outcome == RUNNING:
            found = found.with_last(outcome=KILLED)
        self._before = found
        self.number = self._next_number()
        attempt = Attempt(self.number, now(), socket.gethostname(), os.getpid(), job, tuple(command))
        self._write(replace(found, attempts=(*found.attempts, attempt)))

    @property
    def config_path(self) -> Path:
        """Where the config of this attempt belongs."""
        return self.folder / config_name(self.number)

    @property
    def metadata_path(self) -> Path:
        """Where the circumstances of this attempt belong."""
        return self.folder / metadata_name(self.number)

    @property
    def loss_weights_path(self) -> Path:
        """Where the weights of its loss belong."""
        return self.folder / loss_weights_name(self.number)

    def trains_from(self, step: int) -> None:
        """Notes at which optimiser step it begins to train."""
        self._write(self.lineage.with_last(from_step=step))

    def end(self, outcome: str, exit_code: int, step: int | None, trained: bool) -> None:
        """Notes how it ended, and frees the run.

        Args:
            outcome: A word for it.
            exit_code: Of the command.
            step: Optimiser steps that were done.
            trained: Whether this attempt trained a batch.
        """
        if trained:
            last = self.lineage.with_last(outcome=outcome, exit_code=exit_code, to_step=step, ended=now())
            self._write(last)
        elif self.new:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            self.config_path.unlink(missing_ok=True)
            self.metadata_path.unlink(missing_ok=True)
            self.loss_weights_path.unlink(missing_ok=True)
            self._write(self._before)
        self._lock.release()

    def _write(self, lineage: Lineage) -> None:
        self.lineage = lineage
        write_lineage(self.folder, lineage)

    def _next_number(self) -> int:
        """After all attempts and all configs; a run from before there were lineages has one config."""
        number = max((attempt.number for attempt in self._before.attempts), default=0) + 1
        while (self.folder / config_name(number)).exists():
            number += 1
        return number


def alive_message(folder: Path) -> str:
    """Words the error for a run on which another process works."""
    last = read_lineage(folder).last
    who = f"process {last.pid} on {last.host}" + (f", job {last.job}" if last.job else "") if last else "a process"
    return (
        f"run {folder.resolve().name} is being trained by {who}, since {last.begun if last else 'a while'}\n"
        "end that first, or begin a run of your own from its last checkpoint with --run.fork_run_id"
    )


def batch_job(environ: Mapping[str, str]) -> str | None:
    """The job of a batch system that this process is of: what ``SALT_JOB`` says, or the job of Slurm."""
    return environ.get("SALT_JOB") or slurm_job(environ)


def started_again(environ: Mapping[str, str]) -> bool:
    """Whether the batch system may have started this job before. ``SALT_JOB`` names jobs that train once."""
    return "SALT_JOB" in environ or int(environ.get("SLURM_RESTART_COUNT") or 0) >= 1


def slurm_job(environ: Mapping[str, str]) -> str | None:
    """The Slurm job of this process, such as ``slurm:123`` or, in an array, ``slurm:123_4``."""
    task = environ.get("SLURM_ARRAY_TASK_ID")
    job = environ.get("SLURM_ARRAY_JOB_ID") if task else environ.get("SLURM_JOB_ID")
    if not job:
        return None
    return f"slurm:{job}_{task}" if task else f"slurm:{job}"


def now() -> str:
    """The time, as ISO 8601 with time zone."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
