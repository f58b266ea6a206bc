"""Learning rates as functions of the step alone, so that a resumed or extended run needs no saved schedule."""

from dataclasses import dataclass
from math import cos, isfinite, pi

from salt.errors import ConfigError


@dataclass(frozen=True)
class OneCycle:
    """One cycle of the learning rate (Smith and Topin, arXiv:1708.07120): up and down again along half cosines.

    The momentum, which is AdamW's first beta, goes the other way round (Smith, arXiv:1803.09820).

    Args:
        initial: Learning rate at the first step.
        max: Learning rate at the top of the cycle.
        end: Learning rate at the last step, and after it.
        pct_start: Share of all steps after which the top is reached, between 0 and 1.
        min_momentum: Momentum at the top of the cycle.
        max_momentum: Momentum at the first and the last step, and after it.
        weight_decay: Decoupled weight decay of AdamW on weight matrices; biases and norms are not decayed.
    """

    initial: float = 1e-7
    max: float = 5e-4
    end: float = 1e-5
    pct_start: float = 0.1
    min_momentum: float = 0.85
    max_momentum: float = 0.95
    weight_decay: float = 1e-5

    def __post_init__(self) -> None:
        for key in ("initial", "max", "end", "weight_decay"):
            value = getattr(self, key)
            if not isfinite(value) or value < 0:
                raise ConfigError(f"model.lrs_config.{key} is {value}; it must be a number of at least 0")
        if not 0 <= self.pct_start <= 1:
            raise ConfigError(f"model.lrs_config.pct_start is {self.pct_start}; it must lie between 0 and 1")
        for key in ("min_momentum", "max_momentum"):
            if not 0 <= getattr(self, key) < 1:
                raise ConfigError(f"model.lrs_config.{key} is {getattr(self, key)}; it is at least 0 and below 1")

    def rate(self, step: int, total: int) -> float:
        """Learning rate of one optimiser step.

        Args:
            step: Number of optimiser steps taken before this one, from 0.
            total: Number of optimiser steps of the whole training.
        """
        return self._cycle(self.initial, self.max, self.end, step, total)

    def momentum(self, step: int, total: int) -> float:
        """Momentum of one optimiser step; the arguments are those of `rate`."""
        return self._cycle(self.max_momentum, self.min_momentum, self.max_momentum, step, total)

    def _cycle(self, first: float, middle: float, end: float, step: int, total: int) -> float:
        top = max(self.pct_start * total - 1, 0.0)
        last = max(total - 1, 0)
        if step <= top and top > 0:
            return _half_cosine(first, middle, step / top)
        if step >= last:
            return end
        return _half_cosine(middle, end, (step - top) / (last - top))


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + cos(pi * share)) / 2
