"""Optimisers beside AdamW: what they step, what of them is saved, and whose settings count."""

from copy import deepcopy
from functools import partial
from typing import Any

import pytest
import torch
from lion_pytorch import Lion
from schedulefree import AdamWScheduleFree
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Muon, NAdam, Optimizer, Rprop

from salt.errors import ConfigError
from salt.optim import Constant, MuonAdamW, OneCycle
from salt.optim.optimizers import build_optimizer, check_same_class, class_name, steer, take_settings


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(3)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((4, 6), (6,), (), (3, 4), (2, 3, 2))]


def train(optimizer: Optimizer, ours: list[nn.Parameter], steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for p in ours:
            p.grad = torch.randn(p.shape, generator=generator)
        steer(optimizer, 0.01 * (step + 1), 0.9 - 0.01 * step)
        optimizer.step()


def test_muon_with_adamw_is_either_of_them_on_its_parameters() -> None:
    ours, theirs = parameters(), parameters()
    combined = build_optimizer(MuonAdamW, ours, Constant(weight_decay=0.1))
    muon = Muon([theirs[0], theirs[3]], weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    adamw = AdamW([{"params": [theirs[4]]}, {"params": theirs[1:3], "weight_decay": 0.0}], weight_decay=0.1, fused=True)
    train(combined, ours, range(4))
    for step in range(4):
        generator = torch.Generator().manual_seed(step)
        for p in theirs:
            p.grad = torch.randn(p.shape, generator=generator)
        for part in (muon, adamw):
            steer(part, 0.01 * (step + 1), 0.9 - 0.01 * step)
            part.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("kind", [MuonAdamW, AdamW, Lion, AdamWScheduleFree, NAdam, partial(SGD, momentum=0.9)])
def test_a_state_that_is_saved_and_loaded_goes_on_to_the_last_bit(kind: Any) -> None:
    schedule = OneCycle(min_momentum=None, max_momentum=None)
    ours = parameters()
    optimizer = build_optimizer(kind, ours, schedule)
    modes: Any = optimizer
    if isinstance(optimizer, AdamWScheduleFree):
        modes.train()
    train(optimizer, ours, range(3))
    again = [nn.Parameter(p.detach().clone()) for p in ours]
    resumed = build_optimizer(kind, again, schedule)
    resumed.load_state_dict(deepcopy(optimizer.state_dict()))
    take_settings(resumed, build_optimizer(kind, again, schedule))
    train(optimizer, ours, range(3, 6))
    train(resumed, again, range(3, 6))
    for a, b in zip(ours, again, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_settings_are_of_the_config_and_counts_of_the_checkpoint() -> None:
    ours = parameters()
    optimizer = build_optimizer(AdamWScheduleFree, ours, Constant(weight_decay=0.1))
    assert isinstance(optimizer, AdamWScheduleFree)
    optimizer.train()
    train(optimizer, ours, range(2))
    new = build_optimizer(partial(AdamWScheduleFree, r=0.5), ours, Constant(weight_decay=0.2))
    resumed = build_optimizer(partial(AdamWScheduleFree, r=0.5), ours, Constant(weight_decay=0.2))
    resumed.load_state_dict(deepcopy(optimizer.state_dict()))
    take_settings(resumed, new)
    assert [(g["r"], g["weight_decay"], g["k"]) for g in resumed.param_groups] == [(0.5, 0.2, 2), (0.5, 0.0, 2)]


def test_a_fused_step_and_one_that_is_not_take_over_each_others_counts() -> None:
    ours = parameters()
    optimizer = build_optimizer(None, ours, Constant())
    train(optimizer, ours, range(2))
    resumed = build_optimizer(partial(AdamW, fused=False), ours, Constant())
    resumed.load_state_dict(deepcopy(optimizer.state_dict()))
    take_settings(resumed, build_optimizer(partial(AdamW, fused=False), ours, Constant()))
    assert [group["fused"] for group in resumed.param_groups] == [False, False]
    train(resumed, ours, range(2, 3))
    check_same_class(resumed, class_name(optimizer))
    with pytest.raises(ConfigError, match=r"AdamW.*MuonAdamW"):
        check_same_class(build_optimizer(MuonAdamW, ours, Constant()), class_name(optimizer))


@pytest.mark.parametrize("kind", [AdamW, MuonAdamW, Lion, NAdam, SGD, partial(SGD, momentum=0.95)])
def test_the_momentum_is_steered_where_there_is_one(kind: Any) -> None:
    optimizer = build_optimizer(kind, parameters(), OneCycle(weight_decay=0.3))
    steer(optimizer, 0.125, 0.87)
    assert {group["lr"] for group in optimizer.param_groups} == {0.125}
    momenta = {g["betas"][0] if "betas" in g else g["momentum"] for g in optimizer.param_groups}
    assert momenta == {0.0 if kind is SGD else 0.87}
    decayed: list[Tensor] = [p for g in optimizer.param_groups if g["weight_decay"] == 0.3 for p in g["params"]]
    kept: list[Tensor] = [p for g in optimizer.param_groups if g["weight_decay"] == 0.0 for p in g["params"]]
    assert sorted(p.dim() for p in decayed) == [2, 2, 3]
    assert sorted(p.dim() for p in kept) == [0, 1]


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (Muon, "MuonAdamW"),
        (Rprop, "weight_decay"),
        (partial(AdamW, betas=(0.8, 0.99)), r"momentum of 0\.8.*to null"),
        (partial(SGD, momentum=0.5), r"momentum of 0\.5"),
    ],
)
def test_what_cannot_be_built_says_why(kind: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){says}"):
        build_optimizer(kind, parameters(), OneCycle())
