"""Reads jets from a file as it is, from a copy on fast storage, and from a packed store; prints jets/s of each.

    python benchmarks/staging.py train.h5 --folder /dev/shm/me

Each figure is the median over rounds in which the cases alternate, in one process and one thread, first touch excluded.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from rivals import CLASSES, JET_VARIABLES, TRACK_VARIABLES

from salt.data.build import build_store
from salt.data.copying import copy_files, copy_name
from salt.data.formats import open_reader
from salt.data.loader import StepLoader
from salt.data.orders import Blocks, Order, Weak
from salt.data.source import Source
from salt.data.store import Store
from salt.inputs import STANDARD_CLASSES, Input, Target

ORIGINS = tuple(name for _, name in STANDARD_CLASSES["ftagTruthOriginLabel"])
INPUTS = {"jets": Input(JET_VARIABLES), "tracks": Input(TRACK_VARIABLES)}
TARGETS = (
    Target("jets", "flavour_label", "class", tuple(CLASSES)),
    Target("tracks", "ftagTruthOriginLabel", "class", ORIGINS),
    Target("tracks", "ftagTruthVertexIndex", "index"),
)


@dataclass(frozen=True)
class Staged:
    """What was measured.

    Args:
        rates: For each pair of storage (``file``, ``copy``, ``packed``) and order (``weak``, ``blocks``) the jets
            per second, in wall time.
        seconds: For ``copy`` and ``packed`` the time of preparing it.
        bytes_per_jet: For each storage its size by the number of jets.
    """

    rates: dict[tuple[str, str], float]
    seconds: dict[str, float]
    bytes_per_jet: dict[str, float]


def open_jets(path: Path) -> Source:
    """The jets of one file, with the variables and labels of the comparison."""
    return Source("data.train_file", [open_reader(path, {})], INPUTS, TARGETS)


def pass_seconds(jets: Source | Store, order: Order, epoch: int) -> float:
    """Time of reading one epoch in this process."""
    loader = StepLoader(jets, order, lambda: epoch)
    begun = time.perf_counter()
    for _ in loader:
        pass
    return time.perf_counter() - begun


def measure(path: Path, folder: Path, batch_size: int = 1000, rounds: int = 5) -> Staged:
    """Stages a file in both ways under a new folder, reads all three, and removes what it has made."""
    torch.set_num_threads(1)
    source = open_jets(path)
    folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder))
    try:
        seconds = {}
        begun = time.perf_counter()
        (scratch / "copy").mkdir()
        copy_files([path], scratch / "copy")
        seconds["copy"] = time.perf_counter() - begun
        begun = time.perf_counter()
        (scratch / "packed").mkdir()
        build_store(source, scratch / "packed")
        seconds["packed"] = time.perf_counter() - begun
        cases: dict[str, Source | Store] = {
            "file": source,
            "copy": open_jets(scratch / "copy" / copy_name(0, path)),
            "packed": Store(scratch / "packed", tuple(INPUTS), TARGETS),
        }
        orders: dict[str, Order] = {
            "weak": Weak(source.num_jets, batch_size, 1),
            "blocks": Blocks.of(source.block_edges(), batch_size, 1),
        }
        found: dict[tuple[str, str], list[float]] = {(c, o): [] for c in cases for o in orders}
        for epoch in range(rounds + 1):
            for storage, name in found:
                taken = pass_seconds(cases[storage], orders[name], epoch)
                if epoch:
                    found[storage, name].append(source.num_jets / taken)
        sizes = {"file": path.stat().st_size} | {
            name: sum(p.stat().st_size for p in (scratch / name).iterdir()) for name in ("copy", "packed")
        }
        return Staged(
            {case: statistics.median(values) for case, values in found.items()},
            seconds,
            {name: size / source.num_jets for name, size in sizes.items()},
        )
    finally:
        shutil.rmtree(scratch)


def main() -> None:
    """Prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="fast storage")
    parser.add_argument("--batch_size", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    found = measure(given.file, given.folder, given.batch_size, given.rounds)
    for (storage, order), rate in found.rates.items():
        print(f"{storage:8s} {order:8s} {rate:12,.0f} jets/s")
    for storage, size in found.bytes_per_jet.items():
        took = f", prepared in {found.seconds[storage]:.2f} s" if storage in found.seconds else ""
        print(f"{storage:8s} {size:8.0f} bytes a jet{took}")


if __name__ == "__main__":
    main()
