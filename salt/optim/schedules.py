"""Learning rates as functions of the step alone, so that a resumed or extended run needs no saved schedule."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import cos, isfinite, pi, sqrt
from typing import Literal, TypeAlias

from salt.errors import ConfigError

DeviceScale: TypeAlias = Literal["none", "sqrt", "linear"]


class Schedule(ABC):
    """The learning rate of each step, and what goes with it.

    A schedule of your own subclasses this, best as a frozen dataclass. All it may depend on are its arguments, the
    step, the length of the training and the number of devices: nothing of it is saved.

    Attributes:
        weight_decay: Weight decay of the optimiser on weight matrices.
    """

    weight_decay: float

    @abstractmethod
    def rate(self, step: int, total: int | None, devices: int = 1) -> float:
        """Learning rate of one optimiser step.

        Args:
            step: Number of optimiser steps taken before this one, from 0.
            total: Number of optimiser steps of the whole training; None if it has no end.
            devices: Number of devices that share a step, each with other jets.
        """

    @abstractmethod
    def describe(self, total: int | None, devices: int = 1) -> str:
        """The whole schedule in a few words; the arguments are those of `rate`."""

    @property
    def needs_total(self) -> bool:
        """Whether it can only be computed if the training has an end."""
        return False

    @property
    def momenta(self) -> tuple[float, float] | None:
        """The largest and the smallest momentum; None if the optimiser's own stays as it is."""
        return None

    def momentum(self, step: int, total: int | None) -> float | None:
        """Momentum of one optimiser step, or None for the optimiser's own; the arguments are those of `rate`."""
        return None


@dataclass(frozen=True)
class OneCycle(Schedule):
    """One cycle of the learning rate (Smith and Topin, arXiv:1708.07120): up and down again along half cosines.

    The momentum, which is AdamW's first beta, goes the other way round (Smith, arXiv:1803.09820).

    Args:
        initial: Learning rate at the first step.
        max: Learning rate at the top of the cycle.
        end: Learning rate at the last step, and after it.
        pct_start: Share of all steps after which the top is reached, between 0 and 1.
        min_momentum: Momentum at the top of the cycle; null, in both, for that of the optimiser.
        max_momentum: Momentum at the first and the last step, and after it.
        weight_decay: Weight decay of the optimiser on weight matrices; biases and norms are not decayed.
    """

    initial: float = 1e-7
    max: float = 5e-4
    end: float = 1e-5
    pct_start: float = 0.1
    min_momentum: float | None = 0.85
    max_momentum: float | None = 0.95
    weight_decay: float = 1e-5

    def __post_init__(self) -> None:
        _check_rates(self, "initial", "max", "end", "weight_decay")
        if not 0 <= self.pct_start <= 1:
            raise ConfigError(f"model.lrs_config.pct_start is {self.pct_start}; it must lie between 0 and 1")
        for key in ("min_momentum", "max_momentum"):
            value = getattr(self, key)
            if value is not None and not 0 <= value < 1:
                raise ConfigError(f"model.lrs_config.{key} is {value}; it is at least 0 and below 1")
        if (self.min_momentum is None) != (self.max_momentum is None):
            raise ConfigError("model.lrs_config: give min_momentum and max_momentum, or null for both")

    def rate(self, step: int, total: int | None, devices: int = 1) -> float:
        """Learning rate of one optimiser step; the number of devices does not matter."""
        return self._cycle(self.initial, self.max, self.end, step, total)

    def describe(self, total: int | None, devices: int = 1) -> str:
        """Length, rates and momenta of the cycle."""
        momenta = ""
        if self.momenta is not None:
            momenta = f"; momentum {self.max_momentum:g} to {self.min_momentum:g} and back"
        return f"one cycle of {total} steps, from {self.initial:g} up to {self.max:g} and down to {self.end:g}{momenta}"

    @property
    def needs_total(self) -> bool:
        """Its length is that of the training."""
        return True

    @property
    def momenta(self) -> tuple[float, float] | None:
        """At the ends and at the top of the cycle."""
        if self.max_momentum is None or self.min_momentum is None:
            return None
        return self.max_momentum, self.min_momentum

    def momentum(self, step: int, total: int | None) -> float | None:
        """Momentum of one optimiser step."""
        if self.max_momentum is None or self.min_momentum is None:
            return None
        return self._cycle(self.max_momentum, self.min_momentum, self.max_momentum, step, total)

    def _cycle(self, first: float, middle: float, end: float, step: int, total: int | None) -> float:
        assert total is not None
        top = max(self.pct_start * total - 1, 0.0)
        last = max(total - 1, 0)
        if step <= top and top > 0:
            return _half_cosine(first, middle, step / top)
        if step >= last:
            return end
        return _half_cosine(middle, end, (step - top) / (last - top))


@dataclass(frozen=True)
class Cosine(Schedule):
    """Linear warm-up, then half a cosine down to a minimum (Loshchilov and Hutter, arXiv:1608.03983), where it stays.

    Args:
        max: Learning rate after the warm-up, before it is scaled with the number of devices.
        iterations: Optimiser steps after which the minimum is reached, warm-up included; null for the whole training.
        warmup: Optimiser steps of the warm-up, in which the rate grows by the same amount from each to the next.
        min: Learning rate at the end and after it, whatever the number of devices.
        scale_by_devices: What the rate is multiplied with where several devices share a step: ``none`` for nothing,
            ``linear`` for their number, ``sqrt`` for its root. Devices that hold one model together count as one.
        weight_decay: Weight decay of the optimiser on weight matrices; biases and norms are not decayed.
    """

    max: float = 5e-4
    iterations: int | None = None
    warmup: int = 0
    min: float = 1e-6
    scale_by_devices: DeviceScale = "none"
    weight_decay: float = 1e-5

    def __post_init__(self) -> None:
        _check_rates(self, "max", "min", "weight_decay")
        _check_warmup(self.warmup)
        if self.min > self.max:
            raise ConfigError(f"model.lrs_config.min is {self.min}, more than max {self.max}")
        if self.iterations is not None and self.iterations <= self.warmup:
            raise ConfigError(
                f"model.lrs_config.iterations is {self.iterations}; it includes the warm-up, so it is more than "
                f"{self.warmup}"
            )

    def rate(self, step: int, total: int | None, devices: int = 1) -> float:
        """Learning rate of one optimiser step."""
        top = self.max * device_factor(self.scale_by_devices, devices)
        if step < self.warmup:
            return top * (step + 1) / (self.warmup + 1)
        last = self._length(total) - 1
        if step >= last:
            return self.min
        return _half_cosine(top, self.min, (step - self.warmup) / (last - self.warmup))

    def describe(self, total: int | None, devices: int = 1) -> str:
        """Rates, and the steps at which they are reached."""
        top = _describe_top(self.max, self.scale_by_devices, devices)
        if self._length(total) <= self.warmup:
            return _describe_short(top, self.warmup, self._length(total))
        rise = f"up to {top} in {self.warmup} steps, then" if self.warmup else f"from {top}"
        return f"{rise} along a cosine down to {self.min:g} at step {self._length(total)}, where it stays"

    @property
    def needs_total(self) -> bool:
        """Unless its own length is given."""
        return self.iterations is None

    def _length(self, total: int | None) -> int:
        length = total if self.iterations is None else self.iterations
        assert length is not None
        return length


@dataclass(frozen=True)
class Constant(Schedule):
    """One learning rate, after a linear warm-up if there is to be one.

    Args:
        value: Learning rate after the warm-up, before it is scaled with the number of devices.
        warmup: Optimiser steps of the warm-up, in which the rate grows by the same amount from each to the next.
        scale_by_devices: What the rate is multiplied with where several devices share a step: ``none`` for nothing,
            ``linear`` for their number, ``sqrt`` for its root. Devices that hold one model together count as one.
        weight_decay: Weight decay of the optimiser on weight matrices; biases and norms are not decayed.
    """

    value: float = 5e-4
    warmup: int = 0
    scale_by_devices: DeviceScale = "none"
    weight_decay: float = 1e-5

    def __post_init__(self) -> None:
        _check_rates(self, "value", "weight_decay")
        _check_warmup(self.warmup)

    def rate(self, step: int, total: int | None, devices: int = 1) -> float:
        """Learning rate of one optimiser step."""
        top = self.value * device_factor(self.scale_by_devices, devices)
        return top * min(step + 1, self.warmup + 1) / (self.warmup + 1)

    def describe(self, total: int | None, devices: int = 1) -> str:
        """The rate, and the length of the warm-up."""
        top = _describe_top(self.value, self.scale_by_devices, devices)
        if total is not None and 0 < total <= self.warmup:
            return _describe_short(top, self.warmup, total)
        return f"{top}, after a warm-up of {self.warmup} steps" if self.warmup else f"{top}, constant"


def device_factor(scale: DeviceScale, devices: int) -> float:
    """What a rate is multiplied with where so many devices share a step."""
    return {"none": 1.0, "sqrt": sqrt(devices), "linear": float(devices)}[scale]


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + cos(pi * share)) / 2


def _describe_top(rate: float, scale: DeviceScale, devices: int) -> str:
    if scale == "none" or devices == 1:
        return f"{rate:g}"
    root = "the root of " if scale == "sqrt" else ""
    return f"{rate * device_factor(scale, devices):g} ({rate:g} times {root}{devices} devices)"


def _describe_short(top: str, warmup: int, total: int) -> str:
    return f"up to {top} in a warm-up of {warmup} steps, of which the training has {total} only"


def _check_rates(schedule: Schedule, *keys: str) -> None:
    for key in keys:
        value = getattr(schedule, key)
        if not isfinite(value) or value < 0:
            raise ConfigError(f"model.lrs_config.{key} is {value}; it must be a number of at least 0")


def _check_warmup(steps: int) -> None:
    if steps < 0:
        raise ConfigError(f"model.lrs_config.warmup is {steps}; it is a number of steps, 0 for none")
