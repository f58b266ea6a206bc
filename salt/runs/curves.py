"""Metrics of a run against its steps, read from ``metrics.csv``, and which epoch was the best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from salt.runs.metrics import Row, read_rows

NOT_METRICS = ("epoch", "step")


@dataclass(frozen=True)
class Curve:
    """One metric of a run.

    Args:
        steps: The steps at which it was logged, counted from 0.
        values: Its values there, all finite.
    """

    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Best:
    """The best validation of a run.

    Args:
        metric: By which it is the best.
        value: Of the metric.
        epoch: Counted from 1.
        step: Optimiser steps that were done.
    """

    metric: str
    value: float
    epoch: int
    step: int


def read_curves(path: Path) -> dict[str, Curve]:
    """The metrics of a file by their names, without those that are never finite; none where there is no file."""
    if not path.is_file():
        return {}
    columns, rows = read_rows(path)
    found = {}
    for column in columns:
        points = [(int(row["step"]), value) for row in rows if (value := _number(row, column)) is not None]
        if column not in NOT_METRICS and points:
            steps, values = zip(*points, strict=True)
            found[column] = Curve(steps, values)
    return found


def best_epoch(path: Path, config: Mapping[str, Any]) -> Best | None:
    """The best epoch by the metric that the config has checkpoints compared by; None before any validation."""
    metric, mode = _monitor(config)
    if not path.is_file():
        return None
    scored = [(value, row) for row in read_rows(path)[1] if (value := _number(row, metric)) is not None]
    if not scored:
        return None
    value, row = (min if mode == "min" else max)(scored, key=lambda each: each[0])
    return Best(metric, value, int(row.get("epoch") or 0) + 1, int(row["step"]) + 1)


def _monitor(config: Mapping[str, Any]) -> tuple[str, str]:
    """Metric and mode of the ``Checkpoint`` callback."""
    trainer = config.get("trainer")
    callbacks = trainer.get("callbacks") if isinstance(trainer, Mapping) else None
    for each in callbacks if isinstance(callbacks, Sequence) else ():
        if isinstance(each, Mapping) and str(each.get("class_path", "")).rpartition(".")[2] == "Checkpoint":
            arguments = each.get("init_args") or {}
            return str(arguments.get("monitor", "val/loss")), str(arguments.get("mode", "min"))
    return "val/loss", "min"


def _number(row: Row, column: str) -> float | None:
    try:
        value = float(row.get(column, ""))
    except ValueError:
        return None
    return value if isfinite(value) else None
