"""Configs compared value by value."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ABSENT = object()


@dataclass(frozen=True)
class Difference:
    """A value that two configs do not share.

    Args:
        key: Such as ``trainer.max_epochs``.
        old: Its text in the first; empty where it is not set.
        new: Its text in the second.
    """

    key: str
    old: str
    new: str


def read_config(path: Path) -> dict[str, Any]:
    """A saved config as a tree."""
    # The parser in C is ten times as fast.
    tree = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return tree if isinstance(tree, dict) else {}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """The values in which two configs differ, in the order of the second."""
    before, after = dict(_leaves(old, "")), dict(_leaves(new, ""))
    return [
        Difference(key, _text(before.get(key, ABSENT)), _text(after.get(key, ABSENT)))
        for key in dict.fromkeys([*after, *before])
        if before.get(key, ABSENT) != after.get(key, ABSENT)
    ]


def _leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """All values by their keys; members of a list that are classes have the names of those."""
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            inner = path if key == "init_args" else f"{path}.{key}" if path else str(key)
            yield from _leaves(value, inner)
    elif isinstance(node, list) and node and all(isinstance(each, Mapping) and "class_path" in each for each in node):
        for each in node:
            yield from _leaves(each, f"{path}.{str(each['class_path']).rpartition('.')[2]}")
    elif path:  # Not of a config without any value.
        yield path, node


def _text(value: Any) -> str:
    if value is ABSENT:
        return ""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
