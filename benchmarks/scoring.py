"""Scores a file of millions of jets; checks that every score is in its row, and prints the memory over time as JSON.

    python benchmarks/scoring.py logs/RUN/config.yaml --folder /tmp/scoring --jets 5000000

The jets of the sample in the package are tiled into one file. `eventNumber` counts its rows, and the pT of each tile
has a factor of its own, so that the scores of no two tiles are the same. A batch is a tile: tiles that are scored by
themselves must have the same scores, to the last bit.
"""

import argparse
import json
import subprocess
import threading
import time
from importlib.resources import files
from pathlib import Path

import h5py
import numpy as np
from environments import ours
from processes import memory_of

INPUTS = ("jets", "tracks")
KEY = "eventNumber"
SCORES = ("simple_pb", "simple_pc", "simple_pu")
PERIOD = 2.0
"""Seconds between two looks at the memory."""


def tile(source: Path, target: Path, jets: int, first: int = 0) -> int:
    """Writes the jets of a file over and over.

    Args:
        source: The file.
        target: The file that is made.
        jets: How many there shall be, rounded up to whole tiles.
        first: The number of the first tile.

    Returns:
        Rows of a tile.
    """
    with h5py.File(source, "r", locking=False) as file, h5py.File(target, "w") as made:
        size = len(file["jets"])
        tiles = -(-jets // size)
        for name in INPUTS:
            old = file[name]
            form = {"chunks": old.chunks, "compression": old.compression, "shuffle": old.shuffle}
            new = made.create_dataset(name, (tiles * size, *old.shape[1:]), old.dtype, **form)
            for key, value in old.attrs.items():
                new.attrs[key] = value
        table = file["jets"][:]
        pt = table["pt"].copy()
        chunks = [file["tracks"].id.read_direct_chunk((row, 0)) for row in range(0, size, file["tracks"].chunks[0])]
        for number in range(tiles):
            table[KEY] = np.arange(size) + (first + number) * size
            table["pt"] = pt * np.float32(1 + (first + number) * 1e-4)
            made["jets"][number * size : (number + 1) * size] = table
            for place, (mask, content) in enumerate(chunks):
                row = number * size + place * file["tracks"].chunks[0]
                made["tracks"].id.write_direct_chunk((row, 0), content, mask)
    return size


def score(config: Path, verb: str, target: Path, batch: int, *words: str) -> tuple[Path, list[tuple[float, int]]]:
    """Scores a file with `main test` or `main predict`.

    Returns:
        The predictions, and (seconds, bytes) of all processes together over the time.
    """
    command = [ours("main"), verb, "--config", config, "--data.test_file", target, "--data.batch_size", batch, *words]
    begun, memory = time.perf_counter(), []
    with target.with_suffix(".log").open("w") as log:
        child = subprocess.Popen([str(w) for w in command], stdout=log, stderr=log, start_new_session=True)
        done = threading.Event()

        def watch() -> None:
            while not done.wait(PERIOD):
                memory.append((time.perf_counter() - begun, memory_of(child.pid)))

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            code = child.wait()
        finally:
            child.kill()
            done.set()
            thread.join()
    if code:
        raise SystemExit(target.with_suffix(".log").read_text())
    (path,) = (config.parent / "ckpts").glob(f"*__test_{target.stem}.h5")
    return path, [(seconds, size) for seconds, size in memory if size]


def main() -> None:
    """Prints what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="config.yaml of a run of simple.yaml")
    parser.add_argument("--folder", type=Path, required=True, help="where the files are made")
    parser.add_argument("--jets", type=int, default=5_000_000)
    parser.add_argument("--verb", choices=("predict", "test"), default="predict")
    parser.add_argument("--compared", type=int, default=8, help="tiles that are scored by themselves, too")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    source = Path(str(files("salt") / "sample" / "test.h5"))
    target = options.folder / f"tiled_{options.jets}.h5"
    size = tile(source, target, options.jets)
    begun = time.perf_counter()
    path, memory = score(options.config, options.verb, target, size, "--overwrite")
    seconds = time.perf_counter() - begun
    tiles = -(-options.jets // size)
    with h5py.File(path, "r", locking=False) as file:
        found = file["jets"]
        in_place = len(found) == tiles * size and all(
            np.array_equal(found[start : start + size][KEY], np.arange(start, start + size))
            for start in range(0, tiles * size, size)
        )
        chosen = sorted({round(k) for k in np.linspace(0, tiles - 1, options.compared)})
        same = []
        for number in chosen:
            alone = options.folder / f"alone_{number}.h5"
            tile(source, alone, size, number)
            other, _ = score(options.config, "predict", alone, size, "--overwrite")
            with h5py.File(other, "r", locking=False) as single:
                alone_jets, together = single["jets"][:], found[number * size : (number + 1) * size]
                same.append(all(np.array_equal(alone_jets[c], together[c]) for c in (KEY, *SCORES)))
        different = len({found[k * size : (k + 1) * size]["simple_pb"].tobytes() for k in chosen})
    parts = [sizes for sizes in np.array_split([size for _, size in memory], 10) if len(sizes)]
    print(
        json.dumps(
            {
                "jets": tiles * size,
                "verb": options.verb,
                "seconds": round(seconds),
                "bytes of predictions": path.stat().st_size,
                "every key in its row": bool(in_place),
                "tiles scored by themselves": f"{sum(same)} of {len(chosen)} the same, {different} different ones",
                "MB of memory, mean of each tenth of the time": [round(float(np.mean(p)) / 2**20) for p in parts],
                "MB of memory at most": round(max(size for _, size in memory) / 2**20),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
