"""Reads jets from a file, from ``main serve`` by socket and by TCP, and with several clients; prints jets/s of each.

    python benchmarks/serve.py train.h5

Each figure is the median over rounds in which the cases alternate. A client is a process with one thread that reads all
jets in the order of a training; rates of several are added up. The file is in the page cache.
"""

import argparse
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from staging import INPUTS, TARGETS, pass_seconds

from salt.data.formats import open_reader
from salt.data.orders import Blocks
from salt.data.paths import resolve
from salt.data.source import Source

CLIENTS = (1, 2, 4)


@contextmanager
def server(file: Path, bind: str) -> Iterator[str]:
    """``main serve`` for one file.

    Yields:
        What trainings call it.
    """
    words = [sys.executable, "-m", "salt", "serve", "--files.train", str(file), "--bind", bind]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield next(line for line in process.stdout if line.startswith("serving at ")).split()[2].rstrip(";")
    finally:
        process.terminate()
        process.communicate()


def rate(option: str, epoch: int) -> float:
    """Jets per second of one pass, after a first one over some of them."""
    torch.set_num_threads(1)
    readers = [open_reader(place, {}) for place in resolve(option, "FILE")]
    source = Source("FILE", readers, INPUTS, TARGETS)
    source.pack(source.row_of(source.block_edges()[:2]))
    found = source.num_jets / pass_seconds(source, Blocks.of(source.block_edges(), 1000, 0), epoch)
    source.close()
    return found


def rates(option: str, clients: int, epoch: int, pool: Any) -> float:
    """Jets per second of so many clients together."""
    return sum(pool.starmap(rate, [(option, epoch + 100 * k) for k in range(clients)], chunksize=1))


def measure(file: Path, rounds: int, folder: Path) -> dict[str, float]:
    """The median rate of each case."""
    found: dict[str, list[float]] = {}
    pool_of = multiprocessing.get_context("spawn").Pool
    with server(file, f"unix:{folder / 'jets.sock'}") as unix, server(file, "127.0.0.1:0") as tcp:
        cases = [("the file", str(file)), ("unix socket", f"{unix}#train"), ("TCP", f"{tcp}#train")]
        with pool_of(max(CLIENTS)) as pool:
            for epoch in range(rounds):
                for name, option in cases:
                    for clients in CLIENTS:
                        label = f"{name}, {clients} client{'s' * (clients > 1)}"
                        found.setdefault(label, []).append(rates(option, clients, epoch, pool))
    return {label: statistics.median(values) for label, values in found.items()}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    words = parser.parse_args()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for label, value in measure(words.file.resolve(), words.rounds, Path(folder)).items():
            print(f"{label:24} {value:12,.0f} jets/s")
    print(f"{time.perf_counter() - begun:.0f} s, {words.rounds} rounds")


if __name__ == "__main__":
    main()
