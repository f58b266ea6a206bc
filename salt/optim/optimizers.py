"""How an optimiser is built, steered in each step, and gone on with."""

from collections.abc import Mapping, Sequence
from inspect import Parameter, signature
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from salt.errors import ConfigError
from salt.optim.schedules import Schedule

FIRST = "torch.optim.adamw.AdamW"
"""The optimiser of checkpoints that do not name theirs."""

START = 1e-3
"""A learning rate that is replaced before the first step."""


@runtime_checkable
class OptimizerFactory(Protocol):
    """An optimiser of which all is known but what it steps, and what the schedule decides."""

    def __call__(self, params: Any, *, lr: float, weight_decay: float) -> Optimizer:
        """Builds it."""
        ...


def build_optimizer(
    factory: OptimizerFactory | None, parameters: Sequence[nn.Parameter], schedule: Schedule
) -> Optimizer:
    """The optimiser; matrices decay, biases and norms do not.

    Args:
        factory: Builds it; None for AdamW.
        parameters: What it steps.
        schedule: Knows the weight decay and the momentum.

    Raises:
        ConfigError: It cannot be built of these, or its momentum and that of the schedule contradict each other.
    """
    decay = schedule.weight_decay
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if factory is None:
        # On a GPU the one that is fused does not go with clipping in half precision.
        fused = all(p.device.type == "cpu" for p in parameters)
        return AdamW(groups, lr=START, fused=fused)
    try:
        optimizer = factory(groups, lr=START, weight_decay=decay)
    except (TypeError, ValueError, RuntimeError) as error:
        if "Muon" in str(error) and any(p.dim() != 2 for p in parameters):
            raise ConfigError(
                "model.optimizer: torch's Muon steps matrices only; MuonAdamW has AdamW for the other parameters"
            ) from None
        raise ConfigError(f"model.optimizer: {' '.join(str(error).split())[:300]}") from None
    _check_momentum(optimizer, schedule)
    return optimizer


def class_name(optimizer: Optimizer) -> str:
    """The class of an optimiser, as a checkpoint names it."""
    return f"{type(optimizer).__module__}.{type(optimizer).__qualname__}"


def check_same_class(optimizer: Optimizer, saved: str) -> None:
    """ConfigError unless the state of the optimiser that a checkpoint names fits this one."""
    ours = class_name(optimizer)
    if ours != saved:
        raise ConfigError(
            f"the checkpoint holds the state of {saved}, and model.optimizer is {ours}\n"
            "take the same one to go on, or begin a new run with its weights: --run.warm_start.checkpoint"
        )


def steer(optimizer: Optimizer, rate: float, momentum: float | None) -> None:
    """Sets the rate of the next step, and the momentum, where there is one."""
    for group in optimizer.param_groups:
        group["lr"] = rate
        if momentum is None:
            continue
        if "betas" in group:
            group["betas"] = (momentum, *group["betas"][1:])
        elif group.get("momentum"):
            group["momentum"] = momentum


def take_settings(optimizer: Optimizer, config: Optimizer) -> None:
    """After a state was loaded: the settings are those of the config, and what the optimiser counts is of the state.

    Args:
        optimizer: Whose state was loaded.
        config: One that was built of the config, for the same parameters.
    """
    settings = {name for part in _parts(optimizer) for name in signature(type(part)).parameters} - {"params"}
    for group, new in zip(optimizer.param_groups, config.param_groups, strict=True):
        group.update({key: value for key, value in new.items() if key in settings})
        on_device = group.get("fused") or group.get("capturable")
        for parameter in group["params"]:
            step = optimizer.state.get(parameter, {}).get("step")
            if isinstance(step, Tensor):
                # Where torch expects it; elsewhere each step would wait for the device.
                optimizer.state[parameter]["step"] = step.to(parameter.device if on_device else torch.device("cpu"))


def _parts(optimizer: Optimizer) -> Sequence[Optimizer]:
    return [optimizer, *getattr(optimizer, "parts", ())]


def _check_momentum(optimizer: Optimizer, schedule: Schedule) -> None:
    """ConfigError where the momentum that the user gave the optimiser would be replaced by that of the schedule."""
    if schedule.momenta is None:
        return
    most, least = schedule.momenta
    parameters = signature(type(optimizer)).parameters
    for group in optimizer.param_groups:
        own, usual = _momentum(group), _usual(parameters)
        if own and own not in (usual.get("betas" if "betas" in group else "momentum"), most):
            raise ConfigError(
                f"model.optimizer has a momentum of {own:g}, and model.lrs_config lets it go from {most:g} to "
                f"{least:g} and back\n"
                f"to keep {own:g}, set model.lrs_config.min_momentum and max_momentum to null; to let it go, give the "
                f"optimizer {most:g}"
            )


def _momentum(group: Mapping[str, Any]) -> float:
    return float(group["betas"][0] if "betas" in group else group.get("momentum", 0.0))


def _usual(parameters: Mapping[str, Parameter]) -> dict[str, float]:
    """Momenta that nobody gave."""
    found = {k: p.default for k, p in parameters.items() if p.default is not Parameter.empty}
    return {k: float(v[0] if k == "betas" else v) for k, v in found.items() if k in ("betas", "momentum")}
