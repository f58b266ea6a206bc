"""What pre-training is worth, on small models: rolled-out training at several steps, and taggers with few labels.

``rollout``: jets with 10 or more tracks. After a common first stage one training has growing rollouts, another one as
many steps of one prediction each; both are judged by predictions that are rolled out for 8 steps.
``labels``: taggers that begin with the weights of a pre-training on jets without labels, against such that begin at
random, with the same schedule. All figures are those of the last epoch, on test jets. Trainings that are finished are
not run again; an interrupted one begins anew.
"""

import argparse
import csv
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from environments import WORK
from learning import words as in_words
from scores import Mean
from summary import markdown

import salt.main as salt

FINISHED = "finished"
MODEL = (
    "--model.embed_dim=32",
    "--model.encoder.num_layers=2",
    "--model.encoder.feed_forward=64",
    "--trainer.logger=false",
    "--trainer.accelerator=cpu",
    "--data.num_workers=0",
    "--data.batch_size=100",
)
TASK = "--model.tasks.next_constituent"
LONG = ("--data.inputs.jets.selection=[n_tracks >= 10]", f"{TASK}.rollout.validation=8", "--model.lrs_config.end=1e-4")
SHORT = ("--data.num_train=4000", "--trainer.check_val_every_n_epoch=6")
STEADY = ("--model.lrs_config={class_path: Constant, value: 1e-4}", "--trainer.limit_train_batches=0.5")
EXTRA: Mapping[str, Sequence[str]] = {
    "k = 1": (),
    "k = 1 to 8": (f"{TASK}.rollout.max=8",),
}
"""Second stages, by what they roll out."""

OBJECTIVES: Mapping[str, Sequence[str]] = {
    "next": (),
    "masked": (f"{TASK}.objective=masked", f"{TASK}.rollout=null"),
    "rollout": (f"{TASK}.rollout.max=4",),
}
"""Ways to pre-train."""


@dataclass(frozen=True)
class Settings:
    """What all trainings share.

    Args:
        train: Training file.
        test: Test file.
        out: Folder of the trainings, kept.
        seeds: Trainings of each kind.
        labels: Numbers of labelled jets.
        unlabelled: Jets of a pre-training for them.
    """

    train: Path
    test: Path
    out: Path
    seeds: int
    labels: Sequence[int]
    unlabelled: int

    def fit(self, name: str, epochs: int, num_val: int, *options: str) -> Path:
        """The run folder of a training, which is run if it is not finished."""
        folder = self.out / name
        if not (folder / FINISHED).exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            own = (f"--trainer.default_root_dir={folder}", f"--trainer.max_epochs={epochs}")
            words = ["fit", *options, *own, f"--data.num_val={num_val}"]
            with (folder / "fit.log").open("w") as log, redirect_stdout(log), redirect_stderr(log):
                code = salt.main(words)
            if code:
                raise RuntimeError(f"main fit ended with code {code}; see {folder / 'fit.log'}")
            (folder / FINISHED).touch()
        (found,) = (path.parent for path in folder.glob("*/metrics.csv"))
        return found

    @property
    def files(self) -> tuple[str, ...]:
        """Test jets are those of the validation: nothing is chosen by it."""
        return (f"--data.train_file={self.train}", f"--data.val_file={self.test}", "--data.test_file=null")


def last_of(folder: Path, name: str) -> float:
    """The last value of a metric of a run."""
    with (folder / "metrics.csv").open() as file:
        values = [row[name] for row in csv.DictReader(file) if row.get(name)]
    return float(values[-1])


def rollout(settings: Settings) -> str:
    """Second stages from a common first one."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in EXTRA}
    for seed in range(1, settings.seeds + 1):
        seeded = f"--seed_everything={seed}"
        first = settings.fit(
            f"rollout/{seed}/first", 6, 1000, "--config=pretrain", *MODEL, *settings.files, *LONG, *SHORT, seeded
        )
        for name, options in EXTRA.items():
            fork = (f"--run.fork_run_id={first}", *STEADY, "--trainer.check_val_every_n_epoch=7", *options)
            second = settings.fit(f"rollout/{seed}/{name.replace(' ', '')}", 14, 1000, *fork)
            keys = [f"step{step}_{what}" for what in ("error", "nll") for step in (1, 2, 4, 8)]
            found[name].append({key: last_of(second, f"val/next_constituent/{key}") for key in keys})
            shown = ", ".join(f"{key} {value:.3f}" for key, value in found[name][-1].items())
            print(f"seed {seed}, {name}: {shown}", flush=True)
    keys = list(found["k = 1"][0])
    rows = []
    for key in keys:
        means = [Mean.of([values[key] for values in each]) for each in found.values()]
        rows.append((key, *map(in_words, means), f"{100 * (means[1].value / means[0].value - 1):+.1f}%"))
    return markdown(("figure", *EXTRA, "the last against the first"), rows)


def labels(settings: Settings) -> str:
    """Taggers by their beginning and the number of labelled jets."""
    begun: dict[str, Path | None] = {"scratch": None}
    for name, options in OBJECTIVES.items():
        some = (f"--data.num_train={settings.unlabelled}", "--trainer.check_val_every_n_epoch=3", "--seed_everything=1")
        common = ("--config=pretrain", *MODEL, *settings.files, *some)
        begun[name] = settings.fit(f"labels/{name}", 6, 1000, *common, *options)
    rows = []
    for number in settings.labels:
        losses: dict[str, list[float]] = {name: [] for name in begun}
        for seed in range(1, settings.seeds + 1):
            for name, weights in begun.items():
                epochs = 20 if number <= 1000 else 8
                start = ['--run.warm_start.include=["*"]'] if weights is None else []
                start += [] if weights is None else [f"--run.warm_start.checkpoint={weights}/ckpts/last.ckpt"]
                options = (f"--data.num_train={number}", f"--trainer.check_val_every_n_epoch={epochs}", *start)
                common = (
                    "--config=pretrain",
                    "--config=finetune",
                    *MODEL,
                    *settings.files,
                    f"--seed_everything={seed}",
                )
                folder = settings.fit(f"labels/{number}/{seed}/{name}", epochs, 10_000, *common, *options)
                losses[name].append(last_of(folder, "val/jets_classification/loss"))
                print(f"{number} jets, seed {seed}, {name}: {losses[name][-1]:.4f}", flush=True)
        rows.append((number, *(in_words(Mean.of(values)) for values in losses.values())))
    return markdown(("labelled jets", "from scratch", *OBJECTIVES), rows)


PARTS = {"rollout": rollout, "labels": labels}


def main() -> int:
    """Trains what is not trained yet, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="which; all if none is named")
    parser.add_argument("--train", type=Path, required=True, help="training file; test.h5 is beside it")
    parser.add_argument("--out", type=Path, default=WORK / "pretraining", help="folder of the trainings, kept")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each kind")
    parser.add_argument("--labels", type=int, nargs="+", default=[1000, 10_000], help="numbers of labelled jets")
    parser.add_argument("--unlabelled", type=int, default=30_000, help="jets of a pre-training for them")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    train = arguments.train.resolve()
    out = arguments.out.resolve()
    test = train.parent / "test.h5"
    settings = Settings(train, test, out, arguments.seeds, arguments.labels, arguments.unlabelled)
    for part in arguments.parts or PARTS:
        print(f"{part}\n\n{PARTS[part](settings)}", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; no process is left behind")
    except RuntimeError as error:
        sys.exit(str(error))
