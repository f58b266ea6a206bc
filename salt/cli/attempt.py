"""The attempt that a ``main fit`` makes: its run folder at the beginning, its outcome at the end."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from salt.cli.devices import from_leader
from salt.cli.run import RUN_VARIABLE, RunState
from salt.cli.start import Start
from salt.errors import ConfigError
from salt.runs.attempt import RunningAttempt, batch_job
from salt.runs.configs import Difference
from salt.runs.folder import LAST, copy_with_hash, hash_of, run_of
from salt.runs.lineage import Parent, read_lineage
from salt.saved import read_checkpoint

log = logging.getLogger(__name__)

SHOWN = 12
"""Differences of configs that are printed."""


def open_run(start: Start, make_folder: Callable[[], Path], command: Sequence[str], state: RunState) -> Path:
    """The folder of the run, made for a new one, locked, and noted in its lineage by the first of several processes.

    A new run that begins from the full state of a checkpoint gets a copy of it as its own last state, from which it
    goes on if it is ended before it saves one.

    Args:
        start: From what the training begins.
        make_folder: Makes the folder of a new run.
        command: The words of the command.
        state: Gets the attempt, in the first process.

    Raises:
        ConfigError: The run is being trained elsewhere, or the checkpoint it began with is another one now.
    """

    def begin() -> str:
        if start.folder is not None:
            folder = Path(start.folder)
            _check_weights(start, folder)
            try:
                state.attempt = RunningAttempt(folder, command, batch_job(os.environ), new=False)
            except OSError as error:
                raise ConfigError(
                    f"cannot write in run folder {folder}: {error.strerror}\n"
                    "to go on in a run of your own, begin one with --run.fork_run_id"
                ) from None
            return str(folder)
        folder = make_folder()
        try:
            parent = _take_over(start, folder)
            state.attempt = RunningAttempt(folder, command, batch_job(os.environ), start.kind, parent)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return str(folder)

    if not os.environ.get(RUN_VARIABLE):
        os.environ[RUN_VARIABLE] = from_leader("run folder", begin)
    return Path(os.environ[RUN_VARIABLE])


def _take_over(start: Start, folder: Path) -> Parent | None:
    source = start.source
    if source is None:
        return None
    step = step_of(source)
    try:
        digest = copy_with_hash(source, folder / LAST) if start.state else hash_of(source)
    except OSError as error:
        raise ConfigError(f"cannot copy {source} to {folder / LAST}: {error.strerror}") from None
    run = run_of(source)
    return Parent(None if run is None else run.resolve().name, str(source.absolute()), digest, step)


def _check_weights(start: Start, folder: Path) -> None:
    """Before weights are loaded for the second time, as the first attempt saved nothing."""
    parent = read_lineage(folder).parent
    if start.weights and parent is not None and parent.sha256 != hash_of(Path(start.weights)):
        raise ConfigError(
            f"{start.weights} is no longer the checkpoint with whose weights run {folder.name} began\n"
            "begin a new run with --run.warm_start.checkpoint"
        )


def step_of(checkpoint: Path) -> int:
    """Optimiser steps that a checkpoint has seen.

    Raises:
        ConfigError: The file is no checkpoint.
    """
    step = read_checkpoint(checkpoint).get("global_step")
    if not isinstance(step, int):
        raise ConfigError(f"{checkpoint} is no checkpoint of Salt: it does not say how far the training was")
    return step


def say_start(start: Start, folder: Path, different: Sequence[Difference]) -> None:
    """Says from what the training begins, and what it does otherwise than the run that it goes on with."""
    state = Path(start.state) if start.state else None
    if start.folder is not None:
        place = f"from {state.name}, step {step_of(state)}" if state else "from its beginning, as it has saved nothing"
        log.info("run %s goes on %s", folder.name, place)
    elif state is not None:
        log.info("run %s begins from %s, step %d", folder.name, state, step_of(state))
    for each in different[:SHOWN]:
        log.info("  %s: %s -> %s", each.key, each.old or "(not set)", each.new or "(not set)")
    if len(different) > SHOWN:
        log.info("  and %d more values of the config differ; see main runs diff", len(different) - SHOWN)


@contextmanager
def attempt_recorded(state: RunState) -> Iterator[None]:
    """Notes at the end how the attempt went, by the exception with which the block ends, if with any."""
    outcome, code = "failed", 1
    try:
        yield
        outcome, code = "finished", 0
    except ConfigError:
        code = 2
        raise
    except KeyboardInterrupt:
        outcome, code = "interrupted", 130
        raise
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0
        outcome = {0: "finished", 130: "interrupted", 143: "terminated"}.get(code, outcome)
        raise
    finally:
        if state.attempt is not None:
            try:
                state.attempt.end(state.outcome or outcome, code, state.global_step(), state.trained)
            except OSError as error:
                log.warning("cannot note in %s how this ended: %s", state.attempt.folder, error.strerror)
