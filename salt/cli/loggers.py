"""The loggers that a config names, as a run uses them: in its folder, under its name, and without keys."""

import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from salt.cli.merge import Tree
from salt.errors import ConfigError

SECRETS = ("api_key", "api_token", "token", "password")

IN_RUN_FOLDER = ("TensorBoardLogger", "CSVLogger")
"""Loggers that must be told where to write, and may now leave it out."""


PACKAGES = {
    "TensorBoardLogger": ("tensorboard", "tensorboardX"),
    "MLFlowLogger": ("mlflow",),
    "WandbLogger": ("wandb",),
    "NeptuneLogger": ("neptune",),
}
"""What a logger needs one of."""


def settle_loggers(tree: Tree) -> Tree:
    """The config with loggers as the parser accepts them. What is added says nothing of this run.

    Raises:
        ConfigError: A key is in it, which would then be in files.
    """
    trainer = tree.get("trainer")
    if not isinstance(trainer, Mapping) or "logger" not in trainer:
        return tree
    configured = trainer["logger"]
    specs = configured if isinstance(configured, list) else [configured]
    settled = [_settled(spec) for spec in specs]
    return {**tree, "trainer": {**trainer, "logger": settled if isinstance(configured, list) else settled[0]}}


def _settled(spec: Any) -> Any:
    spec = {"class_path": spec} if isinstance(spec, str) else spec
    if not isinstance(spec, Mapping):
        return spec
    for secret in SECRETS:
        groups = (spec, spec.get("init_args"), spec.get("dict_kwargs"))
        if any((group or {}).get(secret) is not None for group in groups):
            raise ConfigError(
                f"trainer.logger.{secret}: a key in a config or a flag would be written to the files of the run\n"
                "set it in the environment, for Comet as COMET_API_KEY or PL_TRAINER__LOGGER__API_KEY"
            )
    if str(spec.get("class_path", "")).rpartition(".")[2] in IN_RUN_FOLDER:
        return {**spec, "init_args": {"save_dir": ".", **(spec.get("init_args") or {})}}
    return spec


def prepare_loggers(trainer: Namespace, folder: Path) -> None:
    """Has the configured loggers write to the run folder and use its name, unless they were told otherwise.

    A relative ``save_dir`` is one in the run folder. Lightning's Comet, which waits for a silent network for minutes,
    is replaced by ours.

    Args:
        trainer: The parsed options; what they say of loggers is changed, after the config was saved.
        folder: The run folder.

    Raises:
        ConfigError: The package of a logger is not installed, or an option would have no effect.
    """
    for spec in _specs(trainer.get("logger")):
        name = str(spec["class_path"]).rpartition(".")[2]
        packages = PACKAGES.get(name, ())
        if packages and not any(find_spec(package) for package in packages):
            raise ConfigError(
                f"trainer.logger: {name} needs package {packages[0]}, which is not installed\n"
                f"install it with: pip install {packages[0]}"
            )
        arguments = spec.get("init_args") or Namespace()
        spec["init_args"] = arguments
        if name == "CometLogger":
            _replace_comet(spec)
        elif name == "WandbLogger":
            _default(arguments, "name", folder.name)
            _default(arguments, "id", folder.name)
            spec["dict_kwargs"] = {"resume": "allow", **(spec.get("dict_kwargs") or {})}
        elif name == "MLFlowLogger":
            _default(arguments, "run_name", folder.name)
            # Where no server is named it writes files, which its newer versions refuse unless asked.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        elif name in IN_RUN_FOLDER and arguments.get("name") == "lightning_logs":
            arguments["name"] = "tensorboard" if name == "TensorBoardLogger" else "csv"
            _default(arguments, "version", "")
        if isinstance(arguments.get("save_dir"), str | Path):
            arguments["save_dir"] = str(folder.absolute() / Path(arguments["save_dir"]).expanduser())


def _specs(configured: Any) -> Iterator[Namespace]:
    for spec in configured if isinstance(configured, list) else [configured]:
        if isinstance(spec, Namespace) and "class_path" in spec:
            yield spec


def _default(arguments: Namespace, key: str, value: Any) -> None:
    if arguments.get(key) is None:
        arguments[key] = value


def _replace_comet(spec: Namespace) -> None:
    given = {k: v for k, v in vars(spec["init_args"]).items() if v is not None}
    given |= spec.get("dict_kwargs") or {}
    known = ("workspace", "project", "name", "tags", "online", "experiment_key")
    for unknown in ("prefix", "mode"):
        if unknown in given:
            raise ConfigError(f"trainer.logger: Comet has no {unknown} here; leave it out")
    options = {k: v for k, v in given.items() if k not in known}
    spec["class_path"] = "salt.callbacks.Comet"
    spec["init_args"] = Namespace(**{k: v for k, v in given.items() if k in known}, options=options)
    spec["dict_kwargs"] = {}
