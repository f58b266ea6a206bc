"""Which metrics stand in the line of an epoch; all others are in ``metrics.csv`` and the loggers."""

import re
from collections.abc import Iterable, Mapping, Sequence

MAIN = ("accuracy", "secondary_efficiency", "auc")
"""The metric that stands for a task is the first of these that it has, else the first that it has at all."""

_REJECTION = re.compile(r"rejection_(?P<background>.+)_at_\d+")


def main_metrics(values: Mapping[str, float], tasks: Iterable[str], stage: str = "val") -> dict[str, dict[str, float]]:
    """The metrics to print, by the task and their names: one for a task, and rejections, by which taggers are judged.

    Args:
        values: All metrics, such as ``val/jets_classification/accuracy``.
        tasks: Names of the tasks, in their order.
        stage: In front of the names.
    """
    chosen: dict[str, dict[str, float]] = {}
    for task in tasks:
        start = f"{stage}/{task}/"
        mine = {key.removeprefix(start): value for key, value in values.items() if key.startswith(start)}
        mine = {key: value for key, value in mine.items() if not key.endswith("loss")}
        names = [*_main([key for key in mine if not _REJECTION.fullmatch(key)]), *_rejections(list(mine))]
        if names:
            chosen[task] = {name: mine[name] for name in names}
    return chosen


def _main(names: Sequence[str]) -> list[str]:
    first = next((name for name in MAIN if name in names), next(iter(names), None))
    return [] if first is None else [first]


def _rejections(names: Sequence[str]) -> list[str]:
    """For each background the rejection at the middle one of the signal efficiencies."""
    found: dict[str, list[str]] = {}
    for name in names:
        if match := _REJECTION.fullmatch(name):
            found.setdefault(match["background"], []).append(name)
    return [sorted(each)[len(each) // 2] for each in found.values()]
