"""Networks against boosted trees, on the same jets: what they reject, and what that costs.

The trees (XGBoost) get one row for each jet: its variables, the number of its tracks, and all variables of its leading
tracks by |d0 significance|; the networks get the same variables of all tracks, and two of them also learn origins and
vertices. Everything runs on one thread. What is finished is not run again.
"""

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 (registers its filters)
import numpy as np
from environments import WORK, ours
from numpy.typing import NDArray
from processes import run
from rivals import JET_VARIABLES, TRACK_VARIABLES
from scores import COLUMNS, CROSS_ENTROPY, figures_of
from summary import digits, markdown

from salt.rejection import Rejection, discriminant, rejection

EFFICIENCY = 0.7
ORDER = "IP3D_signed_d0_significance"
FLAVOUR = "HadronConeExclTruthLabelID"
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
TREES = "trees"
KINDS = {"simple": "deep sets", "gnn": "graph attention", "gn2": "transformer", TREES: "boosted trees"}
MOST_TREES, PATIENCE = 2_000, 30


@dataclass(frozen=True)
class Spent:
    """What a tagger took.

    Args:
        rounds: Epochs or trees, in words.
        train_wall: Seconds of the training from start to end, reading included.
        train_cpu: Seconds of CPU of it.
        test_wall: Seconds of scoring the test jets, reading included.
        test_cpu: Seconds of CPU of it.
    """

    rounds: str
    train_wall: float
    train_cpu: float
    test_wall: float
    test_cpu: float


Probabilities = Mapping[str, NDArray[np.float32]]


def main() -> int:
    """Trains and scores what is not there yet, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jets", type=Path, required=True, help="folder with train.h5, val.h5 and test.h5")
    parser.add_argument("--out", type=Path, default=WORK / "taggers", help="folder of the trainings, kept")
    parser.add_argument("--taggers", default=",".join(KINDS), help=f"some of {', '.join(KINDS)}")
    parser.add_argument("--epochs", type=int, default=10, help="epochs of each network")
    parser.add_argument("--leading", type=int, default=5, help="tracks of a jet that the trees see")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    jets: Path = arguments.jets.resolve()
    if not (jets / "test.h5").is_file():
        parser.error(f"{jets} has no jets; main simulate --out {jets} makes some")
    with h5py.File(jets / "train.h5") as train, h5py.File(jets / "test.h5") as test:
        num_train, flavour = len(train["jets"]), test["jets"].fields(FLAVOUR)[:]
    rows = []
    for name in arguments.taggers.split(","):
        folder = arguments.out / f"{name}-{arguments.leading if name == TREES else arguments.epochs}"
        done = folder / "spent.json"
        if not done.exists():
            folder.mkdir(parents=True, exist_ok=True)
            found = (
                boost(jets, folder, arguments.leading)
                if name == TREES
                else train_network(name, jets, folder, arguments.epochs)
            )
            done.write_text(json.dumps(asdict(found)))
        spent, probability = Spent(**json.loads(done.read_text())), scores(folder, jets)
        cross_entropy = figures_of(probability, flavour)[CROSS_ENTROPY]
        points = rejections(probability, flavour)
        cells = [f"{p.value[0]:.1f} ± {p.error[0]:.1f}" for p in points.values()]
        cost = [digits(s) for s in (spent.train_cpu, spent.test_cpu)]
        rows.append((f"{KINDS[name]} (`{name}`)", spent.rounds, *cells, f"{cross_entropy:.4f}", *cost))
        print(f"{name}: {spent}; {', '.join(cells)}", flush=True)
    heads = (
        "tagger",
        "trained",
        *(f"{n}-rejection" for n in ("c", "light")),
        CROSS_ENTROPY,
        "training, s",
        "scoring, s",
    )
    print(f"\n{time.strftime('%Y-%m-%d')}, {platform.machine()}, 1 of {os.cpu_count()} cores; ", end="")
    print(f"{num_train} jets to train on, {len(flavour)} to test; rejections at {EFFICIENCY:.0%} b-efficiency\n")
    print(markdown(heads, rows))
    return 0


def train_network(name: str, jets: Path, folder: Path, epochs: int) -> Spent:
    """Trains a packaged config and scores the test jets."""
    files = [word for part in ("train", "val", "test") for word in (f"--data.{part}_file", jets / f"{part}.h5")]
    flags = ["--trainer.default_root_dir", folder / "runs", "--trainer.logger", "false", "--trainer.accelerator", "cpu"]
    fit = [ours("main"), "fit", "--config", f"{name}.yaml", *files, *flags, "--trainer.max_epochs", epochs]
    training = run([*fit, "--data.num_workers", 1], folder / "fit.log", ONE_THREAD)
    config = max((folder / "runs").glob("*/config.yaml"), key=lambda path: path.stat().st_mtime)
    test = [ours("main"), "test", "--config", config, "--trainer.accelerator", "cpu", "--overwrite"]
    testing = run(test, folder / "test.log", ONE_THREAD)
    predictions = max(config.parent.glob("ckpts/*__test_*.h5"), key=lambda path: path.stat().st_mtime)
    (folder / "predictions.h5").unlink(missing_ok=True)
    (folder / "predictions.h5").symlink_to(predictions.resolve())
    return Spent(f"{epochs} epochs", training.wall, training.cpu, testing.wall, testing.cpu)


def boost(jets: Path, folder: Path, leading: int) -> Spent:
    """Grows trees until the validation loss no longer falls, and scores the test jets."""
    from xgboost import XGBClassifier

    wall, cpu = time.perf_counter(), time.process_time()
    x, y = table(jets / "train.h5", leading)
    x_val, y_val = table(jets / "val.h5", leading)
    trees = XGBClassifier(
        n_estimators=MOST_TREES,
        learning_rate=0.1,
        max_depth=6,
        subsample=0.8,
        colsample_bytree=0.8,
        tree_method="hist",
        early_stopping_rounds=PATIENCE,
        n_jobs=1,
        random_state=1,
    )
    trees.fit(x, y, eval_set=[(x_val, y_val)], verbose=False)
    train = time.perf_counter() - wall, time.process_time() - cpu
    wall, cpu = time.perf_counter(), time.process_time()
    x_test, _ = table(jets / "test.h5", leading)
    probability = trees.predict_proba(x_test)
    test = time.perf_counter() - wall, time.process_time() - cpu
    with h5py.File(jets / "test.h5") as source, h5py.File(folder / "predictions.h5", "w") as file:
        scored = np.empty(len(probability), [("pt", "f4"), *((f"{TREES}_p{key}", "f4") for key in COLUMNS)])
        scored["pt"] = source["jets"].fields("pt")[:]
        for i, key in enumerate(COLUMNS):
            scored[f"{TREES}_p{key}"] = probability[:, i]
        file["jets"] = scored
    return Spent(f"{trees.best_iteration + 1} rounds", *train, *test)


def table(path: Path, leading: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """One row for each jet, and its class.

    Returns:
        [B, F] variables of the jet, its number of tracks, and those of its leading tracks, NaN where there is none;
        [B] the place of its flavour in COLUMNS.
    """
    with h5py.File(path) as file:
        jets = file["jets"].fields([*JET_VARIABLES, FLAVOUR])[:]
        tracks = file["tracks"].fields([*TRACK_VARIABLES, "valid"])[:]
    valid = tracks["valid"]
    order = np.argsort(np.where(valid, -np.abs(tracks[ORDER]), np.inf), axis=1, kind="stable")[:, :leading]
    first, real = np.take_along_axis(tracks, order, axis=1), np.take_along_axis(valid, order, axis=1)
    columns = [jets[v] for v in JET_VARIABLES] + [valid.sum(axis=1)]
    columns += [np.where(real, first[v], np.nan)[:, i] for i in range(order.shape[1]) for v in TRACK_VARIABLES]
    codes = np.array(list(COLUMNS.values()))
    return np.stack(columns, axis=1).astype(np.float32), np.argmax(jets[FLAVOUR][:, None] == codes, axis=1)


def scores(folder: Path, jets: Path) -> Probabilities:
    """The probabilities of b, c and light of all test jets.

    Raises:
        ValueError: The predictions are about other jets.
    """
    with h5py.File(folder / "predictions.h5") as file, h5py.File(jets / "test.h5") as test:
        scored = file["jets"][:]
        if not np.array_equal(scored["pt"], test["jets"].fields("pt")[:]):
            raise ValueError(f"{folder} has predictions of other jets than {jets}; choose another --out")
    (name,) = [column.removesuffix("_pb") for column in scored.dtype.names if column.endswith("_pb")]
    return {key: scored[f"{name}_p{key}"] for key in COLUMNS}


def rejections(probability: Probabilities, flavour: NDArray[np.integer]) -> dict[str, Rejection]:
    """Those of c- and of light jets."""
    score = discriminant(probability["b"], probability["c"], probability["u"])
    signal_scores = score[flavour == COLUMNS["b"]]
    return {key: rejection(signal_scores, score[flavour == COLUMNS[key]], EFFICIENCY) for key in ("c", "u")}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; what is finished is kept")
    except RuntimeError as error:
        sys.exit(str(error))
