"""How well probabilities of classes tell the classes apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from salt.metrics.base import Metric
from salt.metrics.figures import Curve, Figure, Line
from salt.metrics.sample import BOUND, Sample
from salt.metrics.working_points import WorkingPoints, curve, rejection_errors, rejections

NAN = float("nan")

OTHERS, OWN = 0, 1
"""Kinds of entries, as seen by one class."""


@dataclass(frozen=True, eq=False)
class Scores(Metric):
    """Areas under ROC curves, and rejections of background.

    The area of class c is the share of pairs of an entry of class c and one of another class in which the former has
    the larger probability of c, equal ones counting a half. ``auc`` is the mean over the classes that occur.

    Args:
        sample: The [R, C] probabilities, of kind `OWN` for the true class of an entry and `OTHERS` for the rest.
        classes: [C] names.
        points: What to reject at which efficiency; None for nothing.
    """

    sample: Sample
    classes: tuple[str, ...]
    points: WorkingPoints | None = None

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
        return cls(Sample(values, kind, 2, BOUND if bounded else None), classes, points)

    @classmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """The entries of all."""
        return replace(parts[0], sample=Sample.merged([part.sample for part in parts]))

    @property
    def size(self) -> int:
        """R."""
        return len(self.sample.values)

    def values(self) -> Mapping[str, float]:
        """``auc``, ``auc_<class>`` and ``rejection_<class>_at_<efficiency in percent>``."""
        areas = {f"auc_{c}": _area(*found) for c, found in zip(self.classes, self._ranked, strict=True)}
        known = [area for area in areas.values() if area == area]
        mean = sum(known) / len(known) if known else NAN
        return {"auc": mean, **areas, **(rejections(self.points, *self._jets) if self.points else {})}

    def errors(self) -> Mapping[str, float]:
        """Those of the rejections, from the binomial error of the mistag rate."""
        return rejection_errors(self.points, *self._jets) if self.points else {}

    def figures(self) -> Mapping[str, Figure]:
        """``roc`` of each class that occurs, and ``rejection`` over the efficiency."""
        found = [_roc(c, *ranked) for c, ranked in zip(self.classes, self._ranked, strict=True)]
        lines = tuple(line for line in found if line is not None)
        figures: dict[str, Figure] = {}
        if lines:
            figures["roc"] = Curve(lines, "share of the others that passes", "share of the class that passes")
        if self.points is not None and (drawn := curve(self.points, *self._jets)) is not None:
            figures["rejection"] = drawn
        return figures

    @cached_property
    def _ranked(self) -> list[tuple[Tensor, Tensor]]:
        points = self.sample.points()
        return [points.sorted(k) for k in range(len(self.classes))]

    @cached_property
    def _jets(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """[R, C] probabilities and [R] classes of what has a label."""
        labelled = self.sample.kind[:, 0] >= 0
        label = self.sample.kind[labelled].argmax(1)
        return self.sample.values[labelled].cpu().numpy(), label.cpu().numpy()


def _area(value: Tensor, weight: Tensor) -> float:
    others, own = weight.unbind(-1)
    below = others.cumsum(0) - others / 2
    pairs = others.sum() * own.sum()
    return float((own * below).sum() / pairs) if pairs > 0 and not value.isnan().any() else NAN


def _roc(name: str, value: Tensor, weight: Tensor) -> Line | None:
    """At most some 400 points of the curve, even in both directions."""
    totals = weight.sum(0)
    if not (totals > 0).all() or value.isnan().any():
        return None
    shares = (weight.flip(0).cumsum(0) / totals).cpu().numpy()
    shares = np.concatenate([np.zeros((1, 2)), shares])
    grid = np.linspace(0, 1, 201)
    chosen = np.unique(np.concatenate([np.searchsorted(shares[:, kind], grid) for kind in (OTHERS, OWN)]))
    chosen = chosen.clip(max=len(shares) - 1)
    return Line(name, shares[chosen, OTHERS], shares[chosen, OWN])
