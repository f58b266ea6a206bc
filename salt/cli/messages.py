"""The parser's complaints in one line, with the full key and the nearest names."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from inspect import signature
from typing import Any

from salt.errors import ConfigError, unknown

TYPES = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping",
    "NoneType": "null",
}


CLASSES = {
    "trainer.logger": ("Comet", "TensorBoardLogger", "WandbLogger", "MLFlowLogger", "CSVLogger"),
    "model.lrs_config": ("OneCycle", "Cosine", "Constant"),
}
"""What is usually named there."""


def plain(message: str, tree: Mapping[str, Any], options: Sequence[str]) -> ConfigError:
    """Turns a message of the parser into one that names the key, the value and what is expected.

    Args:
        message: What the parser said.
        tree: The merged config it was given.
        options: All options that exist.
    """
    refused = re.search(r"does not accept (?:option|key) '([^']+)'", message)
    if refused:
        return unknown_option(refused[1], options)
    required = re.search(r'[Kk]ey "([^"]+)" is required', message) or re.search(
        r"Option '([^']+)' is required", message
    )
    if required:
        return ConfigError(f"'{required[1]}' is missing; set it in the config or with --{required[1]}")
    key_match = re.search(r'(?:Parser key|Validation failed: Key) "([^"]+)"', message)
    key = key_match[1] if key_match else ""
    inner = re.findall(r"Option '([^']+)' is not accepted", message)
    if inner:
        return ConfigError(
            unknown("option", inner[0], _fields(message), f"under {_holder(tree, key, inner[0]) or key}")
        )
    not_there = re.search(r"Problem with given class_path '([^']+)':\s+((?:No )?[Mm]odule .+)", message)
    if not_there and not not_there[1].startswith("salt."):
        return ConfigError(f"{key}: cannot import {not_there[1]}: {not_there[2]}")
    if not_there:
        return _unknown_class(key, key, not_there[1])
    missing_class = re.search(
        r"(?:Expected a dot import path string|Import of .*failed|Unable to import).*?:? ([\w.]+)", message
    )
    if missing_class and "dot import path" in message:
        return _unknown_class(key, _leaf(tree, key, missing_class[1]), missing_class[1])
    given = re.findall(r"Given value: (.+?)(?:\. Got value: Namespace.*)?$", message, flags=re.MULTILINE)
    got = re.findall(r"Got value: (.+?)(?:\. Got value: Namespace.*)?$", message, flags=re.MULTILINE)
    wanted = re.findall(r"Expected an? (.+?)(?:\. Got value.*)?$", message, re.M)
    if got and given and given[-1].startswith("{'class_path'"):  # One argument of a class, not the class, is wrong.
        given, wanted = [], re.findall(r"Expected an? (.+?)\. Got value", message)
    value = (given or got or [None])[-1]
    expected = list(dict.fromkeys(_words(e) for e in wanted))
    if value is not None and expected:
        what = " or ".join(e for e in expected if e)
        return ConfigError(f"{_leaf(tree, key, value)} is {_short(value)}; it must be {what}")
    lines = [line.strip(" -") for line in message.splitlines() if line.strip()]
    return ConfigError(f"{key}: {' '.join(lines)[:300]}" if key and key not in lines[0] else " ".join(lines)[:300])


def _unknown_class(key: str, place: str, name: str) -> ConfigError:
    """For a class that is not there, with the nearest names where it is known what usually is."""
    if key not in CLASSES:
        return ConfigError(f"{place}: there is no class '{name}'")
    return ConfigError(unknown("class", name.rpartition(".")[2], CLASSES[key], f"in {key}"))


def unknown_option(name: str, options: Sequence[str]) -> ConfigError:
    """The error for an option that does not exist."""
    last = name.rpartition(".")[2]
    same_end = [o for o in options if o.rpartition(".")[2] == last]
    if same_end:
        return ConfigError(f"unknown option '{name}'; nearest: {', '.join(same_end[:3])}")
    leaves = [option for option in options if "." in option or "." not in name]
    return ConfigError(unknown("option", name, leaves))


def check_specs(tree: Mapping[str, Any]) -> None:
    """Checks the arguments of every class that the config names against the class.

    Raises:
        ConfigError: An argument that the class does not have, with its full key and the nearest names.
    """
    _check_class_paths(tree)
    _check_optimizer(tree)
    _check_adversary(tree)
    for path, spec in _specs(tree, ""):
        cls = _resolve(str(spec["class_path"]))
        arguments = spec.get("init_args")
        if cls is None or not isinstance(arguments, Mapping):
            continue
        parameters = signature(cls).parameters
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            continue
        names = [
            k for k, p in parameters.items() if not (p.kind is p.KEYWORD_ONLY and cls.__module__.startswith("salt."))
        ]
        for argument in arguments:
            if argument in parameters and argument not in names:
                raise ConfigError(f"{path}.{argument} is set by the model itself; remove it")
            if argument not in parameters:
                raise ConfigError(unknown("option", f"{path}.{argument}", [f"{path}.{n}" for n in names]))


def _check_class_paths(tree: Mapping[str, Any]) -> None:
    """Tasks and callbacks that were never given a class, most often because their name is misspelt."""
    tasks = (tree.get("model") or {}).get("tasks") or {}
    for name, spec in tasks.items():
        if not isinstance(spec, str) and not (isinstance(spec, Mapping) and "class_path" in spec):
            others = [other for other in tasks if other != name]
            raise ConfigError(unknown("task", name, others, "in model.tasks") + "; a new one needs a class_path")


def _check_adversary(tree: Mapping[str, Any]) -> None:
    """Its options say what it must not read; where that is left out the parser says only that they do not fit."""
    options = (tree.get("model") or {}).get("adversary")
    if isinstance(options, Mapping) and "class_path" not in options and options.get("nuisance") is None:
        given = ", ".join(f"model.adversary.{key}" for key in options if key != "nuisance") or "model.adversary"
        raise ConfigError(f"{given}: there is no adversary without model.adversary.nuisance; name a variable with -G")


def _check_optimizer(tree: Mapping[str, Any]) -> None:
    """What the schedule decides is no option of the optimiser."""
    spec = (tree.get("model") or {}).get("optimizer")
    arguments = (spec.get("init_args") or {}) if isinstance(spec, Mapping) else {}
    for argument, ours in {"lr": "the rates", "weight_decay": "weight_decay", "params": "no parameters"}.items():
        if argument in arguments:
            raise ConfigError(f"model.optimizer.{argument}: remove it; model.lrs_config has {ours} of any optimizer")


def _specs(tree: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(tree, Mapping):
        if "class_path" in tree:
            yield path, tree
        for key, value in tree.items():
            yield from _specs(value, f"{path}.{key}" if path else str(key))
    elif isinstance(tree, list):
        for number, value in enumerate(tree):
            yield from _specs(value, f"{path}[{number}]")


SEARCHED = (
    "salt.nn",
    "salt.tasks",
    "salt.optim",
    "salt.callbacks",
    "torch.optim",
    "lightning.pytorch.callbacks",
    "lightning.pytorch.loggers",
)


def _resolve(name: str) -> Any:
    module, _, cls = name.rpartition(".")
    for candidate in [module] if module else SEARCHED:
        try:
            found = getattr(import_module(candidate), cls, None)
        except ImportError:
            continue
        if found is not None:
            return found
    return None


def _leaves(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, tree


def _subtree(tree: Mapping[str, Any], key: str) -> Any:
    node: Any = tree
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node


def _leaf(tree: Mapping[str, Any], key: str, text: str) -> str:
    """The full key of the value that the parser printed; the parser names only the option that holds it."""
    candidates = [path for path, value in _leaves(_subtree(tree, key), key) if str(value) == text.strip("'\"")]
    return candidates[0].replace(".init_args", "") if candidates else key


def _holder(tree: Mapping[str, Any], key: str, argument: str) -> str | None:
    for path, _ in _leaves(_subtree(tree, key), key):
        before, found, _ = path.partition(f".{argument}")
        if found:
            return before.replace(".init_args", "")
    return None


def _fields(message: str) -> list[str]:
    path = re.search(r"class_path '([\w.]+)'", message) or re.search(r"class_path='([\w.]+)'", message)
    cls = _resolve(path[1]) if path else None
    return list(signature(cls).parameters) if cls is not None else []


def _words(expected: str) -> str:
    name = re.fullmatch(r"<class '([\w.]+)'>", expected.strip())
    if name:
        return TYPES.get(name[1], name[1].rpartition(".")[2])
    literal = re.search(r"Literal\[(.+)\]", expected)
    return f"one of {literal[1]}" if literal else expected.strip()


def _short(value: str) -> str:
    try:
        return repr(ast.literal_eval(value))[:80]
    except (ValueError, SyntaxError):
        return f"'{value[:80]}'"
