"""How far regressed numbers lie from the truth."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salt.rejection import Floats
from salt.report.shares import Ints

FEWEST = 20
"""Bins with fewer values have no bias and no resolution."""

LOW, HIGH = 0.16, 0.84
"""The quantiles about one standard deviation below and above the median of a Gaussian."""

DEVIATION = 0.994457883209753
"""Half the distance between these quantiles of a Gaussian, in standard deviations."""

NUM_BINS = 80


@dataclass(frozen=True, eq=False)
class Spread:
    """Median and half the central 68% interval of residuals, bin by bin.

    The errors are those for Gaussian residuals of that width s: 1.260 s / sqrt(N) of the median, and 0.964 s / sqrt(N)
    of s, from the covariance of quantiles (A. W. van der Vaart, Asymptotic Statistics, 1998, corollary 21.5).

    Args:
        count: [K] residuals in the bin.
        bias: [K] their median, NaN where there are few.
        resolution: [K] half the distance of the quantiles at 16% and 84%.
    """

    count: Ints
    bias: Floats
    resolution: Floats

    @property
    def bias_error(self) -> Floats:
        """[K]."""
        error: Floats = np.sqrt(np.pi / 2) * self._unit_error
        return error

    @property
    def resolution_error(self) -> Floats:
        """[K]."""
        density = np.exp(-(DEVIATION**2) / 2) / np.sqrt(2 * np.pi)
        error: Floats = np.sqrt(LOW * HIGH - LOW**2) / (np.sqrt(2) * density) * self._unit_error
        return error

    @property
    def _unit_error(self) -> Floats:
        error: Floats = self.resolution / DEVIATION / np.sqrt(np.maximum(self.count, 1))
        return error


@dataclass(frozen=True, eq=False)
class Residuals:
    """The residuals of one regressed variable.

    Args:
        variable: Its name.
        relative: Whether they are (prediction - truth) / truth; otherwise prediction - truth.
        unit: Of the residuals; empty if relative or unknown.
        edges: [M + 1] bins of the histogram.
        histogram: [M]; the first and last bin hold what lies outside.
        overall: Of all residuals, one bin.
        pt_edges: [K + 1] bins of the jet's pt in GeV; empty where the pt is unknown.
        in_bins: In these.
    """

    variable: str
    relative: bool
    unit: str
    edges: Floats
    histogram: Ints
    overall: Spread
    pt_edges: Floats
    in_bins: Spread


def measure_residuals(
    variable: str,
    predicted: NDArray[np.floating],
    truth: NDArray[np.floating],
    pt: Floats | None,
    pt_edges: Floats,
    unit: str = "",
) -> Residuals | None:
    """The residuals of the jets or constituents that have a finite truth; None if there are none.

    Args:
        variable: Its name.
        predicted: [N].
        truth: [N]; where all of it is above 0 the residuals are relative.
        pt: [N] of the jets, in GeV.
        pt_edges: Bins of it.
        unit: Of the variable.
    """
    valid = np.isfinite(truth) & np.isfinite(predicted)
    if not valid.any():
        return None
    y, x = truth[valid].astype(np.float64), predicted[valid].astype(np.float64)
    relative = bool((y > 0).all())
    residual = (x - y) / y if relative else x - y
    low, high = np.quantile(residual, [0.005, 0.995])
    edges = np.linspace(low, high if high > low else low + 1, NUM_BINS + 1)
    shown = np.histogram(residual.clip(edges[0], edges[-1]), edges)[0].astype(np.int64)
    where = np.zeros(len(residual), dtype=np.int64)
    binned = np.empty(0) if pt is None else pt_edges
    places = where if pt is None else np.searchsorted(pt_edges, pt[valid], side="right") - 1
    return Residuals(
        variable,
        relative,
        "" if relative else unit,
        edges,
        shown,
        _spread(residual, where, 1),
        binned,
        _spread(residual, places, max(len(binned) - 1, 0)),
    )


class Collected:
    """Estimates of one variable of constituents and the truth, block after block.

    Args:
        variable: Its name.
        unit: Its unit.
    """

    def __init__(self, variable: str, unit: str) -> None:
        self.variable = variable
        self.unit = unit
        self.parts: list[tuple[NDArray[Any], NDArray[Any], Floats]] = []

    def add(self, predicted: NDArray[Any], truth: NDArray[Any], pt: Floats) -> None:
        """Takes in [T] estimates, the truth, and the pt of their jets in GeV, NaN where it is unknown."""
        known = np.isfinite(predicted) & np.isfinite(truth)
        self.parts.append((predicted[known], truth[known], pt[known]))

    def result(self, pt_edges: Floats) -> Residuals | None:
        """The residuals of all constituents; None if there are none."""
        if not self.parts:
            return None
        predicted, truth, pt = (np.concatenate(each) for each in zip(*self.parts, strict=True))
        known = bool(np.isfinite(pt).any())
        return measure_residuals(self.variable, predicted, truth, pt if known else None, pt_edges, self.unit)


def _spread(residual: Floats, places: NDArray[np.int64], num: int) -> Spread:
    parts = [residual[places == k] for k in range(num)]
    found = [np.quantile(p, [LOW, 0.5, HIGH]) if len(p) >= FEWEST else np.full(3, np.nan) for p in parts]
    quantiles = np.array(found).reshape(num, 3)
    counts = np.array([len(p) for p in parts], dtype=np.int64)
    return Spread(counts, quantiles[:, 1], (quantiles[:, 2] - quantiles[:, 0]) / 2)
