"""The gradient of a step that is computed in parts: one after the other, or side by side in threads of a CPU.

The parts of a batch are independent but for the counts that divide the sums, and those are known beforehand. So each
part goes forward and backward on its own, nothing of it is kept but its gradient, and threads need not wait for each
other in every operation.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from salt.batch import JetBatch
from salt.nn.dropout import drawing_from

MIN_PART = 1000
"""Constituents that keep a thread busy; a batch with fewer for each is cut into fewer parts."""

Result = TypeVar("Result")

Losses = Callable[[JetBatch], Tensor]
"""From a part to the [K] sums of its losses, with gradient."""


def how_many(batch: JetBatch, most: int, least: int, model: nn.Module, in_threads: bool) -> tuple[int, int]:
    """How a batch is cut.

    Args:
        batch: The jets.
        most: The largest number of constituents that a device holds at a time.
        least: The smallest number of parts.
        model: It is computed in one thread if it has PyTorch's own dropout or batch norm, which threads would share.
        in_threads: Whether it may be computed in several threads.

    Returns:
        The number of threads, and that of the parts, which is a multiple of it.
    """
    total = sum(x.values.shape[0] for x in batch.constituents.values())
    side_by_side = 1
    if in_threads and batch.jets.device.type == "cpu" and _may_run_in_threads(model):
        side_by_side = max(1, min(torch.get_num_threads(), total // MIN_PART, len(batch)))
    needed = max(side_by_side, least, -(-total // most))
    return side_by_side, -(-needed // side_by_side) * side_by_side


def losses_in_parts(
    parts: Sequence[JetBatch],
    losses: Losses,
    scale: Tensor,
    parameters: Sequence[nn.Parameter],
    threads: int = 1,
    factor: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Goes through the parts, forward and backward.

    Args:
        parts: The parts of a batch.
        losses: What is computed of each.
        scale: [K] what each sum is multiplied with in the loss of the batch.
        parameters: What has a gradient.
        threads: How many parts are computed side by side.
        factor: What the loss is multiplied with while gradients are computed, so that none is too small for half
            precision.

    Returns:
        [K] sums over all parts, without gradient, and the loss, whose backward hands out the gradients that were
        summed up here, in the order of the parts.
    """
    seed = _seed(threads)
    autocast = _autocast_of_this_thread()

    def some(first: int) -> tuple[Tensor, list[Tensor | None]]:
        sums = torch.zeros_like(scale)
        gradients: list[Tensor | None] = [None] * len(parameters)
        for number in range(first, len(parts), threads):
            with drawing_from(_generator(seed, number)):
                with autocast():
                    here = losses(parts[number])
                found = torch.autograd.grad((here * scale).sum() * factor, parameters, allow_unused=True)
            sums = sums + here.detach()
            gradients = _added(gradients, found)
        return sums, gradients

    (sums, gradients), *others = _side_by_side(threads, some)
    with one_thread():
        for more, found in others:
            sums, gradients = sums + more, _added(gradients, found)
    return sums, _Computed.apply((sums * scale).sum(), gradients, factor, *parameters)


def sums_in_parts(parts: Sequence[JetBatch], losses: Losses, threads: int = 1) -> Tensor:
    """The [K] sums over all parts, without gradient, for losses of the batch that are no sum of those of its parts.

    The random numbers are those that `losses_in_parts` draws afterwards.

    Args:
        parts: The parts of a batch.
        losses: What is computed of each.
        threads: How many parts are computed side by side.
    """
    device = parts[0].jets.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        seed, workers = _seed(threads), min(threads, len(parts))
        autocast = _autocast_of_this_thread()

        def some(first: int) -> Tensor:
            with torch.no_grad(), autocast():
                found = []
                for number in range(first, len(parts), workers):
                    with drawing_from(_generator(seed, number)):
                        found.append(losses(parts[number]))
                return torch.stack(found).sum(0)

        sums = torch.stack(_side_by_side(workers, some)).sum(0)
    torch.clear_autocast_cache()  # Of weights in half precision that have no gradient.
    return sums


@contextmanager
def one_thread() -> Iterator[None]:
    """Many small tensors take less time in one thread of a CPU than it takes to wake the others for each of them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _seed(threads: int) -> int | None:
    """From which the random numbers of each part follow; None where the parts draw them one after the other."""
    return int(torch.randint(2**62, ())) if threads > 1 else None


def _generator(seed: int | None, number: int) -> torch.Generator | None:
    return None if seed is None else torch.Generator().manual_seed(seed + number)


def _side_by_side(threads: int, work: Callable[[int], Result]) -> list[Result]:
    """What `work` returns for 0, 1 ... up to the number of threads, each computed in one of them."""
    if threads == 1:
        return [work(0)]
    cores = max(1, torch.get_num_threads() // threads)

    def in_a_thread(first: int) -> Result:
        if torch.get_num_threads() != cores:
            torch.set_num_threads(cores)
        return work(first)

    pending = [_pool(threads).submit(in_a_thread, first) for first in range(threads)]
    wait(pending)
    return [future.result() for future in pending]


def _added(gradients: Sequence[Tensor | None], found: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Sums, in place in the first where both are there."""
    return [b if a is None else a if b is None else a.add_(b) for a, b in zip(gradients, found, strict=True)]


def _may_run_in_threads(model: nn.Module) -> bool:
    shared = (_DropoutNd, _BatchNorm)  # A generator, or running means, that all threads would change.
    return not any(isinstance(module, shared) and getattr(module, "p", 1) > 0 for module in model.modules())


def _autocast_of_this_thread() -> Callable[[], Any]:
    """What puts another thread into the mixed precision of this one; weights are converted for each part anew."""
    device = "cpu"
    if not torch.is_autocast_enabled(device):
        return nullcontext
    dtype = torch.get_autocast_dtype(device)
    return lambda: torch.autocast(device, dtype, cache_enabled=False)


@lru_cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that wait for work; the number of cores of each is not that of the thread that asks for them."""
    mine = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="part")
    meet = threading.Barrier(threads)

    def begin() -> None:
        torch.get_num_threads()  # It would take over the number that was set last, whoever set it.
        meet.wait()

    wait([pool.submit(begin) for _ in range(threads)])
    torch.set_num_threads(mine)
    return pool


class _Computed(torch.autograd.Function):
    """A loss whose gradients are known."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: list[Tensor | None], factor: float, *parameters: Tensor) -> Tensor:
        """The loss."""
        ctx.gradients, ctx.factor = gradients, factor
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The known gradients, times that of the loss."""
        share = gradient / ctx.factor
        with one_thread():
            return None, None, None, *(None if g is None else g * share for g in ctx.gradients)
