"""Rejections of background classes at chosen efficiencies of a signal class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from salt.errors import ConfigError, unknown
from salt.metrics.lists import AnyList, sweep, totals
from salt.rejection import SMALLEST, Floats, Rejection, number_to_keep

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


def discriminant(points: WorkingPoints, probability: Tensor) -> Tensor:
    """[R] float64 of [R, C] probabilities, as `salt.rejection.log_ratio` has it."""
    index = points.classes.index
    background = torch.zeros(len(probability), dtype=torch.float64, device=probability.device)
    for name, fraction in points.fractions.items():
        background = background + fraction * probability[:, index(name)].double()
    signal = probability[:, index(points.signal)].double()
    return signal.clamp(min=SMALLEST).log() - background.clamp(min=SMALLEST).log()


def passing(points: WorkingPoints, lists: Sequence[AnyList], efficiency: Floats) -> Mapping[str, Rejection]:
    """The rejections of each background of which there are entries; none without signal, or with one that is NaN.

    Args:
        points: Who is the signal.
        lists: The discriminants, whose kinds are the classes.
        efficiency: [E] shares of the signal that are to be kept.
    """
    total, signal = totals(lists), points.classes.index(points.signal)
    if not total[signal]:
        return {}
    rejected = total[signal] - number_to_keep(efficiency, total[signal])
    cut, passed, below = np.zeros(len(efficiency)), np.zeros((len(efficiency), len(total))), np.zeros(len(total))
    for piece in sweep(lists):
        if np.isnan(piece.value[-1]):
            return {}
        up_to = below + piece.weight.cumsum(0)
        lower = up_to - piece.weight
        place = np.searchsorted(lower[:, signal], rejected, side="right") - 1
        here = place >= 0
        cut[here], passed[here] = piece.value[place[here]], total - lower[place[here]]
        below = up_to[-1]
    numbers = passed.astype(np.int64)
    return {
        name: Rejection(efficiency, cut, numbers[:, k], int(total[k]))
        for k, name in enumerate(points.classes)
        if k != signal and total[k]
    }
