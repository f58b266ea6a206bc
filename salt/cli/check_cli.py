"""A training that is set up and begun for a few steps, of which nothing is left."""

from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from lightning.pytorch.callbacks import Checkpoint as LightningCheckpoint
from lightning.pytorch.cli import LightningArgumentParser

from salt.callbacks.checkpoint import Checkpoint
from salt.callbacks.trial import EnoughError, Trial
from salt.cli.arguments import Arguments, Layers
from salt.cli.assemble import check_compiler
from salt.cli.checked import Checked, Devices
from salt.cli.lightning_cli import SaltCLI
from salt.cli.loggers import prepare_loggers
from salt.cli.merge import Tree
from salt.cli.repair import mistakes
from salt.cli.run import RunState
from salt.errors import ConfigError, SaltError
from salt.training import Tagger


class CheckCLI(SaltCLI):
    """Sets a training up as ``main fit`` does, without a run folder, loggers, staging and compiling.

    Args:
        arguments: The command line.
        state: The step that is under way.
        found: Gets what is found out.
        scratch: A folder for what somebody writes all the same.
    """

    def __init__(self, arguments: Arguments, state: RunState, found: Checked, scratch: Path) -> None:
        self.found = found
        self.scratch = scratch
        super().__init__("fit", arguments, state)

    def _check_options(self, tree: Tree) -> None:
        """Notes each option that does not exist, and takes it out."""
        for key in list(tree):
            for part, name in _members(tree, key):
                try:
                    super()._check_options(part)
                except SaltError as error:
                    self.found.add(error)
                    if name is None:
                        del tree[key]
                    else:
                        tree[key] = {k: v for k, v in tree[key].items() if k != name}

    def _layers(self) -> Layers:
        layers = super()._layers()
        trainer = dict(layers.tree.get("trainer") or {})
        self.found.trainer = dict(trainer)
        self.found.compiles = layers.tree.get("compile") in (True, "true", "True")
        try:
            trainer = self._on_one_device(trainer)
        except SaltError as error:
            self.found.add(error)
            trainer["devices"] = 1
        trainer |= {"fast_dev_run": False, "num_nodes": 1}
        tree = {**layers.tree, "compile": False, "quiet": True, "trainer": trainer}
        return replace(layers, tree=tree)

    def _on_one_device(self, trainer: Tree) -> Tree:
        """The options of the Trainer for one device of this machine, which need not be the one that will train."""
        devices = trainer.get("devices", 1)
        accelerator = str(trainer.get("accelerator", "auto"))
        each = _count(devices)
        nodes = int(trainer.get("num_nodes") or 1)
        self.found.devices = Devices(accelerator, each, nodes)
        here = torch.cuda.device_count()
        changed = {**trainer, "devices": 1}
        if accelerator in ("gpu", "cuda") and here == 0:
            self.found.doubts.append(
                f"trainer.accelerator is {accelerator}, and this machine has no GPU; "
                "time and memory are those of its CPU"
            )
            changed |= {"accelerator": "cpu", "precision": "32-true"}
        elif accelerator in ("gpu", "cuda", "auto") and here:
            if each is not None and each > here:
                self.found.doubts.append(f"trainer.devices asks for {each}, and this machine has {here}")
            if isinstance(devices, list) and all(int(device) < here for device in devices):
                changed["devices"] = devices[:1]
        if str(trainer.get("strategy", "auto")).startswith(("ddp", "fsdp", "deepspeed")):
            changed["strategy"] = "auto"
        return changed

    def _parsed(self, parser: LightningArgumentParser, tree: Tree) -> Namespace:
        """Notes each mistake, and goes on without it as far as that is possible."""

        def build(rest: Tree) -> Namespace:
            self.config = super(CheckCLI, self)._parsed(parser, deepcopy(rest))  # The parser changes it.
            self.subcommand = self.verb
            config = self.config[self.verb]
            self.found.staging = config.data.get("move_files_temp")
            prepare_loggers(config.trainer, self.scratch)
            config.trainer.logger = False
            config.trainer.default_root_dir = str(self.scratch)
            super(CheckCLI, self).instantiate_classes()
            self.datamodule.bind(self.model.targets, 0, self.model.model.weighed_targets)
            return self.config  # type: ignore[no-any-return]

        wrong, config, _ = mistakes(build, tree)
        for error in wrong:
            self.found.add(error)
        if config is None:
            raise wrong[-1]
        return config

    def before_instantiate_classes(self) -> None:
        """Nothing is kept."""

    def instantiate_classes(self) -> None:
        """They have been made to see whether that is possible."""

    def after_instantiate_classes(self) -> None:
        """Adds what measures the first steps."""
        self.datamodule.move_files_temp = None
        self.found.data, self.found.model = self.datamodule, self.model
        self.found.asked_workers = self.datamodule.num_workers
        super().after_instantiate_classes()
        if self.found.compiles:
            try:
                check_compiler(self.trainer.strategy.root_device.type)
            except SaltError as error:
                self.found.add(error)
        configured = self.config_init[self.verb]["trainer"].get("callbacks") or []
        validated = self.datamodule.options["val"] is not None
        metrics = [c.monitor for c in configured if isinstance(c, Checkpoint) and c.monitor is not None]
        self.trial = Trial(metrics if validated else ())
        callbacks: list[Any] = self.trainer.callbacks  # type: ignore[attr-defined]
        callbacks[:] = [*(c for c in callbacks if not isinstance(c, LightningCheckpoint)), self.trial]

    def fit(self, model: Tagger, **kwargs: Any) -> None:
        """Trains for a few steps."""
        try:
            with suppress(EnoughError):
                super().fit(model, **{**kwargs, "ckpt_path": self.start.state})
        finally:
            for error in self.trial.errors:
                self.found.add(error)
            self.found.trialled = self.trial.measured


def _members(tree: Mapping[str, Any], key: str) -> list[tuple[Tree, str | None]]:
    """What is looked at alone: an option, or a member of ``run``."""
    if key == "run" and isinstance(tree[key], Mapping):
        return [({key: {name: value}}, name) for name, value in tree[key].items()]
    return [({key: tree[key]}, None)]


def _count(devices: Any) -> int | None:
    """How many devices are asked for; None for all.

    Raises:
        ConfigError: That is no number.
    """
    if isinstance(devices, list):
        return len(devices)
    if devices in ("auto", None):
        return None
    try:
        number = len(devices.split(",")) if isinstance(devices, str) and "," in devices else int(devices)
    except (TypeError, ValueError):
        raise ConfigError(
            f"trainer.devices is {devices!r}; it must be a number of devices, a list such as [1], or auto"
        ) from None
    return None if number < 0 else number
