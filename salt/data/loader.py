"""The loader of batches: groups are read by workers, and handed out step by step."""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from salt.batch import JetBatch
from salt.data.group import Group, read_group
from salt.data.orders import Order, share
from salt.data.reader import Array
from salt.data.source import Source
from salt.data.store import Store
from salt.errors import SaltError

T = TypeVar("T")


class StepLoader:
    """Batches of one rank in the order of an epoch, the same ones with any number of workers.

    Args:
        source: The jets, in their files or packed.
        order: Which jets make which step.
        epoch: Tells the epoch when an iteration begins.
        rank: Number of this process among those that train together.
        world_size: How many they are.
        num_workers: Processes that read; 0 reads in this one.
        context: How workers are started, ``fork`` or ``spawn``; None for the default of the system.

    Attributes:
        waited: Seconds that the consumer has waited for batches, over all iterations.
        first_step: The step at which the next iteration begins; later ones begin at 0.
    """

    def __init__(
        self,
        source: Source | Store,
        order: Order,
        epoch: Callable[[], int],
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
        context: str | None = None,
    ) -> None:
        self.source = source
        self.order = order
        self.waited = 0.0
        self.first_step = 0
        self._epoch = epoch
        self._rank = rank
        self._world_size = world_size
        with _own_advice_on_workers():
            self._loader: DataLoader[Group | SaltError] = DataLoader(
                _Groups(source),
                sampler=_Items(self._items),
                batch_size=None,
                collate_fn=_same,
                num_workers=num_workers,
                persistent_workers=num_workers > 0,
                pin_memory=torch.cuda.is_available(),
                multiprocessing_context=context if num_workers else None,
                generator=torch.Generator(),
            )

    def __len__(self) -> int:
        """The number of steps of an epoch."""
        return self.order.num_steps

    def __iter__(self) -> Iterator[JetBatch]:
        skip = self.first_step % self.order.group_steps
        begun = time.perf_counter()
        with _own_advice_on_workers():
            groups = iter(self._loader)
        self.first_step = 0
        while True:
            group = next(groups, None)
            self.waited += time.perf_counter() - begun
            if group is None:
                return
            if isinstance(group, SaltError):
                raise group
            for i, batch in enumerate(group.batches()):
                if i >= skip:
                    yield batch
            skip = 0
            begun = time.perf_counter()

    def _items(self) -> Iterator[list[Array]]:
        epoch = self._epoch()
        for index in range(self.first_step // self.order.group_steps, self.order.num_groups):
            yield [share(step, self._rank, self._world_size) for step in self.order.group(epoch, index)]


@contextmanager
def _own_advice_on_workers() -> Iterator[None]:
    """Without PyTorch's advice on the number of workers, which the data module gives in its own words."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        yield


class _Items:
    """Calls a function for each new iteration."""

    def __init__(self, items: Callable[[], Iterator[list[Array]]]) -> None:
        self._call = items

    def __iter__(self) -> Iterator[list[Array]]:
        return self._call()


class _Groups(Dataset["Group | SaltError"]):
    """Reads what it is asked for. An error is an answer, so that no traceback of a worker hides its message."""

    def __init__(self, source: Source | Store) -> None:
        self._source = source

    def __getitem__(self, steps: list[Array]) -> Group | SaltError:
        try:
            return self._source.group(steps) if isinstance(self._source, Store) else read_group(self._source, steps)
        except SaltError as error:
            return error


def _same(item: T) -> T:
    return item
