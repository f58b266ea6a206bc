"""The b-tagging discriminant, and how strongly a cut on it rejects other jets."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from salt.errors import ConfigError, DataError

Floats: TypeAlias = NDArray[np.float64]

SMALLEST = float(np.finfo(np.float32).tiny)
"""Below this, probabilities count as this much: those of files are float32, in which they may vanish."""


@dataclass(frozen=True)
class Fractions:
    """The assumed shares of flavours among the jets that are no b-jets.

    Args:
        c: f_c, the share of c-jets.
        tau: f_tau, the share of tau-jets.

    Raises:
        ConfigError: A share is negative, or they make more than 1 together.
    """

    c: float = 0.2
    tau: float = 0.0

    def __post_init__(self) -> None:
        if not (self.c >= 0 and self.tau >= 0 and self.c + self.tau <= 1):
            raise ConfigError(
                f"f_c is {self.c} and f_tau is {self.tau}; fractions are at least 0 and at most 1 together"
            )


def discriminant(
    p_b: NDArray[Any],
    p_c: NDArray[Any],
    p_u: NDArray[Any],
    p_tau: NDArray[Any] | None = None,
    fractions: Fractions = Fractions(),
) -> Floats:
    """The b-tagging discriminant, log(p_b / (f_c p_c + f_tau p_tau + (1 - f_c - f_tau) p_u)).

    Args:
        p_b: [B] probability of a b-jet.
        p_c: [B] probability of a c-jet.
        p_u: [B] probability of a light jet.
        p_tau: [B] probability of a tau-jet, for a tagger that has that class.
        fractions: f_c and f_tau.

    Returns:
        [B], finite where the probabilities are.

    Raises:
        ConfigError: f_tau is not 0 and the tagger has no class of tau-jets.
    """
    if p_tau is None and fractions.tau:
        raise ConfigError(f"f_tau is {fractions.tau}, but the tagger has no probability of tau-jets; leave f_tau at 0")
    background = fractions.c * p_c.astype(np.float64) + (1 - fractions.c - fractions.tau) * p_u.astype(np.float64)
    if p_tau is not None:
        background = background + fractions.tau * p_tau.astype(np.float64)
    return log_ratio(p_b, background)


def log_ratio(signal: NDArray[Any], background: NDArray[Any]) -> Floats:
    """The logarithm of [B] probabilities over others, finite also where they vanish."""
    above, below = (np.log(np.maximum(p.astype(np.float64), SMALLEST)) for p in (signal, background))
    ratio: Floats = above - below
    return ratio


@dataclass(frozen=True, eq=False)
class Rejection:
    """Rejection of one background by cuts that keep given shares of the signal.

    With N background jets, n of which pass, the mistag rate is eps = n / N with the binomial error
    sqrt(eps (1 - eps) / N), and the rejection is 1 / eps with the propagated error sqrt(eps (1 - eps) / N) / eps^2.
    Where no jet passes, the rejection is infinite and its error NaN; `lower_limit` still says something.

    Args:
        efficiency: [K] shares of signal that are to be kept.
        cut: [K] lowest scores that pass.
        passed: [K] background jets that pass.
        total: N, all background jets.
    """

    efficiency: Floats
    cut: Floats
    passed: NDArray[np.int64]
    total: int

    @property
    def mistag(self) -> Floats:
        """[K] mistag rate."""
        rate: Floats = self.passed / self.total
        return rate

    @property
    def value(self) -> Floats:
        """[K] rejection, infinite where no background jet passes."""
        value: Floats = np.full(len(self.passed), np.inf)
        return np.divide(self.total, self.passed, out=value, where=self.passed > 0)

    @property
    def finite(self) -> Floats:
        """[K] rejection, NaN where no background jet passes."""
        value: Floats = np.where(self.passed > 0, self.value, np.nan)
        return value

    @property
    def error(self) -> Floats:
        """[K] statistical error of the rejection, NaN where no background jet passes."""
        mistag = np.where(self.passed > 0, self.mistag, np.nan)
        error: Floats = np.sqrt(mistag * (1 - mistag) / self.total) / mistag**2
        return error

    @property
    def lower_limit(self) -> float:
        """What the rejection exceeds at 95% confidence where no background jet passes.

        Of N jets none passes with probability (1 - eps)^N, which is 5% for eps = 1 - 0.05^(1/N), about 3 / N.
        """
        return float(-1 / np.expm1(np.log(0.05) / self.total))


def rejection(signal: NDArray[Any], background: NDArray[Any], efficiency: NDArray[Any] | float) -> Rejection:
    """How strongly cuts on a score reject background.

    The cut is the highest score at which at least the wanted share of the signal passes; a jet at the cut passes.

    Args:
        signal: Scores of the signal jets; -inf for a jet that passes no cut but the loosest.
        background: Scores of the background jets.
        efficiency: Share of the signal to keep, or [K] such shares.

    Raises:
        ConfigError: An efficiency is not above 0 and at most 1.
        DataError: There are no jets, or a score is NaN.
    """
    wanted = np.atleast_1d(np.asarray(efficiency, dtype=np.float64))
    for value in wanted:
        if not 0 < value <= 1:
            raise ConfigError(f"efficiency is {value:g}; it must be above 0 and at most 1")
    if not len(signal) or not len(background):
        raise DataError(f"no rejection without jets: {len(signal)} of signal, {len(background)} of background")
    if np.isnan(signal).any() or np.isnan(background).any():
        raise DataError("a score is NaN; leave out the jets that were not scored")
    cut = np.sort(signal)[len(signal) - number_to_keep(wanted, len(signal))].astype(np.float64)
    passed = len(background) - np.searchsorted(np.sort(background), cut, side="left")
    return Rejection(wanted, cut, np.asarray(passed, dtype=np.int64), len(background))


def number_to_keep(efficiency: Floats, total: float) -> NDArray[np.int64]:
    """[K] how many of `total` signal jets pass at least, for [K] shares of them."""
    # The subtraction keeps 0.7 * 10, which is a little more than 7 in binary, at 7 jets.
    number: NDArray[np.int64] = np.ceil(efficiency * total - 1e-9).astype(np.int64).clip(min=1)
    return number
