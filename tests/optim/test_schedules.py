from typing import Any

import pytest
import torch

from salt.errors import ConfigError
from salt.optim.schedules import Constant, Cosine, DeviceScale, OneCycle, Schedule


@pytest.mark.parametrize("total", [20, 57, 400])
def test_one_cycle_is_that_of_torch(total: int) -> None:
    ours = OneCycle(initial=1e-7, max=5e-4, end=1e-5, pct_start=0.1)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        5e-4,
        total,
        pct_start=0.1,
        div_factor=5e-4 / 1e-7,
        final_div_factor=1e-7 / 1e-5,
    )
    for step in range(total):
        group = optimizer.param_groups[0]
        assert ours.rate(step, total) == pytest.approx(group["lr"], rel=1e-12)
        assert ours.momentum(step, total) == pytest.approx(group["betas"][0], rel=1e-12)
        optimizer.step()
        if step + 1 < total:
            theirs.step()


def test_the_rate_stays_at_its_end() -> None:
    assert OneCycle(end=1e-5).rate(1000, 100) == 1e-5
    assert OneCycle(end=1e-5).rate(1, 1) == 1e-5
    assert OneCycle().momentum(1000, 100) == 0.95


@pytest.mark.parametrize("wrong", [{"max": -1.0}, {"pct_start": 1.5}, {"initial": float("nan")}, {"min_momentum": 1.0}])
def test_impossible_rates_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        OneCycle(**wrong)


@pytest.mark.parametrize("total", [2, 30, 171])
def test_a_cosine_is_that_of_torch(total: int) -> None:
    ours = Cosine(max=2e-3, min=1e-5)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2e-3)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total - 1, eta_min=1e-5)
    for step in range(total):
        assert ours.rate(step, total) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        theirs.step()
    assert ours.rate(total + 5, total) == 1e-5


def test_the_warm_up_of_a_cosine_is_a_line_and_part_of_its_length() -> None:
    cosine = Cosine(max=1.0, min=0.1, iterations=11, warmup=4)
    rates = [cosine.rate(step, None) for step in range(14)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[7] == pytest.approx(0.55)
    assert rates[10:] == [0.1] * 4
    assert not cosine.needs_total
    assert Cosine().needs_total


@pytest.mark.parametrize(("scale", "factor"), [("none", 1), ("sqrt", 3), ("linear", 9)])
def test_what_grows_with_the_number_of_devices(scale: DeviceScale, factor: int) -> None:
    cosine = Cosine(max=0.01, min=0.001, iterations=5, scale_by_devices=scale)
    assert cosine.rate(0, None, devices=9) == pytest.approx(0.01 * factor)
    assert cosine.rate(4, None, devices=9) == 0.001
    constant = Constant(value=0.01, warmup=3, scale_by_devices=scale)
    rates = [constant.rate(step, None, devices=9) for step in range(5)]
    assert rates == pytest.approx([0.01 * factor * share for share in (0.25, 0.5, 0.75, 1, 1)])
    assert f"{0.01 * factor:g}" in cosine.describe(None, devices=9)


@pytest.mark.parametrize(
    ("schedule", "wrong", "names"),
    [
        (Cosine, {"min": 1.0}, "min"),
        (Cosine, {"iterations": 10, "warmup": 10}, "iterations"),
        (Cosine, {"warmup": -1}, "warmup"),
        (Constant, {"value": float("inf")}, "value"),
        (OneCycle, {"min_momentum": None}, "null for both"),
    ],
)
def test_impossible_schedules_are_refused(schedule: type[Schedule], wrong: dict[str, Any], names: str) -> None:
    with pytest.raises(ConfigError, match=names):
        schedule(**wrong)


@pytest.mark.parametrize("schedule", [Cosine(warmup=20), Constant(warmup=20)])
def test_a_warm_up_that_never_ends_is_said(schedule: Schedule) -> None:
    assert "a warm-up of 20 steps, of which the training has 20 only" in schedule.describe(20)
    assert "only" not in schedule.describe(21)
