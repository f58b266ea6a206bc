"""Chunks from several processes, in order."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from salt.errors import SaltError
from salt.simulate.chunk import BLOCK, events_of, make_chunk
from salt.simulate.fields import Records
from salt.simulate.options import Options

FIRST_RATE = 4.0
"""Jets per event that are expected before any has been made; it only steers how far ahead work is done."""

Chunks = Iterator[dict[str, Records]]


def _start_worker() -> None:
    """Leaves Ctrl-C to the parent, and ends this process as soon as the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:

        def follow() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()


class Workers:
    """Processes that make chunks.

    Args:
        pool: The processes.
        count: How many there are.
        options: What was asked for.
    """

    def __init__(self, pool: ProcessPoolExecutor, count: int, options: Options) -> None:
        self._pool = pool
        self._count = count
        self._options = options

    def chunks(self, split: str, wanted: int) -> Chunks:
        """All chunks of a split in their order, without end.

        Args:
            split: The file they are for.
            wanted: How many jets will probably be taken; chunks beyond are only begun when asked for.

        Raises:
            SaltError: A process died.
        """
        ahead: deque[Future[dict[str, Records]]] = deque()
        number, made, events = 0, 0, 0
        try:
            while True:
                rate = (made + FIRST_RATE * BLOCK) / (events + BLOCK)
                while len(ahead) < 2 * self._count:
                    coming = sum(events_of(number - 1 - i) for i in range(len(ahead)))
                    if ahead and made + rate * coming > wanted:
                        break
                    ahead.append(self._pool.submit(make_chunk, self._options, split, number))
                    number += 1
                events += events_of(number - len(ahead))
                chunk = ahead.popleft().result()
                made += len(chunk["jets"])
                yield chunk
        except BrokenProcessPool as error:
            raise SaltError(
                "a simulation process died, perhaps for lack of memory\ntry fewer --processes or less --pileup"
            ) from error
        finally:
            for future in ahead:
                future.cancel()


@contextmanager
def start(count: int, options: Options) -> Iterator[Workers]:
    """Starts `count` fresh processes; on leaving, however, they are gone at once, in the middle of a chunk or not."""
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker)
    try:
        yield Workers(pool, count, options)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            if process not in others:
                process.kill()
                process.join()
