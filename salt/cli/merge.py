"""Merging of configs by key at every depth.

The parser that reads the result replaces whole lists and dicts; merging before it sees them is what lets a second file
change one argument of one task or one callback and leave the others as they were.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Tree = dict[str, Any]

SPEC_KEYS = ("class_path", "init_args", "dict_kwargs")
SHORT = {("model", "lrs_config"): "salt.optim.OneCycle"}
"""Classes that need not be named: arguments without a ``class_path`` are theirs."""

OWN_CALLBACKS = {"EarlyStopping": "salt.callbacks.EarlyStopping"}
"""What a bare name means where Lightning has a class of the same name."""

NAMED = (("trainer", "callbacks"),)
"""Lists whose members have names: that of their class, or any if the YAML gives a mapping instead of a list."""


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> Tree:
    """Lays one config over another.

    Mappings merge by key at every depth. Lists and values are replaced, but ``trainer.callbacks`` merges by the names
    of the callbacks. ``null`` removes a member of a mapping and anything else that was inherited. A ``class_path`` of
    another class discards the inherited ``init_args``. Beside a ``class_path``, arguments may stand without
    ``init_args``.

    Args:
        under: The config that is inherited from.
        over: The config that wins.

    Returns:
        A new tree; neither argument is changed.
    """
    return _merge(_explicit(_by_name(under), over), _by_name(over))


def finish(tree: Mapping[str, Any]) -> Tree:
    """The merged tree as the parser expects it: members that are null removed, named lists as lists again."""
    result = _explicit(_pruned(tree, ()))
    for parent, key in NAMED:
        members = result.get(parent, {}).get(key) if isinstance(result.get(parent), Mapping) else None
        if isinstance(members, Mapping):
            result[parent] = {**result[parent], key: [_named(k, v) for k, v in members.items() if v is not None]}
    return result


def with_names(tree: Mapping[str, Any], named: Mapping[str, Any]) -> Tree:
    """A config in short form, whose named lists are mappings again, so that what is laid over it finds their members.

    Args:
        tree: The config as the parser has it.
        named: What was merged before, by which the members have their names.
    """
    result = dict(tree)
    for parent, key in NAMED:
        names = [k for k, v in ((_by_name(named).get(parent) or {}).get(key) or {}).items() if v is not None]
        members = (result.get(parent) or {}).get(key)
        if isinstance(members, list) and len(members) == len(names):
            result[parent] = {**result[parent], key: dict(zip(names, members, strict=True))}
    for (parent, key), cls in SHORT.items():
        spec = (result.get(parent) or {}).get(key)
        if isinstance(spec, Mapping) and spec.get("class_path") == cls:
            result[parent] = {**result[parent], key: dict(spec.get("init_args") or {})}
    return result


def same_class(one: str, other: str) -> bool:
    """Whether two class paths mean one class; a bare name means the class of that name in any module."""
    return one == other or one.endswith(f".{other}") or other.endswith(f".{one}")


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> Tree:
    if "class_path" in under:
        over = _with_init_args(over)
        new_class = over.get("class_path")
        if new_class is not None and not same_class(str(new_class), str(under["class_path"])):
            return dict(over)
    elif "class_path" in over:
        over = _with_init_args(over)
    result = dict(under)
    for key, value in over.items():
        inherited = result.get(key)
        if isinstance(inherited, Mapping) and isinstance(value, Mapping):
            result[key] = _merge(inherited, value)
        elif isinstance(inherited, Mapping) and "class_path" in inherited and isinstance(value, str):
            result[key] = _merge(inherited, {"class_path": value})
        elif isinstance(inherited, str) and isinstance(value, Mapping):
            result[key] = _merge({}, {"class_path": inherited, **value})
        else:
            result[key] = _merge({}, value) if isinstance(value, Mapping) else value
    return result


def _with_init_args(spec: Mapping[str, Any]) -> Tree:
    loose = {k: v for k, v in spec.items() if k not in SPEC_KEYS}
    if not loose:
        return dict(spec)
    kept = {k: v for k, v in spec.items() if k in SPEC_KEYS}
    return {**kept, "init_args": _merge(kept.get("init_args") or {}, loose)}


def from_source(tree: Mapping[str, Any]) -> Tree:
    """A config that names a server of jets, and thereby none of the files that others beneath it name."""
    data = tree.get("data")
    if not isinstance(data, Mapping) or data.get("source") is None:
        return dict(tree)
    return {**tree, "data": {**dict.fromkeys(("train_file", "val_file", "test_file")), **data}}


def _explicit(tree: Mapping[str, Any], over: Mapping[str, Any] | None = None) -> Tree:
    """The tree with the classes that need not be named; if another one is laid over it, with those named there."""
    result = dict(tree)
    for (parent, key), cls in SHORT.items():
        group = result.get(parent)
        if over is not None and "class_path" not in ((over.get(parent) or {}).get(key) or {}):
            continue
        spec = group.get(key, {}) if isinstance(group, Mapping) else None
        if isinstance(spec, Mapping) and "class_path" not in spec:
            result[parent] = {**result[parent], key: _with_init_args({"class_path": cls, **spec})}
    return result


def _pruned(tree: Mapping[str, Any], path: tuple[str, ...]) -> Tree:
    removable = path in (("model", "tasks"), ("data", "inputs"))
    groups = (("trainer",), ("model",), ("data",), ("run",), ("run", "warm_start"))
    result = {}
    for key, value in tree.items():
        if value is None and (removable or (*path, key) in groups):
            continue
        result[key] = _pruned(value, (*path, key)) if isinstance(value, Mapping) else value
    return result


def _by_name(tree: Mapping[str, Any]) -> Tree:
    result = dict(tree)
    for parent, key in NAMED:
        group = result.get(parent)
        if isinstance(group, Mapping) and isinstance(group.get(key), Sequence) and not isinstance(group[key], str):
            result[parent] = {**group, key: _members(group[key])}
    run = result.get("run")
    if isinstance(run, Mapping) and isinstance(run.get("warm_start"), str):
        result["run"] = {**run, "warm_start": {"checkpoint": run["warm_start"]}}
    return result


def _members(specs: Sequence[Any]) -> Tree:
    members: Tree = {}
    for spec in specs:
        spec = {"class_path": spec} if isinstance(spec, str) else spec
        name = str(spec.get("class_path", "")).rpartition(".")[2]
        number = 2
        unique = name
        while unique in members:
            unique, number = f"{name}_{number}", number + 1
        members[unique] = spec
    return members


def _named(name: str, spec: Any) -> Any:
    if isinstance(spec, str):
        spec = {"class_path": spec}
    if isinstance(spec, Mapping):
        spec = _with_init_args({"class_path": name, **spec})
        return {**spec, "class_path": OWN_CALLBACKS.get(spec["class_path"], spec["class_path"])}
    return spec
