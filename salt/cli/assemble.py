"""The run folder of a fit and what hangs on it: loggers and callbacks."""

import logging
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace
from lightning.pytorch.loggers import CSVLogger, Logger

from salt.callbacks.checkpoint import AtomicCheckpointIO, Checkpoint
from salt.callbacks.epoch_line import EpochLine
from salt.callbacks.predictions import PredictionWriter
from salt.callbacks.run_folder import RunFolder
from salt.cli.arguments import CONFIG_FORMAT, FORMAT_KEY
from salt.cli.devices import cluster_environment, from_leader
from salt.cli.run import RUN_VARIABLE
from salt.cli.watch import Watch
from salt.errors import ConfigError

if TYPE_CHECKING:
    from salt.cli.lightning_cli import SaltCLI

log = logging.getLogger(__name__)


def make_run_folder(root: str, name: str) -> Path:
    """Makes ``<root>/<name>_<timestamp>``; a second run in the same second gets a number.

    Of several processes the first makes it, and all get its name.

    Raises:
        ConfigError: It cannot be made.
    """
    if not os.environ.get(RUN_VARIABLE):
        os.environ[RUN_VARIABLE] = from_leader("run folder", lambda: str(_make_run_folder(root, name)))
    return Path(os.environ[RUN_VARIABLE])


def _make_run_folder(root: str, name: str) -> Path:
    stem = f"{name}_{time.strftime('%Y%m%d-%H%M%S')}"
    for number in range(1, 100):
        folder = Path(root).expanduser() / (stem if number == 1 else f"{stem}_{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not folder.is_dir():
                raise ConfigError(f"trainer.default_root_dir: {root} is not a folder") from None
        except OSError as error:
            raise ConfigError(f"trainer.default_root_dir: cannot make {folder}: {error.strerror}") from None
        else:
            return folder
    raise ConfigError(f"{root} has 99 runs called {stem}")


def prepare_loggers(configured: Any, folder: Path) -> None:
    """Sets Comet up, if it is among the configured loggers: online with a key, else an archive in the run folder.

    The run's name becomes the experiment's. The key stays in the environment and enters no file.
    """
    specs = configured if isinstance(configured, list) else [configured]
    comet = [s for s in specs if isinstance(s, Namespace) and str(s.get("class_path", "")).endswith("CometLogger")]
    if not comet:
        return
    if not os.environ.get("COMET_API_KEY"):
        os.environ.setdefault("COMET_START_ONLINE", "0")
        os.environ.setdefault("COMET_OFFLINE_DIRECTORY", str(folder / "comet"))
        log.info("no Comet key in the environment: the experiment is kept as an archive in %s", folder / "comet")
    for spec in comet:
        spec["dict_kwargs"] = {"name": folder.name, **(spec.get("dict_kwargs") or {})}


def check_compiler(device: str) -> None:
    """ConfigError where the model cannot be compiled for a device."""
    if device != "cpu":
        return
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        raise ConfigError(
            "--compile needs a C++ compiler on a CPU, and there is none; install g++, or leave --compile out"
        ) from None


def trainer_arguments(cli: "SaltCLI") -> dict[str, Any]:
    """What the Trainer gets beside its own options."""
    options = cli.config_init[cli.verb]["trainer"]
    callbacks = list(options.get("callbacks") or [])
    bar = options.get("enable_progress_bar")
    display = {
        "enable_progress_bar": sys.stderr.isatty() if bar is None else bar,
        "enable_model_summary": bool(options.get("enable_model_summary")),
    }
    plugins = [*(options.get("plugins") or []), *cluster_environment(os.environ)]
    if cli.scoring is not None:
        callbacks = [c for c in callbacks if not isinstance(c, Checkpoint)]
        for callback in callbacks:
            if isinstance(callback, PredictionWriter):
                callback.prepare(cli.config[cli.verb]["name"], cli.scoring.ckpt_path, cli.scoring.overwrite)
        callbacks.append(Watch(cli.state))
        return {**display, "callbacks": callbacks, "plugins": plugins, "enable_checkpointing": False}
    callbacks += [EpochLine(), Watch(cli.state)]
    if cli.state.folder is None:
        kept = [c for c in callbacks if not isinstance(c, Checkpoint)]
        return {**display, "logger": False, "callbacks": kept, "plugins": plugins, "enable_checkpointing": False}
    loggers: list[Logger] = [CSVLogger(cli.state.folder, name="", version="")]
    configured = options.get("logger")
    if isinstance(configured, Logger):
        loggers.append(configured)
    elif isinstance(configured, list):
        loggers += configured
    folder = RunFolder(cli.state.folder, f"{FORMAT_KEY}: {CONFIG_FORMAT}\n{cli.saved_config}", ["main", *sys.argv[1:]])
    return {
        **display,
        "default_root_dir": str(cli.state.folder),
        "logger": loggers,
        "callbacks": [folder, *callbacks],
        "plugins": [*plugins, AtomicCheckpointIO()],
    }
