"""One command of a Trainer's verb, from its words to its exit code."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from salt.cli.arguments import Arguments, adopt_comet_names, parse_flags
from salt.cli.devices import global_rank
from salt.cli.lean import import_lightning
from salt.cli.memory import Step, memory_advice
from salt.errors import ConfigError, SaltError
from salt.runs.attempt import RunningAttempt

log = logging.getLogger(__name__)

TERMINATED = 128 + 15
"""The exit code of a command that SIGTERM ended."""


@dataclass
class RunState:
    """What is to be tidied up if the command fails.

    Args:
        folder: The run folder, once it is made.
        trained: Whether a batch was trained, after which the folder is worth keeping.
        interrupted: Whether Ctrl-C ended the command.
        step: The step that is under way.
        attempt: What this process notes in the lineage of the run, if it is the first one.
        outcome: A word for how a signal ended the attempt, if one did.
        global_step: Tells how many optimiser steps are done.
    """

    folder: Path | None = None
    trained: bool = False
    interrupted: bool = False
    step: Step | None = None
    attempt: RunningAttempt | None = None
    outcome: str | None = None
    global_step: Callable[[], int | None] = lambda: None


def run(verb: str, argv: Sequence[str]) -> int:
    """Runs ``main <verb> <argv>``.

    Returns:
        The exit code.
    """
    arguments = parse_flags(argv)
    os.environ.update(adopt_comet_names(os.environ))
    for key, value in SDK_SETTINGS.items():
        os.environ.setdefault(key, value)
    import_lightning()
    from salt.cli.attempt import attempt_recorded

    quieten()
    state = RunState()
    try:
        with attempt_recorded(state):
            _run(verb, arguments, state)
    finally:
        os.environ.pop(RUN_VARIABLE, None)
        os.environ.pop(START_VARIABLE, None)
    return 0


def _run(verb: str, arguments: Arguments, state: RunState) -> None:
    """Runs a command, and turns errors that a user can do something about into their words."""
    from lightning.fabric.utilities.exceptions import MisconfigurationException
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    from salt.cli.lightning_cli import SaltCLI

    try:
        SaltCLI(verb, arguments, state)
    except MisconfigurationException as error:
        raise ConfigError(" ".join(str(error).split())[:400]) from None
    except SaltError:
        raise
    except Exception as error:  # The loss of a worker interrupts any code, which may wrap it in an error of its own.
        advice = memory_advice(error, state.step)
        if advice is None:
            raise
        raise SaltError(advice) from None
    except SIGTERMException:
        say_how_to_continue(state.folder)
        raise SystemExit(TERMINATED) from None
    except SystemExit:  # Lightning's answer to Ctrl-C
        if state.interrupted:
            say_how_to_continue(state.folder)
            raise KeyboardInterrupt from None
        raise


def say_how_to_continue(folder: Path | None) -> None:
    """Prints the command that resumes an interrupted training, if it has saved anything."""
    last = folder / "ckpts" / "last.ckpt" if folder else None
    if last is not None and last.is_file():
        log.info("to continue: main fit --run.run_id %s", last.parents[1])


SDK_SETTINGS = {
    # Lightning calls jsonargparse in ways that the newest version no longer likes.
    "JSONARGPARSE_DEPRECATION_WARNINGS": "off",
    "COMET_DISABLE_AUTO_LOGGING": "1",
    "COMET_LOGGING_CONSOLE": "ERROR",
    "COMET_DISPLAY_SUMMARY_LEVEL": "0",
}
"""Libraries read these when they are imported."""

RUN_VARIABLE = "SALT_RUN_FOLDER"
"""Processes that Lightning starts for further devices find the run folder of the first one here."""

START_VARIABLE = "SALT_RUN_START"
"""They find here what the first one decided to begin from."""


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
    logger.setLevel(logging.INFO if global_rank(os.environ) == 0 else logging.ERROR)
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
