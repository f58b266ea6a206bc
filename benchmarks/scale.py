"""Trains on the same jets as files of 10 thousand to a million; prints time per jet and memory of each.

    python benchmarks/scale.py jets/train.h5 --folder /tmp/jets

The files are made of the chunks of the first one, over and over; val.h5 is taken from beside it. Rounds go through all
sizes in turn.
"""

import argparse
import json
import statistics
from pathlib import Path

from environments import ours
from loader import SIZES, tile
from processes import run
from trainings import HOOKS

BATCH = 1000


def train(file: Path, val: Path, size: int, config: str, jets: int, out: Path) -> tuple[float, float, float]:
    """Microseconds of CPU and of time for each jet, without the first epoch, and the largest memory in bytes.

    An epoch has at most `jets` jets, and there are as many epochs as it takes to see so many after the first one.
    """
    out.mkdir(parents=True, exist_ok=True)
    clock = out / "clock.json"
    words = ["--data.train_file", file, "--data.val_file", val, "--data.num_val", 100, "--data.batch_size", BATCH]
    words += ["--data.norm_dict", file.parent / "norm_dict.yaml", "--data.num_workers", 0]
    words += ["--trainer.max_epochs", 1 + max(1, jets // size)]
    words += ["--trainer.limit_train_batches", min(size, jets) // BATCH, "--trainer.default_root_dir", out / "runs"]
    callback = f"{{class_path: clock.Clock, init_args: {{out: {clock}}}}}"
    command = [ours("main"), "fit", "--config", config, *words, "--trainer.callbacks.Clock", callback]
    usage = run(command, out / "fit.log", HOOKS, watch=True)
    epochs = json.loads(clock.read_text())["epochs"][1:]
    cpu, wall = (sum(values) for values in zip(*((e["cpu"], e["end"] - e["begin"]) for e in epochs), strict=True))
    seen = min(size, jets) * len(epochs)
    return 1e6 * cpu / seen, 1e6 * wall / seen, usage.peak


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--folder", type=Path, required=True, help="where the files and trainings are")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--config", default="simple", help="the model")
    parser.add_argument("--jets", type=int, default=400_000, help="jets that each training sees after its first epoch")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    norms = options.source.parent / "norm_dict.yaml"
    (options.folder / norms.name).write_text(norms.read_text())
    found: dict[int, list[tuple[float, float, float]]] = {size: [] for size in SIZES}
    for number in range(options.rounds):
        for size in SIZES:
            file = options.folder / f"tiled_{size}.h5"
            if not file.exists():
                tile(options.source, file, size)
            out = options.folder / f"{options.config}-{size}-{number}"
            found[size].append(train(file, options.source.parent / "val.h5", size, options.config, options.jets, out))
    print(f"{'jets':>9s} {'us CPU per jet':>15s} {'us per jet':>11s} {'memory, MB':>11s}")
    for size, rows in found.items():
        cpu, wall, memory = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"{size:9d} {cpu:15.1f} {wall:11.1f} {memory / 1e6:11.0f}")


if __name__ == "__main__":
    main()
