"""The run folder of a fit and what hangs on it: loggers and callbacks."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.loggers import Logger

from salt.adversarial import AdversarialTagger
from salt.callbacks.average import averaging
from salt.callbacks.balance import BalanceReached
from salt.callbacks.checkpoint import Checkpoint
from salt.callbacks.checkpoint_io import AtomicCheckpointIO
from salt.callbacks.freeze import Freeze
from salt.callbacks.health import Health
from salt.callbacks.loggers import Loggers
from salt.callbacks.loss_weights import LossWeightsTable
from salt.callbacks.metrics_log import MetricsLog
from salt.callbacks.one_thread import OneThread
from salt.callbacks.predictions import PredictionWriter
from salt.callbacks.rollouts import rollouts
from salt.callbacks.run_folder import RunFolder
from salt.callbacks.start_epoch import StartEpoch
from salt.callbacks.warm_start import LoadWeights
from salt.cli.boundary import Boundary
from salt.cli.devices import cluster_environment
from salt.cli.display import display_callbacks, lightning_display
from salt.cli.watch import Watch
from salt.errors import ConfigError
from salt.runs.options import WarmStart
from salt.training import Tagger

if TYPE_CHECKING:
    from salt.cli.lightning_cli import SaltCLI


def make_run_folder(root: str, name: str) -> Path:
    """Makes ``<root>/<name>_<timestamp>``; a second run in the same second gets a number.

    Raises:
        ConfigError: It cannot be made.
    """
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


def check_precision(precision: Any) -> None:
    """ConfigError where weights or inputs would be in another precision than float32."""
    if str(precision) in ("64", "64-true", "16-true", "bf16-true"):
        raise ConfigError(
            f"trainer.precision {precision} is not possible: inputs and weights are in float32; bf16-mixed has the "
            "products of matrices in half precision"
        )


def trainer_arguments(cli: "SaltCLI") -> dict[str, Any]:
    """What the Trainer gets beside its own options."""
    options = cli.config_init[cli.verb]["trainer"]
    configured_callbacks = list(options.get("callbacks") or [])
    health = [c for c in configured_callbacks if isinstance(c, Health)] or [Health()]
    callbacks = [c for c in configured_callbacks if c not in health]
    check_precision(options["precision"])
    display = lightning_display(callbacks)
    plugins = [*(options.get("plugins") or []), *cluster_environment(os.environ)]
    if cli.scoring is not None:
        callbacks = [c for c in callbacks if not isinstance(c, Checkpoint)]
        for callback in callbacks:
            if isinstance(callback, PredictionWriter):
                callback.prepare(cli.config[cli.verb]["name"], cli.scoring.ckpt_path)
        callbacks += [*health, *display_callbacks(options, cli.verb, callbacks), Watch(cli.state)]
        return {**display, "callbacks": callbacks, "plugins": plugins, "enable_checkpointing": False}
    callbacks += [OneThread(), *averaging(callbacks, cli.model), *_beginning(cli), *rollouts(cli.model), *health]
    callbacks += [*display_callbacks(options, cli.verb, callbacks), Watch(cli.state)]
    callbacks.append(LossWeightsTable(cli.state.attempt))
    display |= _accumulation(cli, options, callbacks)
    if cli.state.folder is None:
        kept = [c for c in callbacks if not isinstance(c, Checkpoint)]
        return {**display, "logger": False, "callbacks": kept, "plugins": plugins}
    metrics = MetricsLog(cli.state.folder)
    loggers: list[Logger] = [metrics]
    configured = options.get("logger")
    if isinstance(configured, Logger):
        loggers.append(configured)
    elif isinstance(configured, list):
        loggers += configured
    folder = RunFolder(cli.state.attempt, cli.saved_config, cli.command, metrics)
    telling = Loggers(cli.state.attempt, cli.saved_config)
    return {
        **display,
        "default_root_dir": str(cli.state.folder.absolute()),
        "logger": loggers,
        "callbacks": [*callbacks, folder, telling, Boundary(cli.state.signals)],
        "plugins": [*plugins, AtomicCheckpointIO()],
    }


def _accumulation(cli: "SaltCLI", options: Namespace, callbacks: Sequence[Callback]) -> dict[str, Any]:
    """Leaves accumulation to the training step, which divides the sums over all batches by their counts."""
    if any(isinstance(callback, GradientAccumulationScheduler) for callback in callbacks):
        raise ConfigError(
            "trainer.callbacks: GradientAccumulationScheduler changes the size of a step while it trains, which is not "
            "possible; use trainer.accumulate_grad_batches"
        )
    batches = options["accumulate_grad_batches"]
    if batches < 2:
        return {}
    cli.datamodule.accumulate(batches)
    steps: dict[str, Any] = {"accumulate_grad_batches": 1}
    if isinstance(limit := options["limit_train_batches"], int):
        steps["limit_train_batches"] = -(-limit // batches)
    if isinstance(interval := options["val_check_interval"], int):
        steps["val_check_interval"] = max(1, interval // batches)
    return steps


def _beginning(cli: "SaltCLI") -> list[Callback]:
    """What loads the first weights, and what keeps some of them as they are for a while."""
    options = cli.config_init[cli.verb]["run"].warm_start
    last = cli.config_init[cli.verb]["trainer"]["max_epochs"]
    starting = None
    if cli.start.weights and options.epoch is not None:
        if last is not None and 0 <= last <= options.epoch:
            raise ConfigError(
                f"run.warm_start.epoch is {options.epoch} and trainer.max_epochs {last}: nothing is left to train; "
                "trainer.max_epochs counts the epochs before, too"
            )
        starting = StartEpoch(options.epoch) if cli.state.folder is not None else None  # A trial has one epoch.
    loading = LoadWeights(Path(cli.start.weights), options) if cli.start.weights else None
    if cli.start.state and cli.state.folder is None:
        loading = LoadWeights(Path(cli.start.state), WarmStart())
    freezing = Freeze(options, loading) if options.freezes else None
    return [each for each in (starting, loading, freezing, _ending(cli.model)) if each is not None]


def _ending(model: Tagger) -> Callback | None:
    """What ends a training against an adversary."""
    enough = model.adversary.exit if isinstance(model, AdversarialTagger) else None
    return None if enough is None else BalanceReached(*enough)
