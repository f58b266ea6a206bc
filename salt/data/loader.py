"""The loader of batches: groups are read by workers, and handed out step by step."""

import atexit
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from salt.batch import JetBatch
from salt.data.family import begin_reader
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
        num_workers: Processes that read; 0 reads in a thread of this one.
        context: How workers are started, ``fork`` or ``spawn``; None for the default of the system.
        threads: How many of each such process decompress at the same time.
        repeated: Whether the next epoch is expected to follow, so that its first batches are read in time.
        cut: The part of a step that a rank takes, of so many.

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
        threads: int = 1,
        repeated: bool = False,
        cut: Callable[[Array, int, int], Array] = share,
    ) -> None:
        self.source = source
        self.order = order
        self.waited = 0.0
        self.first_step = 0
        self._epoch = epoch
        self._rank = rank
        self._world_size = world_size
        self._repeated = repeated
        self._cut = cut
        self._read = _Groups(source, threads)
        self._items = _Items()
        self._ahead: tuple[int, Iterator[Group | SaltError]] | None = None
        self._workers: DataLoader[Group | SaltError] | None = None
        if num_workers:
            with _own_advice_on_workers():
                self._workers = DataLoader(
                    self._read,
                    sampler=self._items,
                    batch_size=None,
                    collate_fn=_same,
                    num_workers=num_workers,
                    persistent_workers=True,
                    pin_memory=torch.cuda.is_available(),
                    multiprocessing_context=context,
                    generator=torch.Generator(),
                    worker_init_fn=begin_reader,
                )
            atexit.register(_end_workers, weakref.ref(self._workers))

    def __len__(self) -> int:
        """The number of steps of an epoch."""
        return self.order.num_steps

    def __iter__(self) -> Iterator[JetBatch]:
        begun = time.perf_counter()
        epoch = self._epoch()
        first, skip = divmod(self.first_step, self.order.group_steps)
        self.first_step = 0
        ahead, self._ahead = self._ahead, None
        groups = ahead[1] if ahead is not None and (ahead[0], 0) == (epoch, first) else self._start(epoch, first)
        for index in range(first, self.order.num_groups):
            group = next(groups)
            if isinstance(group, SaltError):
                raise group
            if self._repeated and index == self.order.num_groups - 1:
                self._ahead = epoch + 1, self._start(epoch + 1, 0)
            self.waited += time.perf_counter() - begun
            for i, batch in enumerate(group.batches()):
                if i >= skip:
                    yield batch
            skip = 0
            begun = time.perf_counter()

    def _start(self, epoch: int, first: int) -> Iterator["Group | SaltError"]:
        """Begins to read the groups of an epoch, from one of them on."""
        steps = self._steps(epoch, first)
        if self._workers is None:
            return _InThread(self._read, steps)
        self._items.next = steps
        with _own_advice_on_workers():
            return iter(self._workers)

    def _steps(self, epoch: int, first: int) -> Iterator[list[Array]]:
        for index in range(first, self.order.num_groups):
            yield [self._cut(step, self._rank, self._world_size) for step in self.order.group(epoch, index)]


@contextmanager
def _own_advice_on_workers() -> Iterator[None]:
    """Without PyTorch's advice on the number of workers, which the data module gives in its own words."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        yield


def _end_workers(loader: "weakref.ref[DataLoader[Group | SaltError]]") -> None:
    """Lets workers end when the interpreter does; else Python would send SIGTERM, from which they do not end soon."""
    workers = loader()
    if workers is not None and workers._iterator is not None:
        workers._iterator._shutdown_workers()  # type: ignore[attr-defined]


class _Items:
    """Gives what it holds to the next iteration over it."""

    def __init__(self) -> None:
        self.next: Iterator[list[Array]] = iter(())

    def __iter__(self) -> Iterator[list[Array]]:
        return self.next


class _InThread:
    """Reads one group ahead of the consumer."""

    def __init__(self, read: "_Groups", steps: Iterator[list[Array]]) -> None:
        self._read = read
        self._steps = steps
        self._pool = ThreadPoolExecutor(1, "groups")
        self._next = self._pool.submit(self._read_next)

    def __iter__(self) -> Iterator[Group | SaltError]:
        return self

    def __next__(self) -> Group | SaltError:
        group = self._next.result()
        if group is None:
            raise StopIteration
        self._next = self._pool.submit(self._read_next)
        return group.pin_memory() if isinstance(group, Group) and torch.cuda.is_available() else group

    def _read_next(self) -> Group | SaltError | None:
        steps = next(self._steps, None)
        return None if steps is None else self._read[steps]


class _Groups(Dataset["Group | SaltError"]):
    """Reads what it is asked for. An error is an answer, so that no traceback of a worker hides its message."""

    def __init__(self, source: Source | Store, threads: int) -> None:
        self._source = source
        self._threads = threads

    def __getitem__(self, steps: list[Array]) -> Group | SaltError:
        try:
            if isinstance(self._source, Store):
                return self._source.group(steps)
            return read_group(self._source, steps, self._threads)
        except SaltError as error:
            return error


def _same(item: T) -> T:
    return item
