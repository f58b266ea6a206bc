"""All that is wrong with a config, where reading it ends at the first."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from salt.cli.merge import Tree
from salt.errors import SaltError

T = TypeVar("T")

MOST = 30
"""So many mistakes are looked for."""

LIKELY = 8
"""Of so many values each mistake may be about."""

ABSENT = ("' is missing; ", "are required", "needs a class_path", "no model is described", "there are no tasks")
"""What is said when a value is needed."""


def mistakes(build: Callable[[Tree], T], tree: Tree) -> tuple[list[SaltError], T | None, Tree]:
    """Tries a config, and after each mistake goes on without the value that it is about.

    That is the smallest part of the config without which the mistake is gone. Where one value is only needed by
    others, such as an argument of a task, those are left out with it.

    Args:
        build: Makes what the config describes of it, or raises SaltError.
        tree: The merged config.

    Returns:
        The mistakes; what the rest describes, or None if there is no such rest; and that rest.
    """
    found: list[SaltError] = []
    while len(found) < MOST:
        try:
            return found, build(tree), tree
        except SaltError as error:
            found.append(error)
        rest = _without_mistake(build, tree, str(found[-1]))
        if rest is None:
            break
        tree = rest
    return found, None, tree


def _without_mistake(build: Callable[[Tree], T], tree: Tree, words: str) -> Tree | None:
    for path in _candidates(tree, words):
        rest = without(tree, path)
        try:
            build(rest)
        except SaltError as error:
            if str(error) == words or _is_about_absence(str(error), path[-1]):
                continue
        return rest
    return None


def _is_about_absence(words: str, name: str) -> bool:
    """Whether a mistake is that something was left out."""
    return re.search(rf"\b{re.escape(name)}\b", words) is not None or any(each in words for each in ABSENT)


def _candidates(tree: Tree, words: str) -> Iterator[tuple[str, ...]]:
    """Parts of a config, those that a message names first, small before large."""
    leaves = list(_leaves(tree, ()))
    named = {path: sum(part in words for part in path) + 2 * (str(value) in words) for path, value in leaves}
    likely = sorted((path for path, _ in leaves), key=lambda path: (path[-1] not in words, -named[path]))[:LIKELY]
    tried = set()
    for depth in range(4):
        for path in likely:
            part = path[: len(path) - depth]
            if len(part) > min(depth, 1) and part not in tried and part[-1] != "class_path":
                tried.add(part)
                yield part


def _leaves(tree: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(tree, Mapping) and tree:
        for key, value in tree.items():
            yield from _leaves(value, (*path, str(key)))
    elif path:
        yield path, tree


def without(tree: Mapping[str, Any], path: tuple[str, ...]) -> Tree:
    """A config without one of its parts."""
    first, *rest = path
    if not rest:
        return {key: value for key, value in tree.items() if key != first}
    return {**tree, first: without(tree[first], tuple(rest))}
