"""Configs by their names: packaged ones, files, and the models of the zoo."""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module, resources
from pathlib import Path
from typing import Any

import yaml

from salt.cli.merge import Tree
from salt.errors import ConfigError, unknown

CONFIG_FORMAT = 1
"""Version of the layout of saved configs."""

FORMAT_KEY = "config_format"
"""The key by which a saved, complete config is known; nothing is laid beneath it."""

BASE = "base"
"""The packaged config that lies beneath all others."""

ON_TOP = ("rollout", "finetune")
"""Packaged configs that are no models: they change one on which they lie."""


def packaged_configs() -> dict[str, Any]:
    """Name of each packaged config and where it lies."""
    folder = resources.files("salt") / "configs"
    return {f.name.removesuffix(".yaml"): f for f in folder.iterdir() if f.name.endswith(".yaml")}


def load_config(name: str) -> tuple[Tree, Path | None]:
    """Reads a config: a file by its path, or a packaged one by its name.

    Returns:
        The tree, and the path if it is not a packaged config.
    """
    path = Path(name).expanduser()
    packaged = packaged_configs()
    if path.is_file():
        return read_yaml(path.read_text(), str(path)), path
    folder, stem = str(path.parent), path.name.removesuffix(".yaml")
    if folder in (".", "configs") and stem in packaged:
        return read_yaml(packaged[stem].read_text(), f"packaged {stem}.yaml"), None
    if path.is_dir():
        own = path / "config.yaml"
        raise ConfigError(f"--config {name} is a folder; name {f'{own} in it' if own.is_file() else 'a YAML file'}")
    beside = [str(p) for p in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
    near = get_close_matches(name, [*beside, *(f"{p}.yaml" for p in packaged)], n=3, cutoff=0.5)
    hint = f"nearest: {', '.join(near)}" if near else f"packaged: {', '.join(sorted(packaged))}"
    raise ConfigError(f"no config file '{name}', neither here nor in the package; {hint}")


def read_yaml(text: str, where: str) -> Tree:
    """A config from its text.

    Raises:
        ConfigError: It is no YAML, or no mapping with names as keys.
    """
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        line = f", line {place.line + 1}" if place else ""
        raise ConfigError(f"{where}{line} is not YAML: {getattr(error, 'problem', None) or error}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{where} holds a {type(tree).__name__}; a config is a mapping of keys to values")
    _check_keys(tree, where)
    return tree


def _check_keys(tree: Mapping[Any, Any], where: str) -> None:
    for key, value in tree.items():
        if isinstance(value, Mapping) and key != "label_map":
            wrong = next((k for k in value if not isinstance(k, str)), None)
            if wrong is not None:
                raise ConfigError(f"{where}: key {wrong!r} under '{key}' is not text; put it in quotes")
            _check_keys(value, where)


def base_config() -> Tree:
    """What lies beneath every config that is not a saved one."""
    return read_yaml(packaged_configs()[BASE].read_text(), "packaged base.yaml")


def zoo() -> list[str]:
    """The names of the packaged models."""
    return sorted(set(packaged_configs()) - {BASE, *ON_TOP})


def load_model(name: str) -> Tree:
    """Reads the config of a model.

    Args:
        name: A packaged model by its name, a YAML file by its path, or ``module:attribute``: a mapping in Python, or a
            function without arguments that returns one.

    Raises:
        ConfigError: There is no such model, or it describes none.
    """
    path = Path(name).expanduser()
    bare, stem = path.parent in (Path(), Path("configs")) and not path.is_file(), path.name.removesuffix(".yaml")
    if ":" in name and not path.is_file():
        tree = _of_python(name)
    elif bare and stem not in zoo():
        raise ConfigError(
            unknown("model", stem, zoo(), "in the zoo")
            + "\na model of your own is a YAML file or MODULE:ATTRIBUTE; main zoo list shows the packaged ones"
        )
    else:
        tree = load_config(name)[0]
    if FORMAT_KEY in tree:
        raise ConfigError(f"{name} is the complete config of a run; give it by --config, without a model beside it")
    if not isinstance(tree.get("model"), Mapping):
        raise ConfigError(f"{name} describes no model: it has no 'model'; what goes on top of one is given by --config")
    return tree


def model_text(name: str) -> str:
    """The YAML of a model: its file as it is, or what Python makes of it. The arguments are those of `load_model`."""
    path = Path(name).expanduser()
    if path.is_file():
        return path.read_text()
    stem = path.name.removesuffix(".yaml")
    if ":" not in name and stem in zoo():
        return str(packaged_configs()[stem].read_text())
    return yaml.safe_dump(load_model(name), sort_keys=False)


def _of_python(name: str) -> Tree:
    module_name, _, attribute = name.partition(":")
    try:
        module = import_module(module_name)
    except Exception as error:  # Whatever a module of the user's does.
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ConfigError(
            f"model {name}: cannot import {module_name} ({reason})\n"
            "a module is looked for where the command is given, and among the installed packages"
        ) from None
    if not hasattr(module, attribute):
        known = [key for key in vars(module) if not key.startswith("_")]
        raise ConfigError(unknown("attribute", attribute, known, f"of module {module_name}"))
    found = getattr(module, attribute)
    if callable(found) and not isinstance(found, type):
        try:
            found = found()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise ConfigError(f"model {name}: calling it failed ({reason})") from None
    if not isinstance(found, Mapping):
        what = f"the class {found.__name__}" if isinstance(found, type) else f"of type {type(found).__name__}"
        raise ConfigError(
            f"model {name} is {what}; it must be a mapping of keys to values, as in YAML, or a function that returns "
            "one\nencoders and tasks of your own are named in it by their class_path"
        )
    try:
        text = yaml.safe_dump(dict(found), sort_keys=False)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"model {name} holds what a config cannot: {reason}") from None
    return read_yaml(text, f"model {name}")
