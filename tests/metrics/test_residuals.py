"""Bias and resolution are NumPy's quantiles."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from salt.metrics import Residuals, Scratch
from salt.metrics.sample import Sample

NAMES = ("pt", "length")


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 200), st.integers(0, 2**31), st.integers(0, 6), st.integers(1, 4))
def test_quantiles_are_those_of_numpy(num: int, seed: int, digits: int, batches: int) -> None:
    rng = np.random.default_rng(seed)
    deviation = rng.normal(size=(num, 2)).round(digits).astype("f4")
    valid = rng.random((num, 2)) < 0.8
    valid[0] = True
    parts = zip(torch.tensor(deviation).chunk(batches), torch.tensor(valid).chunk(batches), strict=True)
    scratch = Scratch(Path())
    kept = [Residuals.of(d, v, NAMES) for d, v in parts]
    found = Residuals.merged([kept[0], *(part.spilt(scratch) for part in kept[1:])]).values()
    for k, name in enumerate(NAMES):
        low, median, high = np.quantile(deviation[valid[:, k], k].astype("f8"), [0.16, 0.5, 0.84])
        assert found[f"{name}_bias"] == pytest.approx(median, abs=1e-12)
        assert found[f"{name}_resolution"] == pytest.approx((high - low) / 2, abs=1e-12)


def test_nothing_to_compare_and_predictions_that_are_no_numbers() -> None:
    deviation = torch.tensor([[torch.nan, torch.nan], [1.0, 1.0]])
    found = Residuals.of(deviation, torch.tensor([[False, True], [False, True]]), NAMES).values()
    assert all(math.isnan(value) for value in found.values())


def test_bounded_memory_costs_next_to_nothing() -> None:
    deviation = torch.randn(60_000, 1, generator=torch.Generator().manual_seed(0))
    kind = torch.zeros(len(deviation), 1, dtype=torch.int8)
    kept = Residuals(Sample(deviation[:0], kind[:0], 1, bound=8000), ("pt",))
    for values in deviation.split(700):
        kept = Residuals.merged([kept, Residuals(Sample(values, kind[: len(values)], 1, bound=8000), ("pt",))])
    exact = Residuals(Sample(deviation, kind, 1), ("pt",)).values()
    for name, value in kept.values().items():
        assert value == pytest.approx(exact[name], abs=5e-3), name
