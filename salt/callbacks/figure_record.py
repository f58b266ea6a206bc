"""What a metric can show, as plain values that another process understands."""

import math
from typing import Any

from salt.metrics.figures import Confusion, Figure


def to_record(name: str, figure: Figure, step: int, epoch: int | None) -> dict[str, Any]:
    """A figure as plain values, of which JSON can be made."""
    place = {"name": name, "step": step, "epoch": epoch}
    if isinstance(figure, Confusion):
        return {**place, "kind": "confusion", "counts": figure.counts.tolist(), "classes": list(figure.classes)}
    lines = [{"name": line.name, "x": _numbers(line.x), "y": _numbers(line.y)} for line in figure.lines]
    axes = {"x_label": figure.x_label, "y_label": figure.y_label, "log_y": figure.log_y}
    return {**place, "kind": "curve", "lines": lines, **axes}


def _numbers(values: Any) -> list[float | None]:
    """Six digits of each; JSON has no NaN and no infinity."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values]
