"""How well probabilities of classes tell the classes apart."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from salt.metrics.base import Metric
from salt.metrics.figures import Curve, Figure, Line
from salt.metrics.lists import AnyList, Scratch, sweep, totals
from salt.metrics.sample import BOUND, Sample
from salt.metrics.working_points import GRID, WorkingPoints, discriminant, passing
from salt.rejection import Floats, Rejection

NAN = float("nan")

OTHERS, OWN = 0, 1
"""Kinds of entries, as seen by one class."""

STEPS = 200
"""A ROC curve has a point wherever one of its shares gets over another of so many steps."""


@dataclass(frozen=True, eq=False)
class Scores(Metric):
    """Areas under ROC curves, and rejections of background.

    The area of class c is the share of pairs of an entry of class c and one of another class in which the former has
    the larger probability of c, equal ones counting a half. ``auc`` is the mean over the classes that occur. The error
    of an area is that of DeLong, DeLong and Clarke-Pearson (Biometrics 44, 837): for each entry its share of the other
    kind that it is ordered right with, the variances of these shares over the numbers of entries.

    Args:
        sample: The [R, C] probabilities, of kind `OWN` for the true class of an entry and `OTHERS` for the rest.
        classes: [C] names.
        points: What to reject at which efficiency; None for nothing.
        cuts: The [R, 1] discriminants of that, whose kinds are the classes.
    """

    sample: Sample
    classes: tuple[str, ...]
    points: WorkingPoints | None = None
    cuts: Sample | None = None

    @classmethod
    def of(
        cls,
        probability: Tensor,
        label: Tensor,
        classes: tuple[str, ...],
        points: WorkingPoints | None = None,
        bounded: bool = False,
    ) -> Self:
        """From [R, C] probabilities and [R] labels, -1 for none.

        Args:
            probability: The probabilities.
            label: The labels.
            classes: The names of the classes.
            points: What to reject at which efficiency.
            bounded: Whether memory is bounded, by values in groups beyond `BOUND` entries. Not with working points.
        """
        own = label[:, None] == torch.arange(len(classes), device=label.device)
        kind = torch.where(label[:, None] >= 0, own.to(torch.int8), -1)
        values = probability.detach().float()
        sample = Sample(values, kind, 2, BOUND if bounded else None)
        if points is None:
            return cls(sample, classes)
        cuts = Sample(discriminant(points, values)[:, None], label[:, None].to(torch.int8), len(classes))
        return cls(sample, classes, points, cuts)

    @classmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """The entries of all."""
        cuts = [part.cuts for part in parts if part.cuts is not None]
        sample = Sample.merged([part.sample for part in parts])
        return replace(parts[0], sample=sample, cuts=Sample.merged(cuts) if cuts else None)

    @property
    def size(self) -> int:
        """Entries in memory."""
        return self.sample.size

    def spilt(self, scratch: Scratch) -> Self:
        """The same with its entries in a file, unless memory is bounded."""
        cuts = None if self.cuts is None else self.cuts.spilt(scratch)
        return replace(self, sample=self.sample.spilt(scratch), cuts=cuts)

    def pieces(self) -> Iterator[Self]:
        """The same in parts."""
        if self.cuts is None:
            return (replace(self, sample=piece) for piece in self.sample.pieces())
        both = zip(self.sample.pieces(), self.cuts.pieces(), strict=True)
        return (replace(self, sample=sample, cuts=cuts) for sample, cuts in both)

    def values(self) -> Mapping[str, float]:
        """``auc``, ``auc_<class>`` and ``rejection_<class>_at_<efficiency in percent>``."""
        areas = {f"auc_{c}": area for c, (area, *_) in zip(self.classes, self._ranked, strict=True)}
        known = [area for area in areas.values() if area == area]
        mean = sum(known) / len(known) if known else NAN
        return {"auc": mean, **areas, **self._at_points({c: r.finite for c, r in self._rejections.items()})}

    def errors(self) -> Mapping[str, float]:
        """Those of the areas, and of the rejections from the binomial error of the mistag rate."""
        areas = {f"auc_{c}": error for c, (_, error, _) in zip(self.classes, self._ranked, strict=True)}
        return {**areas, **self._at_points({c: r.error for c, r in self._rejections.items()})}

    def figures(self) -> Mapping[str, Figure]:
        """``roc`` of each class that occurs, and ``rejection`` over the efficiency."""
        figures: dict[str, Figure] = {}
        if lines := tuple(line for *_, line in self._ranked if line is not None):
            figures["roc"] = Curve(lines, "share of the others that passes", "share of the class that passes")
        if self.points is not None and (found := self._rejections):
            drawn = tuple(Line(c, GRID, each.finite[-len(GRID) :]) for c, each in found.items())
            name = f"efficiency of {self.points.signal}"
            figures["rejection"] = Curve(drawn, name, "rejection", log_y=True)
        return figures

    @cached_property
    def _ranked(self) -> list[tuple[float, float, Line | None]]:
        """For each class the area under its curve with its error, and the curve."""
        return [_area(c, self.sample.lists(k)) for k, c in enumerate(self.classes)]

    @cached_property
    def _rejections(self) -> Mapping[str, Rejection]:
        """Those of each background that there is, at the wanted efficiencies and then at those of the grid."""
        if self.points is None or self.cuts is None:
            return {}
        return passing(self.points, self.cuts.lists(0), np.concatenate([self.points.efficiencies, GRID]))

    def _at_points(self, found: Mapping[str, Floats]) -> dict[str, float]:
        """[E ...] numbers of each background by their names, NaN for a background of which there are none."""
        if self.points is None:
            return {}
        return {
            self.points.name(c, efficiency): float(found[c][k]) if c in found else NAN
            for c in self.points.backgrounds
            for k, efficiency in enumerate(self.points.efficiencies)
        }


def _area(name: str, lists: Sequence[AnyList]) -> tuple[float, float, Line | None]:
    """The area under the ROC curve of a class and its error, NaN where there is none, and 400 points of the curve."""
    total = totals(lists)
    if not (total > 0).all():
        return NAN, NAN, None
    below, pairs, squares, corners = np.zeros(2), 0.0, np.zeros(2), [np.zeros((0, 2))]
    for piece in sweep(lists):
        if np.isnan(piece.value[-1]):
            return NAN, NAN, None
        up_to = below + piece.weight.cumsum(0)
        middle = up_to - piece.weight / 2
        pairs += float(piece.weight[:, OWN] @ middle[:, OTHERS])
        # The shares of the other kind that each entry is ordered wrongly with.
        squares[OWN] += piece.weight[:, OWN] @ (1 - middle[:, OTHERS] / total[OTHERS]) ** 2
        squares[OTHERS] += piece.weight[:, OTHERS] @ (middle[:, OWN] / total[OWN]) ** 2
        passing, fewer = total - up_to + piece.weight, total - up_to
        chosen = (passing * STEPS // total > fewer * STEPS // total).any(1)
        corners.append(passing[chosen] / total)
        below = up_to[-1]
    curve = np.concatenate([*corners, np.zeros((1, 2))])[::-1]
    area = pairs / float(total.prod())
    return area, _error(area, squares, total), Line(name, curve[:, OTHERS], curve[:, OWN])


def _error(area: float, squares: Floats, total: Floats) -> float:
    """From the [2] sums of the squares of the shares of each kind, and their [2] numbers."""
    if (total < 2).any():
        return NAN
    variances = (squares - total * (1 - area) ** 2) / (total - 1)
    return float(np.sqrt((variances.clip(min=0) / total).sum()))
