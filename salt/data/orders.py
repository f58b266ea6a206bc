"""Which jets make which step: pure functions of sizes, seed and epoch.

An order cuts the positions 0 to N - 1 into *steps* of S jets, S being the batch size times the number of ranks; the
last step may be short. A *group* is a few consecutive steps that are read together. Within each step positions
ascend, so that the slice of one rank lies in few blocks. Nothing here depends on workers or on what was read before,
and every position comes exactly once an epoch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from salt.data.reader import Array

GROUP_JETS = 16_384
GROUP_BLOCKS = 8


class Order(Protocol):
    """An order of batches."""

    @property
    def num_steps(self) -> int:
        """Number of steps of an epoch."""
        ...

    @property
    def group_steps(self) -> int:
        """Number of steps of a group."""
        ...

    @property
    def num_groups(self) -> int:
        """Number of groups of an epoch."""
        ...

    def group(self, epoch: int, index: int) -> list[Array]:
        """The positions of each step of a group, ascending within each step."""
        ...


@dataclass(frozen=True)
class Sequential:
    """All positions as they come, the same in every epoch.

    Args:
        size: Number of jets.
        step: Jets a step, of all ranks together.
    """

    size: int
    step: int

    @property
    def num_steps(self) -> int:
        """Steps of an epoch."""
        return -(-self.size // self.step)

    @property
    def group_steps(self) -> int:
        """Steps of a group."""
        return max(1, GROUP_JETS // self.step)

    @property
    def num_groups(self) -> int:
        """Groups of an epoch."""
        return -(-self.num_steps // self.group_steps)

    def group(self, epoch: int, index: int) -> list[Array]:
        """Consecutive steps."""
        return [self.contiguous(i) for i in self.step_range(index)]

    def step_range(self, index: int) -> range:
        """The numbers of the steps of a group."""
        return range(index * self.group_steps, min((index + 1) * self.group_steps, self.num_steps))

    def contiguous(self, step: int) -> Array:
        """The positions of a step of consecutive jets."""
        return np.arange(step * self.step, min((step + 1) * self.step, self.size))


@dataclass(frozen=True)
class Weak(Sequential):
    """The steps of the sequential order, the same ones epoch after epoch, in a new order each time.

    Args:
        size: Number of jets.
        step: Jets a step, of all ranks together.
        seed: Of the run.
    """

    seed: int

    def group(self, epoch: int, index: int) -> list[Array]:
        """Steps of consecutive jets from anywhere."""
        order = _permutation(self.num_steps, self.seed, epoch)
        return [self.contiguous(int(order[i])) for i in self.step_range(index)]


@dataclass(frozen=True)
class Single(Sequential):
    """Single jets drawn at random over everything.

    Args:
        size: Number of jets.
        step: Jets a step, of all ranks together.
        seed: Of the run.
    """

    seed: int

    @property
    def group_steps(self) -> int:
        """One, as there is nothing to share."""
        return 1

    def group(self, epoch: int, index: int) -> list[Array]:
        """Random jets."""
        order = _permutation(self.size, self.seed, epoch)
        return [np.sort(order[index * self.step : (index + 1) * self.step]).astype(np.int64)]


@dataclass(frozen=True, eq=False)
class Blocks(Sequential):
    """Blocks of consecutive jets in random order, those of a group mixed jet by jet.

    Args:
        size: Number of jets.
        step: Jets a step, of all ranks together.
        seed: Of the run.
        edges: Ascending positions from 0 to the number of jets that cut them into blocks.
    """

    seed: int
    edges: Array

    @classmethod
    def of(cls, edges: Sequence[int] | Array, step: int, seed: int) -> "Blocks":
        """Builds it from the edges of blocks."""
        return cls(int(edges[-1]), step, seed, np.asarray(edges, dtype=np.int64))

    @property
    def group_steps(self) -> int:
        """As many steps as make a group of about 16 000 jets and at least 8 blocks of average size."""
        blocks = GROUP_BLOCKS * self.size // (len(self.edges) - 1)
        return -(-max(GROUP_JETS, blocks) // self.step)

    def group(self, epoch: int, index: int) -> list[Array]:
        """Mixed jets of some random blocks."""
        starts, ends = _shuffled_blocks(self, epoch)
        first = index * self.group_steps * self.step
        last = min(first + self.group_steps * self.step, self.size)
        low, high = int(np.searchsorted(ends, first, side="right")), int(np.searchsorted(ends, last))
        jets = []
        for block in range(low, high + 1):
            before = int(ends[block - 1]) if block else 0
            offset = int(starts[block]) - before
            jets.append(np.arange(max(first, before), min(last, int(ends[block]))) + offset)
        mixed = _generator(self.seed, epoch, 1 + index).permutation(np.concatenate(jets))
        return [np.sort(mixed[i : i + self.step]) for i in range(0, len(mixed), self.step)]


def share(step: Array, rank: int, world_size: int) -> Array:
    """The part of a step that one rank takes; the parts differ in size by at most one jet, and may be empty."""
    return step[len(step) * rank // world_size : len(step) * (rank + 1) // world_size]


def whole_batches(batch: int) -> Callable[[Array, int, int], Array]:
    """Shares of a step that are batches of the same jets whatever the number of ranks; those of the end may be empty.

    The last bits of a score depend on the batch in which it is computed, so scores do not depend on the ranks.

    Args:
        batch: Jets in a batch of one rank.
    """
    return lambda step, rank, world_size: step[batch * rank : batch * (rank + 1)]


def _generator(seed: int, epoch: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch, stream])))


@lru_cache(maxsize=1)
def _permutation(size: int, seed: int, epoch: int) -> Array:
    small = size <= np.iinfo(np.int32).max
    return _generator(seed, epoch, 0).permutation(np.arange(size, dtype=np.int32 if small else np.int64))


@lru_cache(maxsize=2)
def _shuffled_blocks(blocks: Blocks, epoch: int) -> tuple[Array, Array]:
    """Blocks in random order: where each starts, and how many jets there are up to its end."""
    order = _permutation(len(blocks.edges) - 1, blocks.seed, epoch)
    return blocks.edges[:-1][order], np.cumsum(np.diff(blocks.edges)[order])
