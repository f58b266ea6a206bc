"""How fast a training goes."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True)
class Pace:
    """What was done in some time.

    Args:
        jets: Jets that were trained on, over all devices.
        steps: Optimiser steps.
        seconds: The time that this took, without that of validations.
        waited: Seconds of it in which the training waited for data.
    """

    jets: int = 0
    steps: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def since(self, earlier: "Pace") -> "Pace":
        """What was done after an earlier reading of the same clock."""
        return Pace(
            self.jets - earlier.jets,
            self.steps - earlier.steps,
            self.seconds - earlier.seconds,
            self.waited - earlier.waited,
        )

    @property
    def jets_per_second(self) -> float:
        """0 where no time has passed."""
        return self.jets / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_per_step(self) -> float:
        """0 before the first step."""
        return self.seconds / self.steps if self.steps else 0.0

    @property
    def wait_share(self) -> float:
        """The share of the time in which the training waited for data, between 0 and 1."""
        return min(1.0, max(0.0, self.waited / self.seconds)) if self.seconds > 0 else 0.0


def validations_in(steps: int, epoch: int, every: int | None, epochs: int | None) -> int:
    """How many validations the last steps of a training have among them.

    Args:
        steps: Number of those steps.
        epoch: Steps of an epoch.
        every: Steps from one validation to the next; None for one after an epoch.
        epochs: There are validations in every so many epochs; None if `every` counts over epochs.
    """
    rate = 1 / every if every and epochs is None else epoch // (every or epoch) / (epoch * (epochs or 1))
    return ceil(steps * rate - 1e-9)


class PaceClock:
    """Counts what is done while it runs.

    Args:
        clock: Tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._begun: float | None = None
        self._seconds = 0.0
        self._jets = 0
        self._steps = 0
        self._waited_before = 0.0

    def run(self, waited: float) -> None:
        """Starts, or goes on after a pause.

        Args:
            waited: Seconds that the loader says the training has waited so far.
        """
        if self._begun is None:
            self._begun = self._clock()
            if not self._steps:
                self._waited_before = waited

    def pause(self) -> None:
        """Stops, until it is to run again."""
        if self._begun is not None:
            self._seconds += self._clock() - self._begun
            self._begun = None

    def step(self, jets: int) -> None:
        """Counts a step of so many jets."""
        self._jets += jets
        self._steps += 1

    def read(self, waited: float) -> Pace:
        """All that was done so far."""
        running = 0.0 if self._begun is None else self._clock() - self._begun
        return Pace(self._jets, self._steps, self._seconds + running, waited - self._waited_before)
