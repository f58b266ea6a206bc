import pytest
import torch

from salt.errors import ConfigError
from salt.optim.schedules import OneCycle


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
