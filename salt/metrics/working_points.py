"""Rejections of background classes at chosen efficiencies of a signal class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salt.errors import ConfigError, unknown
from salt.metrics.figures import Curve, Line
from salt.rejection import Floats, Rejection, log_ratio, rejection

FLAVOURS: Mapping[str, float] = {"cjets": 0.2, "ujets": 0.8}
"""Fractions of the b-tagging discriminant where none are given."""

GRID = np.linspace(0.5, 1, 101)
"""Signal efficiencies at which curves are drawn."""


@dataclass(frozen=True)
class Rejections:
    """What a tagger shall reject, and how much of the signal it shall keep.

    A cut is on log(p_signal / sum of fraction * p_background).

    Args:
        signal: The class to keep.
        efficiencies: Shares of the signal that are kept.
        fractions: Share of each background class that the discriminant assumes, adding up to 1; a class that is not
            named has 0. Null for 0.2 of cjets and 0.8 of ujets where these are there and bjets are the signal,
            otherwise for the same of each.
    """

    signal: str = "bjets"
    efficiencies: list[float] | tuple[float, ...] = (0.6, 0.7, 0.77)
    fractions: dict[str, float] | None = None


@dataclass(frozen=True)
class WorkingPoints:
    """The same for known classes.

    Args:
        classes: [C] names, in the order of the probabilities.
        signal: The class to keep.
        efficiencies: [E] shares of it.
        fractions: Of each background class.
    """

    classes: tuple[str, ...]
    signal: str
    efficiencies: tuple[float, ...]
    fractions: Mapping[str, float]

    @property
    def backgrounds(self) -> tuple[str, ...]:
        """The other classes."""
        return tuple(c for c in self.classes if c != self.signal)

    def name(self, background: str, efficiency: float) -> str:
        """Such as ``rejection_cjets_at_70``."""
        return f"rejection_{background}_at_{f'{100 * efficiency:.6g}'.replace('.', 'p')}"


def working_points(asked: Rejections, task: str, classes: Sequence[str]) -> WorkingPoints:
    """Checks what is asked for against the classes.

    Raises:
        ConfigError: It cannot be.
    """
    where = f"in the rejections of task '{task}'"
    if asked.signal not in classes:
        raise ConfigError(unknown("class", asked.signal, classes, where))
    if not asked.efficiencies:
        raise ConfigError(f"task '{task}': rejections.efficiencies is empty; name at least one, or set rejections null")
    for efficiency in asked.efficiencies:
        if not 0 < efficiency <= 1:
            raise ConfigError(f"task '{task}': efficiency {efficiency:g} of rejections must be above 0 and at most 1")
    backgrounds = [c for c in classes if c != asked.signal]
    fractions = asked.fractions
    if fractions is None:
        usual = asked.signal == "bjets" and set(FLAVOURS) <= set(backgrounds)
        fractions = dict(FLAVOURS) if usual else dict.fromkeys(backgrounds, 1 / len(backgrounds))
    for name in fractions:
        if name not in backgrounds:
            raise ConfigError(unknown("background class", name, backgrounds, where))
    if any(f < 0 for f in fractions.values()) or not abs(sum(fractions.values()) - 1) < 1e-6:
        raise ConfigError(
            f"task '{task}': the fractions of rejections are {', '.join(f'{k} {v:g}' for k, v in fractions.items())}; "
            "they are at least 0 and add up to 1"
        )
    return WorkingPoints(tuple(classes), asked.signal, tuple(dict.fromkeys(asked.efficiencies)), fractions)


def rejections(points: WorkingPoints, probability: NDArray[Any], label: NDArray[Any]) -> Mapping[str, float]:
    """Rejections by their names, NaN where there is no signal, or no background or none that passes."""
    found = _found(points, probability, label, np.array(points.efficiencies))
    return _named(points, {background: _finite(each.value) for background, each in found.items()})


def rejection_errors(points: WorkingPoints, probability: NDArray[Any], label: NDArray[Any]) -> Mapping[str, float]:
    """Their statistical errors by the same names, NaN where there is no rejection."""
    found = _found(points, probability, label, np.array(points.efficiencies))
    return _named(points, {background: each.error for background, each in found.items()})


def curve(points: WorkingPoints, probability: NDArray[Any], label: NDArray[Any]) -> Curve | None:
    """Rejections over the efficiency of the signal; None where nothing is known."""
    found = _found(points, probability, label, GRID)
    lines = tuple(Line(background, GRID, _finite(each.value)) for background, each in found.items())
    return Curve(lines, f"efficiency of {points.signal}", "rejection", log_y=True) if lines else None


def _named(points: WorkingPoints, found: Mapping[str, Floats]) -> Mapping[str, float]:
    """[E] numbers of each background by their names, NaN for a background of which there are none."""
    return {
        points.name(background, efficiency): float(found[background][k]) if background in found else float("nan")
        for background in points.backgrounds
        for k, efficiency in enumerate(points.efficiencies)
    }


def _finite(values: Floats) -> Floats:
    """The same, NaN where no jet of the background passes."""
    known: Floats = np.where(np.isfinite(values), values, np.nan)
    return known


def _found(
    points: WorkingPoints, probability: NDArray[Any], label: NDArray[Any], efficiency: Floats
) -> dict[str, Rejection]:
    """The rejections of each background of which there are entries."""
    index = points.classes.index
    background = np.zeros(len(label))
    for name, fraction in points.fractions.items():
        background += fraction * probability[:, index(name)].astype(np.float64)
    score = log_ratio(probability[:, index(points.signal)], background)
    signal = score[label == index(points.signal)]
    if not len(signal) or np.isnan(score).any():
        return {}
    found = {}
    for name in points.backgrounds:
        own = score[label == index(name)]
        if len(own):
            found[name] = rejection(signal, own, efficiency)
    return found
