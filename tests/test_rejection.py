"""Rejections against counting by hand and in plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salt.errors import ConfigError, DataError
from salt.rejection import Fractions, discriminant, rejection

scores = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=40)


def test_the_discriminant_is_the_formula() -> None:
    p = {key: np.array([value], "f4") for key, value in {"b": 0.5, "c": 0.25, "u": 0.125, "tau": 0.125}.items()}
    assert discriminant(p["b"], p["c"], p["u"])[0] == pytest.approx(math.log(0.5 / (0.2 * 0.25 + 0.8 * 0.125)))
    found = discriminant(p["b"], p["c"], p["u"], p["tau"], Fractions(0.3, 0.1))
    assert found[0] == pytest.approx(math.log(0.5 / (0.3 * 0.25 + 0.1 * 0.125 + 0.6 * 0.125)))
    assert discriminant(p["b"], p["c"], p["u"], p["tau"]) == discriminant(p["b"], p["c"], p["u"])


def test_the_discriminant_is_finite_where_probabilities_vanish() -> None:
    zero, one = np.zeros(1, "f4"), np.ones(1, "f4")
    surely_b, surely_not, tau = discriminant(one, zero, zero), discriminant(zero, zero, one), discriminant(*[zero] * 3)
    assert np.isfinite([surely_b, surely_not, tau]).all()
    assert surely_b > tau > surely_not


@pytest.mark.parametrize("fractions", [(-0.1, 0.0), (0.7, 0.4), (float("nan"), 0.0)])
def test_impossible_fractions(fractions: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="f_c is"):
        Fractions(*fractions)


def test_a_fraction_of_taus_needs_their_probability() -> None:
    with pytest.raises(ConfigError, match="no probability of tau-jets"):
        discriminant(*[np.ones(1)] * 3, fractions=Fractions(0.2, 0.1))


def test_counted_by_hand() -> None:
    signal = np.array([9.0, 8, 7, 6, 5, 4, 3, 2, 1, 0])
    background = np.array([7.5, 3.5, 3.0, 2.5, -1, -2, -3, -4])
    found = rejection(signal, background, np.array([0.2, 0.3, 0.7, 1.0]))
    assert found.cut.tolist() == [8, 7, 3, 0]
    assert found.passed.tolist() == [0, 1, 3, 4]
    assert found.value.tolist() == [np.inf, 8, 8 / 3, 2]
    error = [math.sqrt(e * (1 - e) / 8) / e**2 for e in (1 / 8, 3 / 8, 4 / 8)]
    assert found.error[1:] == pytest.approx(error)
    assert np.isnan(found.error[0])
    assert (1 - 1 / found.lower_limit) ** 8 == pytest.approx(0.05)


@settings(deadline=None)
@given(scores, scores, st.integers(1, 20))
def test_the_cut_is_the_highest_that_keeps_enough(signal: list[float], other: list[float], twentieths: int) -> None:
    found = rejection(np.array(signal), np.array(other), twentieths / 20)

    def kept(cut: float) -> int:
        return sum(s >= cut for s in signal)

    cuts = [c for c in sorted(set(signal)) if 20 * kept(c) >= twentieths * len(signal)]
    assert found.cut[0] == max(cuts)
    assert found.passed[0] == sum(b >= max(cuts) for b in other)
    assert found.total == len(other)


def test_jets_without_a_score_pass_only_the_loosest_cut() -> None:
    signal, background = np.array([2.0, 1, -np.inf, -np.inf]), np.array([0.5, -np.inf])
    assert rejection(signal, background, np.array([0.5, 0.75])).passed.tolist() == [0, 2]


@pytest.mark.parametrize("efficiency", [0.0, 1.01, float("nan")])
def test_impossible_efficiencies(efficiency: float) -> None:
    with pytest.raises(ConfigError, match="efficiency is"):
        rejection(np.ones(3), np.ones(3), efficiency)


def test_no_jets_and_nan() -> None:
    with pytest.raises(DataError, match="0 of background"):
        rejection(np.ones(3), np.ones(0), 0.5)
    with pytest.raises(DataError, match="NaN"):
        rejection(np.ones(3), np.array([np.nan]), 0.5)
