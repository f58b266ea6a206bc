"""What decorrelation from pT costs: trainings against an adversary over alpha, in each mode, judged on one test file.

The model is that of `adversary.yaml`. All trainings are done in this process, since starting one and looking through
its files takes longer than a small training. Figures are those of the last epoch; trainings that are finished
are not run again.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from environments import WORK
from lightning.pytorch import Trainer
from summary import digits, markdown

from salt.adversarial import AdversarialTagger
from salt.adversary import Adversary
from salt.data.datamodule import JetDataModule
from salt.inputs import Input
from salt.nn import SumPooling
from salt.optim import OneCycle
from salt.tasks import Classification

PLAIN = "plain"
"""Training with alpha 1."""

CLASSES = ["bjets", "cjets", "ujets"]
INPUTS = {
    "jets": Input(["pt", "eta"]),
    "tracks": Input(
        ["d0", "z0SinTheta", "dphi", "deta", "qOverP", "IP3D_signed_d0_significance", "IP3D_signed_z0_significance"]
    ),
}
WARMUP = 2


@dataclass(frozen=True)
class Point:
    """What a training measured on the test file.

    Args:
        jsd: Jensen-Shannon distance of the pT of the background before and after a cut at 50% b-efficiency.
        jsd_by_chance: What that would be by chance.
        rejection: Of the background at that cut.
        balance: 0 for as readable as after the warm-up, 1 for unreadable.
        loss: Cross-entropy of the task.
    """

    jsd: float
    jsd_by_chance: float
    rejection: float
    balance: float
    loss: float


class ReadOnce(JetDataModule):
    """Looks through its files at the first training only."""

    def setup(self, stage: str) -> None:
        """Opens them."""
        if ("train" if stage == "fit" else "test") not in self._sources:
            super().setup(stage)

    def teardown(self, stage: str) -> None:
        """Keeps them open."""


def main() -> int:
    """Trains what is not trained yet, prints a table and draws the curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, help="training file; val.h5 is beside it")
    parser.add_argument("--test", type=Path, help="test file; test.h5 beside the training file if not given")
    parser.add_argument("--out", type=Path, default=WORK / "adversary", help="folder of the figures")
    parser.add_argument("--modes", default="distance_correlation,alternate,reversal")
    parser.add_argument("--alphas", default="0.8,0.5,0.2,0.1,0.05", help="alpha 1, plain training, is always there")
    parser.add_argument("--classes", default="cjets,ujets", help="the background")
    parser.add_argument("--bins", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch_size", type=int, default=500)
    parser.add_argument("--num_train", type=int, default=-1)
    parser.add_argument("--num_test", type=int, default=-1)
    arguments = parser.parse_args()
    data = ReadOnce(
        INPUTS,
        str(arguments.train),
        str(arguments.train.parent / "val.h5"),
        str(arguments.test or arguments.train.parent / "test.h5"),
        batch_size=arguments.batch_size,
        num_workers=0,
        num_train=arguments.num_train,
        num_test=arguments.num_test,
    )
    wanted = [(PLAIN, 1.0)]
    wanted += [(m, float(a)) for a in arguments.alphas.split(",") for m in arguments.modes.split(",")]
    points = {}
    for mode, alpha in wanted:
        points[mode, alpha] = found = measured(mode, alpha, data, arguments)
        print(f"{mode} {alpha:g}: " + ", ".join(f"{k} {digits(v)}" for k, v in asdict(found).items()), flush=True)
    print(table(points))
    draw(points, arguments.out / "curve.png")
    return 0


def measured(mode: str, alpha: float, data: JetDataModule, arguments: argparse.Namespace) -> Point:
    """The figures of a training; it is run if they are not there."""
    kept = arguments.out / f"{mode}_{alpha:g}_{arguments.seed}.json"
    if kept.exists():
        return Point(**json.loads(kept.read_text()))
    torch.manual_seed(arguments.seed)
    adversary = Adversary(
        "pt",
        arguments.classes.split(","),
        bins=arguments.bins,
        mode="alternate" if mode == PLAIN else mode,  # type: ignore[arg-type]
        alpha=alpha,
        warmup_epochs=WARMUP,
    )
    task = partial(Classification, "jets", "flavour_label", CLASSES, hidden=[64, 32])
    tagger = AdversarialTagger(
        adversary,
        embed_dim=32,
        embed_hidden=[64],
        tasks={"jets_classification": task},
        pooling=SumPooling,
        lrs_config=OneCycle(initial=1e-4, max=3e-3),
        inputs=INPUTS,
    )
    data.bind(tagger.targets, arguments.seed)
    off = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    trainer = Trainer(
        max_epochs=arguments.epochs,
        check_val_every_n_epoch=WARMUP,
        num_sanity_val_steps=0,
        accelerator="cpu",
        devices=1,
        **off,  # type: ignore[arg-type]
    )
    trainer.fit(tagger, data)
    (values,) = trainer.test(tagger, data, verbose=False)
    names = [name for name in Point.__dataclass_fields__ if name != "loss"]
    found = Point(
        **{name: values[f"test/adversary/{name}"] for name in names}, loss=values["test/jets_classification/loss"]
    )
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(asdict(found)))
    return found


def table(points: Mapping[tuple[str, float], Point]) -> str:
    """All points beside plain training."""
    plain = points[PLAIN, 1.0]
    rows = [
        (
            mode,
            f"{alpha:g}",
            f"{p.jsd:.3f}",
            f"{p.jsd_by_chance:.3f}",
            f"{plain.jsd / p.jsd:.1f}",
            f"{p.rejection:.1f}",
            f"{100 * (1 - p.rejection / plain.rejection):.0f}%",
            f"{p.balance:.2f}",
            f"{p.loss:.3f}",
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
    for mode, marker in zip(dict.fromkeys(m for m, _ in points if m != PLAIN), "osD", strict=False):
        those = [(1.0, plain), *((a, p) for (m, a), p in points.items() if m == mode)]
        axes.plot([p.rejection for _, p in those], [p.jsd for _, p in those], marker=marker, label=mode)
        for alpha, p in those[1:]:
            axes.annotate(f"{alpha:g}", (p.rejection, p.jsd), xytext=(4, 4), textcoords="offset points", size=7)
    axes.plot(plain.rejection, plain.jsd, "k*", markersize=12, label="plain (alpha 1)")
    ordered = sorted(points.values(), key=lambda p: p.rejection)
    axes.plot([p.rejection for p in ordered], [p.jsd_by_chance for p in ordered], "k:", label="by chance")
    axes.axhline(plain.jsd / 5, color="grey", linestyle="--", linewidth=1, label="a fifth of plain")
    axes.set(xlabel="rejection at 50% b-efficiency", ylabel="Jensen-Shannon distance of pT", yscale="log")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; nothing is left behind")
