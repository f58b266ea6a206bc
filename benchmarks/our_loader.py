"""Reads a training file with Salt's loader in this process; prints what peer_loader.py prints."""

import argparse
import json
import time
from pathlib import Path

import torch
from staging import INPUTS, TARGETS, open_jets

from salt.data.build import build_store
from salt.data.loader import StepLoader
from salt.data.orders import Blocks, Order, Weak
from salt.data.store import Store


def main() -> None:
    """Reads the file, or a packed stage of it, as often as asked for, and once more before."""
    parser = argparse.ArgumentParser()
    parser.add_argument("train", type=Path)
    parser.add_argument("--order", choices=("weak", "blocks"), default="blocks")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--packed", type=Path, help="folder for the packed stage, which is made if it is empty")
    parser.add_argument("--batch_size", type=int, default=1000)
    parser.add_argument("--passes", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    source = open_jets(arguments.train)
    order: Order
    if arguments.order == "weak":
        order = Weak(source.num_jets, arguments.batch_size, 1)
    else:
        order = Blocks.of(source.block_edges(), arguments.batch_size, 1)
    jets = source
    if arguments.packed:
        if not any(arguments.packed.iterdir()):
            build_store(source, arguments.packed)
        jets = Store(arguments.packed, tuple(INPUTS), TARGETS)
    passed = 0
    loader = StepLoader(jets, order, lambda: passed, threads=arguments.threads)
    rates = []
    for passed in range(arguments.passes + 1):  # noqa: B007 (the loader asks for it)
        wall, cpu = time.perf_counter(), time.process_time()
        seen = sum(len(batch) for batch in loader)
        rates.append({"wall": seen / (time.perf_counter() - wall), "cpu": seen / (time.process_time() - cpu)})
    print(json.dumps({key: max(rate[key] for rate in rates[1:]) for key in rates[0]}))


if __name__ == "__main__":
    main()
