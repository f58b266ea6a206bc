"""Learning rates as functions of the step alone, so that a resumed or extended run needs no saved schedule."""

from dataclasses import dataclass
from math import cos, isfinite, pi

from salt.errors import ConfigError


@dataclass(frozen=True)
class OneCycle:
    """One cycle of the learning rate (Smith and Topin, arXiv:1708.07120): up and down again along half cosines.

    Args:
        initial: Learning rate at the first step.
        max: Learning rate at the top of the cycle.
        end: Learning rate at the last step, and after it.
        pct_start: Share of all steps after which the top is reached, between 0 and 1.
        weight_decay: Decoupled weight decay of AdamW on weight matrices; biases and norms are not decayed.
    """

    initial: float = 1e-7
    max: float = 5e-4
    end: float = 1e-5
    pct_start: float = 0.1
    weight_decay: float = 1e-5

    def __post_init__(self) -> None:
        for key in ("initial", "max", "end", "weight_decay"):
            value = getattr(self, key)
            if not isfinite(value) or value < 0:
                raise ConfigError(f"model.lrs_config.{key} is {value}; it must be a number of at least 0")
        if not 0 <= self.pct_start <= 1:
            raise ConfigError(f"model.lrs_config.pct_start is {self.pct_start}; it must lie between 0 and 1")

    def rate(self, step: int, total: int) -> float:
        """Learning rate of one optimiser step.

        Args:
            step: Number of optimiser steps taken before this one, from 0.
            total: Number of optimiser steps of the whole training.
        """
        top = max(self.pct_start * total - 1, 0.0)
        last = max(total - 1, 0)
        if step <= top and top > 0:
            return _half_cosine(self.initial, self.max, step / top)
        if step >= last:
            return self.end
        return _half_cosine(self.max, self.end, (step - top) / (last - top))


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + cos(pi * share)) / 2
