"""How many steps a prediction is rolled out, as a function of the epoch alone."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from salt.errors import ConfigError


@dataclass(frozen=True)
class Rollout:
    """For how many steps a model goes on from its own predictions.

    In epoch e it is ``min(max, start + (e - e0) // epoch_increment)``, where e0 is the epoch with which the number
    began to grow: the first one that was trained with a `max` above `start`. A checkpoint remembers it.

    Args:
        start: Steps in the epoch e0 and before.
        epoch_increment: After so many epochs there is one step more.
        max: The number of steps does not grow beyond this.
        validation: Steps in validation and test, whatever the epoch, so that losses stay comparable.
    """

    start: int = 1
    epoch_increment: int = 1
    max: int = 1
    validation: int = 1

    @property
    def grows(self) -> bool:
        """Whether the number changes."""
        return self.max > self.start

    @property
    def most(self) -> int:
        """The largest number of steps, of training and validation."""
        return max(self.max, self.validation)

    def steps(self, epoch: int, since: int) -> int:
        """The number of steps in training.

        Args:
            epoch: The epoch, from 0.
            since: e0.
        """
        return min(self.max, self.start + max(0, epoch - since) // self.epoch_increment)

    def check(self, task: str, max_count: int | None) -> None:
        """ConfigError where this has no meaning or no effect.

        Args:
            task: Name of the task, for messages.
            max_count: At most so many constituents of a jet are read.
        """
        where = f"task '{task}': rollout"
        for key in ("start", "epoch_increment", "max", "validation"):
            if getattr(self, key) < 1:
                raise ConfigError(f"{where}.{key} is {getattr(self, key)}; it is at least 1")
        if self.max < self.start:
            raise ConfigError(f"{where}.max is {self.max}, less than start {self.start}; raise it, or lower start")
        if self.epoch_increment != 1 and not self.grows:
            raise ConfigError(f"{where}.epoch_increment has no effect while max is start; raise max, or leave it out")
        for key in ("max", "validation"):
            if max_count is not None and getattr(self, key) >= max_count:
                raise ConfigError(
                    f"{where}.{key} is {getattr(self, key)}, but no jet has more than max_count = {max_count} "
                    f"constituents, the first of which is given\nlower it below {max_count}, or raise max_count"
                )


@runtime_checkable
class RollsOut(Protocol):
    """A task that is trained for more steps as epochs go by."""

    name: str
    rollout: Rollout

    def begin_epoch(self, epoch: int, steps: int) -> None:
        """Says, before the batches of an epoch, which it is and for how many steps it is rolled out."""
        ...
