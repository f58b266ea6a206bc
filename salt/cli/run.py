"""One command of a Trainer's verb, from its words to its exit code."""

import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from salt.cli.allocator import keep_freed_memory
from salt.cli.arguments import Arguments, adopt_comet_names, parse_flags
from salt.cli.children import PARENT_VARIABLE, announce, forget_readers, join_family, wait_for
from salt.cli.devices import global_rank
from salt.cli.disk import disk_advice, said
from salt.cli.lean import import_lightning
from salt.cli.memory import Step, memory_advice
from salt.cli.signals import Signals, Stopped
from salt.errors import ConfigError, SaltError
from salt.runs.attempt import RunningAttempt
from salt.words import RESULT, set_level


@dataclass
class RunState:
    """What is to be tidied up if the command fails.

    Args:
        folder: The run folder, once it is made.
        trained: Whether a batch was trained, after which the folder is worth keeping.
        step: The step that is under way.
        signals: What signals have asked for.
        children: Processes that work on further devices.
        attempt: What this process notes in the lineage of the run, if it is the first one.
        outcome: A word for how a signal ended the attempt, if one did.
        global_step: Tells how many optimiser steps are done.
    """

    folder: Path | None = None
    trained: bool = False
    step: Step | None = None
    signals: Signals = field(default_factory=Signals)
    children: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    attempt: RunningAttempt | None = None
    outcome: str | None = None
    global_step: Callable[[], int | None] = lambda: None


def run(verb: str, argv: Sequence[str]) -> int:
    """Runs ``main <verb> <argv>``.

    Returns:
        The exit code.
    """
    arguments = parse_flags(argv)
    further = join_family(os.environ)
    if not further:
        announce()
    state = RunState()
    try:
        with state.signals:
            _begin()
            from salt.cli.attempt import attempt_recorded

            with attempt_recorded(state):
                _run(verb, arguments, state)
    except Stopped as stop:  # A signal came before the attempt began, or after it was recorded.
        return 0 if further else stop.code
    except (SystemExit, KeyboardInterrupt):
        if further:  # Lightning kills all processes if one of them does not end with 0.
            return 0
        raise
    finally:
        wait_for(state.children)
        for name in (RUN_VARIABLE, START_VARIABLE, SAMPLES_VARIABLE, PARENT_VARIABLE):
            os.environ.pop(name, None)
    return 0


def _begin() -> None:
    """Imports Lightning with the settings that it and other libraries read then."""
    keep_freed_memory()
    os.environ.update(adopt_comet_names(os.environ))
    for key, value in SDK_SETTINGS.items():
        os.environ.setdefault(key, value)
    import_lightning()
    quieten()


def _run(verb: str, arguments: Arguments, state: RunState) -> None:
    """Runs a command, and turns errors that a user can do something about into their words."""
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    from salt.cli.lightning_cli import SaltCLI

    try:
        SaltCLI(verb, arguments, state)
    except MisconfigurationException as error:
        raise ConfigError(" ".join(str(error).split())[:400]) from None
    except SaltError:
        raise
    except Exception as error:  # The loss of a worker interrupts any code, which may wrap it in an error of its own.
        forget_readers()
        earlier = said(error)
        if earlier is not None:
            raise earlier from None
        advice = memory_advice(error, state.step) or disk_advice(error)
        if advice is None:
            raise
        raise SaltError(advice) from None
    except Stopped as stop:
        state.outcome = stop.outcome
        if stop.outcome != "requeued":
            say_how_to_continue(state.folder)
        if stop.outcome == "interrupted":
            raise KeyboardInterrupt from None
        raise SystemExit(stop.code) from None


def say_how_to_continue(folder: Path | None) -> None:
    """Prints the command that resumes an interrupted training, if it has saved anything."""
    last = folder / "ckpts" / "last.ckpt" if folder else None
    if last is not None and last.is_file():
        logging.getLogger(RESULT).info("to continue: main fit --run.run_id %s", last.parents[1])


SDK_SETTINGS = {
    # Lightning calls jsonargparse in ways that the newest version no longer likes.
    "JSONARGPARSE_DEPRECATION_WARNINGS": "off",
}
"""Libraries read these when they are imported."""

RUN_VARIABLE = "SALT_RUN_FOLDER"
"""Processes that Lightning starts for further devices find the run folder of the first one here."""

START_VARIABLE = "SALT_RUN_START"
"""They find here what the first one decided to begin from."""


SAMPLES_VARIABLE = "SALT_SAMPLES"
"""And here which samples are to be scored."""


class _Handler(logging.Handler):
    """Writes to whatever standard error is at the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        sys.stderr.write(f"{prefix}{self.format(record)}\n")


def quieten() -> None:
    """Lets our own messages through, and of the libraries only what a user can act on."""
    logger = logging.getLogger("salt")
    if not logger.handlers:
        logger.addHandler(_Handler())
    set_level(global_rank(os.environ))
    for name in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for message in (
        ".*`srun` command is available.*",
        ".*does not have many workers.*",
        ".*number of training batches.*smaller than the logging interval.*",
        ".*GPU available but not used.*",
        ".*LightningCLI's args parameter.*",
        ".*It is recommended to use .*sync_dist=True.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*The dirpath has changed from.*",
        ".*callbacks used to create the checkpoint need to be provided.*",
        ".*resuming from a checkpoint that ended before the epoch ended.*",  # Our loader goes on there.
        ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
    ):
        warnings.filterwarnings("ignore", message=message)
