"""What decorrelation from pT costs: trainings against an adversary over alpha, in each mode, judged on one test file.

Figures are those of `main test` for the best checkpoint of each training. Trainings that are finished are not run
again. The Jensen-Shannon distance is that of the pT of all background jets and of those that pass a cut at 50%
b-efficiency.
"""

import argparse
import json
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from environments import WORK
from summary import digits, markdown

from salt.main import main as salt_main

PLAIN = "plain"
"""Training with alpha 1."""


@dataclass(frozen=True)
class Training:
    """One training.

    Args:
        mode: That of the adversary.
        alpha: How much the tasks count.
        seed: Its seed.
    """

    mode: str
    alpha: float
    seed: int

    @property
    def name(self) -> str:
        """The folder of its files."""
        return f"{self.mode}_{self.alpha:g}_{self.seed}"


@dataclass(frozen=True)
class Point:
    """What trainings of one mode and alpha measured, the mean over their seeds.

    Args:
        distance: The Jensen-Shannon distance.
        chance: What it would be by chance.
        rejection: Of the background at 50% efficiency.
        balance: 0 for as readable as after the warm-up, 1 for unreadable.
        loss: Cross-entropy of the task.
    """

    distance: float
    chance: float
    rejection: float
    balance: float
    loss: float


def main() -> int:
    """Trains what is not trained yet, prints a table and draws the curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, help="training file; val.h5 is beside it")
    parser.add_argument("--test", type=Path, help="test file; test.h5 beside the training file if not given")
    parser.add_argument("--out", type=Path, default=WORK / "adversary", help="folder of the trainings, kept")
    parser.add_argument("--modes", default="alternate,reversal,distance_correlation")
    parser.add_argument("--alphas", default="0.9,0.7,0.5,0.3,0.1,0.05", help="alpha 1, plain training, is always there")
    parser.add_argument("--classes", default="[cjets, ujets]", help="the background")
    parser.add_argument("--bins", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch_size", type=int, default=500)
    parser.add_argument("--figure", type=Path, help="where to draw the curve")
    parser.add_argument("options", nargs="*", help="further options of main fit, after --")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    modes, alphas = arguments.modes.split(","), [float(a) for a in arguments.alphas.split(",")]
    seeds = range(1, arguments.seeds + 1)
    found: dict[tuple[str, float], list[Mapping[str, float]]] = {}
    for seed in seeds:
        for mode, alpha in [(PLAIN, 1.0), *((m, a) for m in modes for a in alphas)]:
            training = Training(mode, alpha, seed)
            values = measured(training, arguments)
            found.setdefault((mode, alpha), []).append(values)
            line = "; ".join(f"{k.removeprefix('test/')} {digits(v)}" for k, v in values.items() if "adversary" in k)
            print(f"{training.name}: {line}", flush=True)
    points = {key: point(values) for key, values in found.items()}
    print(table(points))
    if arguments.figure is not None:
        draw(points, arguments.figure)
    return 0


def measured(training: Training, arguments: argparse.Namespace) -> Mapping[str, float]:
    """The metrics of a training on the test file; it is run if they are not there."""
    out = arguments.out / training.name
    result = out / "metrics.json"
    if not result.exists():
        train = arguments.train.resolve()
        test = arguments.test.resolve() if arguments.test else train.parent / "test.h5"
        mode = "alternate" if training.mode == PLAIN else training.mode
        words = [
            *("fit", "--config", "adversary.yaml", "--trainer.logger=false", "--trainer.accelerator=cpu"),
            *("-n", arguments.epochs, "-b", arguments.batch_size, f"--seed_everything={training.seed}"),
            *("-A", training.alpha, f"--model.adversary.mode={mode}", f"--model.adversary.classes={arguments.classes}"),
            *(f"--data.train_file={train}", f"--data.val_file={train.parent / 'val.h5'}", f"--data.test_file={test}"),
            *(f"--model.adversary.bins={arguments.bins}", f"--trainer.default_root_dir={out / 'runs'}"),
            *arguments.options,
        ]
        shutil.rmtree(out, ignore_errors=True)
        command(words)
        (config,) = out.glob("runs/*/config.yaml")
        command(["test", "--config", config])
        (scores,) = out.glob("runs/*/ckpts/*__test_*.json")
        scores.rename(result)
        scores.with_suffix(".h5").unlink()
    metrics = json.loads(result.read_text())["metrics"]
    return {name: float("nan") if v["value"] is None else v["value"] for name, v in metrics.items()}


def command(words: Sequence[object]) -> None:
    """Runs a command in this process, as starting one takes as long as a small training.

    Raises:
        RuntimeError: It failed.
    """
    if code := salt_main([str(word) for word in words]):
        raise RuntimeError(f"main {words[0]} ended with code {code}")


def point(values: Sequence[Mapping[str, float]]) -> Point:
    """The mean over seeds."""

    def mean(name: str) -> float:
        return sum(v[f"test/{name}"] for v in values) / len(values)

    return Point(
        mean("adversary/jsd"),
        mean("adversary/jsd_by_chance"),
        mean("adversary/rejection"),
        mean("adversary/balance"),
        mean("jets_classification/loss"),
    )


def table(points: Mapping[tuple[str, float], Point]) -> str:
    """All points beside plain training."""
    plain = points[PLAIN, 1.0]
    rows = [
        (
            mode,
            f"{alpha:g}",
            f"{p.distance:.4f}",
            f"{p.chance:.4f}",
            f"{plain.distance / p.distance:.1f}",
            f"{p.rejection:.1f}",
            f"{100 * (1 - p.rejection / plain.rejection):.0f}%",
            f"{p.balance:.2f}",
            f"{p.loss:.4f}",
        )
        for (mode, alpha), p in points.items()
    ]
    heads = ("mode", "alpha", "JSD", "by chance", "down by", "rejection", "lost", "balance", "cross-entropy")
    return markdown(heads, rows)


def draw(points: Mapping[tuple[str, float], Point], path: Path) -> None:
    """The distance over the rejection, a line for each mode."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    plain = points[PLAIN, 1.0]
    figure, axes = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
    for mode, marker in zip(dict.fromkeys(m for m, _ in points if m != PLAIN), "osD^", strict=False):
        those = [(1.0, plain), *((a, p) for (m, a), p in points.items() if m == mode)]
        axes.plot([p.rejection for _, p in those], [p.distance for _, p in those], marker=marker, label=mode)
        for alpha, p in those[1:]:
            axes.annotate(f"{alpha:g}", (p.rejection, p.distance), xytext=(4, 4), textcoords="offset points", size=7)
    axes.plot(plain.rejection, plain.distance, "k*", markersize=12, label="plain (alpha 1)")
    ordered = sorted(points.values(), key=lambda p: p.rejection)
    axes.plot([p.rejection for p in ordered], [p.chance for p in ordered], "k:", label="by chance")
    axes.axhline(plain.distance / 5, color="grey", linestyle="--", linewidth=1, label="a fifth of plain")
    axes.set(xlabel="rejection at 50% b-efficiency", ylabel="Jensen-Shannon distance of pT", yscale="log")
    axes.legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; no process is left behind")
    except RuntimeError as error:
        sys.exit(str(error))
