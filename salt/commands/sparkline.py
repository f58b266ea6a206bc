"""Curves in a line of text."""

from collections.abc import Sequence

from salt.runs.curves import Curve

LEVELS = "▁▂▃▄▅▆▇█"


def sparklines(curves: Sequence[Curve], width: int) -> list[str]:
    """Draws curves so that they can be compared: with the same steps from left to right and the same scale.

    Args:
        curves: What to draw.
        width: Characters of a line. Each stands for a range of steps and shows the mean of the values there; a range
            without any shows the value before it, and nothing after the end of a curve.

    Returns:
        A line for each curve.
    """
    last = max(curve.steps[-1] for curve in curves)
    means = [_means(curve, width, last + 1) for curve in curves]
    every = [value for line in means for value in line]
    low, high = min(every), max(every)
    return ["".join(_level(value, low, high) for value in line) for line in means]


def _means(curve: Curve, width: int, length: int) -> list[float]:
    filled: dict[int, list[float]] = {}
    for step, value in zip(curve.steps, curve.values, strict=True):
        filled.setdefault(step * width // length, []).append(value)
    means: list[float] = []
    before = curve.values[0]
    for place in range(max(filled) + 1):
        if place in filled:
            before = sum(filled[place]) / len(filled[place])
        means.append(before)
    return means


def _level(value: float, low: float, high: float) -> str:
    if high <= low:
        return LEVELS[0]
    return LEVELS[min(len(LEVELS) - 1, int((value - low) / (high - low) * len(LEVELS)))]
