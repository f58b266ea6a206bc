"""Whether a nuisance can be read from scores, and what a cut on them does to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import log, sqrt
from typing import Self, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from salt.metrics.base import Metric
from salt.metrics.figures import Curve, Figure, Line
from salt.metrics.probe import read
from salt.rejection import number_to_keep

MOST = 2**19
"""Of so many jets of a device, the first ones, it is measured."""

EFFICIENCY = 0.5
"""The share of the signal that passes the cut."""

Counts: TypeAlias = NDArray[np.int64]

VALUES = ("loss", "readable", "jsd", "jsd_by_chance", "rejection")


@dataclass(frozen=True, eq=False)
class Decorrelation(Metric):
    """How far the nuisance of background jets is independent of their scores.

    Args:
        scores: [R, C] of jets.
        bins: [R] their bin of the nuisance; -1 for jets that are no background.
        cuts: [R] what is cut on.
        signal: [R] whether a jet is one of the signal.
        centres: [K] the middle of each bin.
        nuisance: What it is called.
    """

    scores: Tensor
    bins: Tensor
    cuts: Tensor
    signal: Tensor
    centres: tuple[float, ...]
    nuisance: str

    @classmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """The jets of all, up to `MOST` of them, without those that are neither signal nor background."""
        scores, bins, cuts, signal = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("scores", "bins", "cuts", "signal")
        )
        wanted = ((bins >= 0) | signal).nonzero()[:MOST, 0]
        return replace(parts[0], scores=scores[wanted], bins=bins[wanted], cuts=cuts[wanted], signal=signal[wanted])

    def values(self) -> Mapping[str, float]:
        """What a fresh network reads, and what a cut at 50% efficiency of the signal does.

        - ``loss``: the cross-entropy of the fresh network, in nats, on jets that it has not learnt from.
        - ``readable``: by what share that is below the entropy of the bins.
        - ``jsd``: the Jensen-Shannon distance of the bins of all background jets and of those that pass, from 0 to 1.
        - ``jsd_by_chance``: what that distance would typically be for as many jets that pass whatever their nuisance.
        - ``rejection``: the number of all background jets over that of those that pass.
        """
        background = self.bins >= 0
        reading = read(self.scores[background], self.bins[background], len(self.centres))
        found = dict.fromkeys(VALUES, float("nan"))
        found |= {"loss": reading.cross_entropy, "readable": reading.readable}
        everyone, passing = self._counts
        total, kept = int(everyone.sum()), int(passing.sum())
        if kept:
            occupied = int((everyone > 0).sum())
            chance = (occupied - 1) * (1 / kept - 1 / total) / (8 * log(2))
            found |= {"jsd": distance(everyone, passing), "jsd_by_chance": sqrt(chance), "rejection": total / kept}
        return found

    def figures(self) -> Mapping[str, Figure]:
        """``sculpting``: the share of the background that passes the cut in each bin, over that in all bins."""
        everyone, passing = self._counts
        if not passing.sum():
            return {}
        with np.errstate(invalid="ignore", divide="ignore"):
            share = passing / everyone * (everyone.sum() / passing.sum())
        return {
            "sculpting": Curve(
                (Line("background", np.array(self.centres), share),), self.nuisance, "share that passes, over the mean"
            )
        }

    @property
    def size(self) -> int:
        """0, since the number of jets is limited."""
        return 0

    @cached_property
    def _counts(self) -> tuple[Counts, Counts]:
        """[K] background jets in each bin: all, and those that pass; none passes without any signal."""
        number = len(self.centres)
        everyone = torch.bincount(self.bins[self.bins >= 0].long(), minlength=number)
        passing = torch.zeros_like(everyone)
        cuts = self.cuts[self.signal].sort(descending=True).values
        if len(cuts):
            wanted = int(number_to_keep(np.array([EFFICIENCY]), len(cuts))[0])
            passes = (self.bins >= 0) & (self.cuts >= cuts[max(wanted, 1) - 1])
            passing = torch.bincount(self.bins[passes].long(), minlength=number)
        return everyone.cpu().numpy(), passing.cpu().numpy()


def distance(first: Counts, second: Counts) -> float:
    """The Jensen-Shannon distance of two histograms: the root of the divergence to the base 2, from 0 to 1.

    Args:
        first: [K] entries, at least one in all.
        second: [K] entries, at least one in all.
    """
    p, q = first / first.sum(), second / second.sum()
    middle = (p + q) / 2
    divergence = sum(float((x[x > 0] * np.log2(x[x > 0] / middle[x > 0])).sum()) / 2 for x in (p, q))
    return sqrt(max(0.0, divergence))
