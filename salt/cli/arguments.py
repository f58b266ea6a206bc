"""Where a config comes from: packaged and own YAML files, the environment, and flags."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from salt.cli.configs import CONFIG_FORMAT, FORMAT_KEY, base_config, load_config, load_model, zoo
from salt.cli.merge import Tree, from_source, merge
from salt.cli.short_forms import FORMS, written_out
from salt.errors import ConfigError, unknown

VERBS = ("fit", "validate", "test", "predict")

REPEATED = ("--data.test_file",)
"""Flags that can be given several times, each for one member of a list."""

SWITCHES = {"--overwrite": "overwrite", "--compile": "compile", "--quiet": "quiet"}
"""Flags that need no value."""


@dataclass(frozen=True)
class Arguments:
    """A command line, taken apart.

    Args:
        configs: Values of ``--config``, in order.
        flags: All other options as a tree; values are strings, lists or mappings.
        help: The words that ask for help, if any do.
        print_config: Whether the merged config is to be printed instead of a run.
        words: The command line as it is.
        model: Value of ``--model``, which lies beneath the configs.
    """

    configs: tuple[str, ...] = ()
    flags: Tree = field(default_factory=dict)
    help: tuple[str, ...] = ()
    print_config: bool = False
    words: tuple[str, ...] = ()
    model: str | None = None


def parse_flags(argv: Sequence[str]) -> Arguments:
    """Takes apart what follows the verb: ``--key value``, ``--key=value``, short forms and ``--help``."""
    configs: list[str] = []
    model: str | None = None
    flags: Tree = {}
    wanted_help: tuple[str, ...] = ()
    print_config = False
    repeated: dict[str, list[Any]] = {}
    words = iter(_switched(written_out(argv, (*SWITCHES, "--print_config"))))
    for word in words:
        if not word.startswith("-"):
            quotes = "; a wildcard is put in quotes, '*.h5'" if Path(word).suffix == ".h5" else ""
            raise ConfigError(
                f"'{word}' stands alone; an option and its value are written --key value or --key=value{quotes}"
            )
        key, has_value, value = word.partition("=")
        if key in ("-h", "--help"):
            wanted_help = ("--help",)
        elif key.endswith(".help"):
            wanted_help = (word, *words)
        elif key == "--print_config":
            print_config = True
        elif key in SWITCHES and not has_value:
            flags = merge(flags, {SWITCHES[key]: True})
        else:
            if not has_value:
                following = next(words, None)
                if following is None or (following.startswith("--") and len(following) > 2):
                    raise ConfigError(f"option {key} needs a value: {key} VALUE")
                value = following
            if key in ("--config", "-c"):
                configs.append(value)
            elif key == "--model":
                model = value
            elif not key.startswith("--"):
                short = [name for form in FORMS for name in form.names if not name.startswith("--")]
                raise ConfigError(unknown("short form", key, short))
            else:
                meant = _flag_value(value)
                if key in REPEATED and meant is not None:
                    members = repeated.setdefault(key, [])
                    members += meant if isinstance(meant, list) else [meant]
                    meant = members if isinstance(meant, list) or len(members) > 1 else meant
                flags = merge(flags, nest(key[2:].split("."), meant))
    return Arguments(tuple(configs), flags, wanted_help, print_config, tuple(argv), model)


def _switched(argv: Sequence[str]) -> list[str]:
    """The words, with ``--switch true`` and ``--switch false`` written as one."""
    joined: list[str] = []
    for word in argv:
        if joined and joined[-1] in SWITCHES and word.lower() in ("true", "false"):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def nest(keys: Sequence[str], value: Any) -> Tree:
    """The tree that holds one value at ``keys``."""
    tree = value
    for key in reversed(keys):
        tree = {key: tree}
    return dict(tree)


def _flag_value(text: str) -> Any:
    """Lists, mappings, truth values and null as YAML reads them; else text for the parser, which knows its type."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return value if value is None or isinstance(value, list | dict | bool) else text


@dataclass(frozen=True)
class Layers:
    """The configs of one command, merged.

    Args:
        tree: base, environment, model, files and flags, later ones over earlier ones.
        run: The folder of the saved config among them, if there is one.
        asked: What was asked for on top of a saved config, or by flags alone where there is none.
    """

    tree: Tree
    run: Path | None
    asked: Tree


def merge_layers(arguments: Arguments, environment: Mapping[str, Any]) -> Layers:
    """Lays base.yaml, environment, model, config files and flags over each other.

    A saved config is complete: with one among the files there is no base beneath them.
    """
    trees: list[Tree] = []
    run: Path | None = None
    saved = False
    asked: Tree = {}
    for name in arguments.configs:
        tree, path = load_config(name)
        tree = from_source(tree)
        in_full = FORMAT_KEY in tree or (path is None and Path(name).name.removesuffix(".yaml") in zoo())
        if arguments.model is not None and in_full:
            raise ConfigError(
                f"-m {arguments.model} and {name} describe a model each, and both in full; give one of them"
            )
        version = tree.pop(FORMAT_KEY, None)
        if version is not None:
            if not isinstance(version, int) or version > CONFIG_FORMAT:
                raise ConfigError(
                    f"{name} has {FORMAT_KEY} {version}, this version of Salt reads up to {CONFIG_FORMAT}"
                )
            saved = True
            run = path.parent if path else None
            asked = {}
        elif saved:
            asked = merge(asked, tree)
        trees.append(tree)
    result = merge({} if saved else base_config(), from_source(environment))
    if arguments.model is not None:
        result = merge(result, from_source(load_model(arguments.model)))
    for tree in trees:
        result = merge(result, tree)
    flags = from_source(arguments.flags)
    return Layers(merge(result, flags), run, merge(asked, flags))


COMET_NAMES = {
    "PL_TRAINER__LOGGER__API_KEY": "COMET_API_KEY",
    "PL_TRAINER__LOGGER_API_KEY": "COMET_API_KEY",
    "PL_TRAINER__LOGGER_WORKSPACE": "COMET_WORKSPACE",
    "PL_TRAINER__LOGGER__WORKSPACE": "COMET_WORKSPACE",
}
"""Names by which users set up Comet, and those by which the SDK reads them. The key never enters a config."""


def adopt_comet_names(environ: Mapping[str, str]) -> dict[str, str]:
    """What to add to the environment so that Comet's SDK sees what was set under Salt's names."""
    found: dict[str, str] = {}
    for ours, theirs in COMET_NAMES.items():
        for name in (ours, ours.replace("PL_", "PL_FIT__", 1)):
            if environ.get(name):
                found.setdefault(theirs, environ[name])
    return found


def environment_names(environ: Mapping[str, str], verb: str) -> Iterator[tuple[str, list[str], str, bool]]:
    """Options set in the environment.

    Yields:
        The name, the keys it stands for in lower case, its value, and whether it concerns this verb.
    """
    for name, value in sorted(environ.items()):
        if not name.startswith("PL_") or name in COMET_NAMES:
            continue
        keys = name.removeprefix("PL_").lower().split("__")
        concerned = True
        if keys[0] in VERBS and len(keys) > 1:
            concerned = keys[0] == verb
            keys = keys[1:]
            if f"PL_{'__'.join(keys).upper()}" in COMET_NAMES:
                continue
        elif keys[0] not in ("trainer", "data", "model", "run") or len(keys) < 2:
            continue
        yield name, keys, value, concerned


def read_environment(options: Sequence[str], trees: Sequence[Mapping[str, Any]], verb: str) -> Tree:
    """The tree that the environment sets.

    Args:
        options: All options of the parser, such as ``trainer.max_epochs``.
        trees: Configs whose keys also exist, such as the names of tasks.
        verb: The verb of the command.

    Raises:
        ConfigError: A name matches no option.
    """
    result: Tree = {}
    for name, keys, value, concerned in environment_names(os.environ, verb):
        found = _match(keys, options, trees)
        if found is None:
            known = [f"PL_{'__'.join(o.upper().split('.'))}" for o in options if "." in o]
            plain = f"PL_{'__'.join(keys).upper()}"
            raise ConfigError(unknown("option", plain, known, f"(environment variable {name})"))
        if concerned:
            result = merge(result, nest(found, _flag_value(value)))
    return result


def _match(keys: Sequence[str], options: Sequence[str], trees: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """The keys as the options or the trees spell them; below a known option with members anything is left to it."""
    spelled = {o.lower(): o for o in options}
    if ".".join(keys) in spelled:
        return spelled[".".join(keys)].split(".")
    for tree in trees:
        node: Any = tree
        path: list[str] = []
        for number, key in enumerate(keys):
            if not isinstance(node, Mapping):
                break
            exact = next((k for k in node if k.lower() == key), None)
            if exact is None and "class_path" in node and number == len(keys) - 1:
                return [*path, key]
            if exact is None:
                break
            path.append(exact)
            node = node[exact]
        else:
            return path
    return None
