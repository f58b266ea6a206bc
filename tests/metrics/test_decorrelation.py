"""What is read of a nuisance, and what a cut does to it: against closed forms and SciPy."""

from math import log, sqrt

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from salt.metrics import Decorrelation
from salt.metrics.decorrelation import distance
from salt.metrics.probe import read


def flipped(number, share, seed=0):
    """Bins of two, and scores that are the bin but for a share of the jets."""
    rng = np.random.default_rng(seed)
    bins = rng.integers(0, 2, number)
    scores = np.where(rng.random(number) < share, 1 - bins, bins)
    return torch.tensor(scores)[:, None].float(), torch.tensor(bins)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5])
def test_a_probe_reads_what_there_is(share):
    """All of ln 2 but the entropy of the flips that were drawn."""
    scores, bins = flipped(20_000, share)
    drawn = float((scores[:, 0] != bins).double().mean())
    missing = 0.0 if drawn == 0 else -drawn * log(drawn) - (1 - drawn) * log(1 - drawn)
    assert read(scores, bins, 2).readable == pytest.approx(1 - missing / log(2), abs=0.005)


def test_a_probe_draws_no_random_numbers_of_the_training_and_says_the_same_again():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    scores, bins = flipped(500, 0.2)
    with torch.inference_mode():
        first = read(scores, bins, 2)
    assert torch.equal(torch.get_rng_state(), state)
    assert read(scores, bins, 2) == first


def test_too_few_jets_say_nothing():
    assert np.isnan(read(*flipped(3, 0), 2).readable)


def test_distance_is_that_of_scipy():
    rng = np.random.default_rng(2)
    for _ in range(5):
        first, second = rng.integers(0, 9, 7) + np.eye(7, dtype=int)[0], rng.integers(0, 3, 7) + np.eye(7, dtype=int)[3]
        assert distance(first, second) == pytest.approx(jensenshannon(first, second, base=2), abs=1e-12)
    assert distance(np.array([5, 0]), np.array([0, 2])) == 1


def decorrelation(bins, cuts, signal):
    scores = torch.tensor(cuts)[:, None].float()
    return Decorrelation(scores, torch.tensor(bins), torch.tensor(cuts), torch.tensor(signal), (1.0, 2.0, 3.0), "pt")


def test_a_cut_by_hand():
    """Half of the four signal jets pass at 0.6; of the six of the background the two above it."""
    bins = [0, 0, 1, 1, 2, 2, -1, -1, -1, -1, -1]
    cuts = [0.1, 0.9, 0.2, 0.3, 0.7, 0.5, 0.6, 0.8, 0.1, 0.2, 5.0]
    signal = [False] * 6 + [True] * 4 + [False]
    found = decorrelation(bins, cuts, signal)
    values = found.values()
    assert values["rejection"] == 3
    assert values["jsd"] == pytest.approx(jensenshannon([2, 2, 2], [1, 0, 1], base=2))
    assert values["jsd_by_chance"] == pytest.approx(sqrt(2 * (1 / 2 - 1 / 6) / (8 * log(2))))
    (line,) = found.figures()["sculpting"].lines
    np.testing.assert_allclose(line.y, [1.5, 0, 1.5])
    parts = [decorrelation(*(each[i : i + 3] for each in (bins, cuts, signal))) for i in range(0, 11, 3)]
    again = Decorrelation.merged(parts).values()
    assert again == pytest.approx(values, nan_ok=True)
    without = decorrelation(bins, cuts, [False] * 11)
    assert np.isnan(without.values()["jsd"])
    assert without.figures() == {}


def test_what_a_cut_does_by_chance():
    """The mean square of the distance of jets that pass whatever their nuisance."""
    rng = np.random.default_rng(3)
    bins, squares = rng.integers(0, 10, 4000), []
    everyone = np.bincount(bins, minlength=10)
    for _ in range(300):
        passing = rng.choice(bins, 200, replace=False)
        squares.append(distance(everyone, np.bincount(passing, minlength=10)) ** 2)
    chance = 9 * (1 / 200 - 1 / 4000) / (8 * log(2))
    assert np.mean(squares) == pytest.approx(chance, rel=0.1)
