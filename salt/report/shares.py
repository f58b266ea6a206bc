"""Shares of jets or vertices that pass something, their inverse, and the statistical errors of both."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salt.rejection import Floats

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Share:
    """How many of some objects pass, bin by bin.

    With n of N objects passing, the share is e = n / N with the binomial error sqrt(e (1 - e) / N). Its inverse, which
    is the rejection if the objects are background, has the propagated error sqrt(e (1 - e) / N) / e^2. Nothing is
    known of an empty bin: its values are NaN.

    Args:
        passed: [K] how many pass.
        total: [K] how many there are.
    """

    passed: Ints
    total: Ints

    @property
    def value(self) -> Floats:
        """[K] the share, NaN where there is nothing."""
        out: Floats = np.full(len(self.total), np.nan)
        return np.divide(self.passed, self.total, out=out, where=self.total > 0)

    @property
    def error(self) -> Floats:
        """[K] its binomial error."""
        share = self.value
        error: Floats = np.sqrt(share * (1 - share) / np.maximum(self.total, 1))
        return error

    @property
    def inverse(self) -> Floats:
        """[K] one over the share, infinite where nothing passes, NaN where there is nothing."""
        out: Floats = np.where(self.total > 0, np.inf, np.nan)
        return np.divide(self.total, self.passed, out=out, where=self.passed > 0)

    @property
    def inverse_error(self) -> Floats:
        """[K] the error of the inverse, NaN where nothing passes."""
        share = np.where(self.passed > 0, self.value, np.nan)
        error: Floats = self.error / share**2
        return error

    @property
    def inverse_limit(self) -> Floats:
        """[K] what the inverse exceeds at 95% confidence where nothing passes: 1 / (1 - 0.05^(1 / N))."""
        total = np.where(self.total > 0, self.total, np.nan)
        limit: Floats = -1 / np.expm1(np.log(0.05) / total)
        return limit


def count_in_bins(values: Floats, edges: Floats, passing: NDArray[np.bool_]) -> Share:
    """The share that passes in each bin of a variable; what lies outside of the edges is in no bin.

    Args:
        values: [B] the variable.
        edges: [K + 1], ascending; a bin holds its lower edge, the last one its upper edge too, as np.histogram has it.
        passing: [B] whether each passes.
    """
    total, _ = np.histogram(values, edges)
    passed, _ = np.histogram(values[passing], edges)
    return Share(passed.astype(np.int64), total.astype(np.int64))
