"""The distance correlation against its definition, jet by jet."""

import numpy as np
import pytest
import torch

from salt.adversary import distance_correlation


def by_definition(scores, bins):
    """In NumPy, over the jets that count."""
    x, y = scores[bins >= 0], bins[bins >= 0].astype(float)
    a = np.array([[np.sqrt(((p - q) ** 2).sum()) for q in x] for p in x])
    b = np.abs(y[:, None] - y)
    a, b = (d - d.mean(0) - d.mean(1)[:, None] + d.mean() for d in (a, b))
    return (a * b).mean() / np.sqrt((a * a).mean() * (b * b).mean())


def test_value_is_that_of_the_definition_and_other_jets_do_not_count():
    rng = np.random.default_rng(0)
    bins = rng.integers(-1, 5, 40)
    scores = rng.normal(size=(40, 3)) + 0.5 * bins[:, None]
    found = distance_correlation(torch.tensor(scores), torch.tensor(bins))
    assert float(found) == pytest.approx(by_definition(scores, bins), rel=1e-9)
    scores[bins < 0] = 99
    assert float(distance_correlation(torch.tensor(scores), torch.tensor(bins))) == pytest.approx(float(found))


def test_between_nothing_and_all():
    bins = torch.arange(6).repeat(5)
    independent = torch.arange(5).repeat_interleave(6)[:, None].double()
    assert float(distance_correlation(independent, bins)) == pytest.approx(0, abs=1e-12)
    assert float(distance_correlation(3 - 2.0 * bins[:, None].double(), bins)) == pytest.approx(1)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_gradients_are_finite_also_with_next_to_no_jets(count):
    bins = torch.tensor([0, 1, 3])
    bins[count:] = -1
    scores = torch.zeros(3, 2, requires_grad=True)
    distance_correlation(scores, bins).backward()
    assert scores.grad.isfinite().all()
