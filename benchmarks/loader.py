"""Reads the same jets as files of different sizes and as many small ones; prints jets/s and memory of each case.

    python benchmarks/loader.py train.h5 --folder /tmp/jets

The files are made of the chunks of the first one, over and over. Each case is a process of its own, and rounds go
through all cases in turn.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 (registers its filters)
import torch
from staging import INPUTS, TARGETS

from salt.data.formats import open_reader
from salt.data.loader import StepLoader
from salt.data.orders import Blocks, Order, Single, Weak
from salt.data.source import Source

SIZES = (10_000, 100_000, 1_000_000)
SMALL_FILE = 500
BATCH = 1000
LEAST_SECONDS = 2.0


@dataclass(frozen=True)
class Reading:
    """What one process has measured.

    Args:
        cpu: Jets per second of CPU time, once the files are open.
        wall: Jets per second.
        start_seconds: CPU time from the paths to the first batch.
        memory: Bytes by which the resident memory was higher at its peak than before.
    """

    cpu: float
    wall: float
    start_seconds: float
    memory: int


def tile(source: Path, target: Path, num_jets: int, first: int = 0) -> None:
    """Writes a file of whole compressed chunks of another one, which begins again where it ends.

    Args:
        source: A structured file with chunks of equal numbers of rows.
        target: The new file.
        num_jets: Its jets, a multiple of the rows of a chunk.
        first: The row of the source to begin with, such a multiple too.
    """
    with h5py.File(source) as old, h5py.File(target, "w") as new:
        for name, item in old.items():
            if not isinstance(item, h5py.Dataset) or item.dtype.names is None:
                continue
            rows = item.chunks[0]
            shape, rest = (num_jets, *item.shape[1:]), (0,) * (item.ndim - 1)
            plist = item.id.get_create_plist()
            made = h5py.h5d.create(
                new.id, name.encode(), item.id.get_type(), h5py.h5s.create_simple(shape), plist.copy()
            )
            whole = item.shape[0] // rows
            for chunk in range(num_jets // rows):
                place = (first // rows + chunk) % whole
                mask, stored = item.id.read_direct_chunk((place * rows, *rest))
                made.write_direct_chunk((chunk * rows, *rest), stored, mask)
            for key, value in item.attrs.items():
                new[name].attrs[key] = value


def measure(paths: Sequence[Path], order_name: str = "blocks", threads: int = 1, num_workers: int = 0) -> Reading:
    """Reads whole epochs for at least two seconds, after a first one.

    Args:
        paths: The files.
        order_name: ``blocks``, ``weak`` or ``single``.
        threads: How many decompress.
        num_workers: Processes that read; with some of them only `wall` means anything.
    """
    torch.set_num_threads(1)
    before, begun = _resident(), time.process_time()
    source = Source("data.train_file", [open_reader(path, {}) for path in paths], INPUTS, TARGETS)
    order: Order
    if order_name == "blocks":
        order = Blocks.of(source.block_edges(), BATCH, 1)
    else:
        order = (Weak if order_name == "weak" else Single)(source.num_jets, BATCH, 1)
    epoch = 0
    loader = StepLoader(source, order, lambda: epoch, num_workers=num_workers, threads=threads)
    batches = iter(loader)
    next(batches)
    start = time.process_time() - begun
    for _ in batches:
        pass
    jets, wall, cpu = 0, 0.0, 0.0
    for epoch in count(1):  # noqa: B007 (the loader asks for it)
        first_wall, first_cpu = time.perf_counter(), time.process_time()
        jets += sum(len(batch) for batch in loader)
        wall, cpu = wall + time.perf_counter() - first_wall, cpu + time.process_time() - first_cpu
        if wall > LEAST_SECONDS:
            break
    return Reading(jets / cpu, jets / wall, start, _resident() - before)


def _resident() -> int:
    """The peak of the resident memory of this process so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def make_files(source: Path, folder: Path) -> dict[str, list[Path]]:
    """For each case its files, which are made if they are not there."""
    cases = {}
    for size in SIZES:
        path = folder / f"tiled_{size}.h5"
        if not path.exists():
            tile(source, path, size)
        cases[f"{size} jets"] = [path]
    small = [folder / f"small_{i:04d}.h5" for i in range(SIZES[1] // SMALL_FILE)]
    for i, path in enumerate(small):
        if not path.exists():
            tile(source, path, SMALL_FILE, i * SMALL_FILE)
    cases[f"{SIZES[1]} jets in {len(small)} files"] = small
    return cases


def read_apart(paths: Sequence[Path], order: str, threads: int) -> Reading:
    """What `measure` returns, in a process of its own."""
    options = ["--order", order, "--threads", str(threads), "--files", *map(str, paths)]
    done = subprocess.run([sys.executable, __file__, *options], check=True, capture_output=True, text=True)
    return Reading(**json.loads(done.stdout))


def main() -> None:
    """Prints a table; with ``--files`` one reading as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, nargs="?")
    parser.add_argument("--folder", type=Path, help="where the files are made")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--order", choices=("blocks", "weak", "single"), default="blocks")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--files", type=Path, nargs="+")
    options = parser.parse_args()
    if options.files:
        print(json.dumps(asdict(measure(options.files, options.order, options.threads))))
        return
    if options.source is None or options.folder is None:
        parser.error("name a training file and --folder")
    options.folder.mkdir(parents=True, exist_ok=True)
    cases = make_files(options.source, options.folder)
    found: dict[str, list[Reading]] = {name: [] for name in cases}
    for _ in range(options.rounds):
        for name, paths in cases.items():
            found[name].append(read_apart(paths, options.order, options.threads))
    print(f"{'case':28s} {'jets/s':>9s} {'per CPU s':>10s} {'start, CPU s':>13s} {'memory, MB':>11s}")
    for name, readings in found.items():
        wall, cpu, start, memory = (
            statistics.median(getattr(r, key) for r in readings) for key in ("wall", "cpu", "start_seconds", "memory")
        )
        print(f"{name:28s} {wall:9.0f} {cpu:10.0f} {start:13.2f} {memory / 1e6:11.0f}")


if __name__ == "__main__":
    main()
