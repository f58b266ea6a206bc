"""Does Salt learn as well as salt-ml? Both are trained on the same jets with the same schedule and several seeds.

Cross-entropy and rejections of all are computed by the same function from their prediction files on the same test
jets. Trainings that are finished are not run again; an interrupted one begins anew.
"""

import argparse
import re
import shutil
import signal
import sys
from math import floor, log10
from pathlib import Path

from environments import PEER, WORK, ours, peer
from processes import run
from rivals import PRECISIONS, Job, Variant, fit_command
from scores import Mean, advantage, figures
from summary import digits, markdown

FINISHED = "finished"
"""Name of the file that marks a training whose prediction file is whole."""


def main() -> int:
    """Trains what is not trained yet, and prints the table; the exit code says whether ours is good enough."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, help="training file; the others are beside it")
    parser.add_argument("--test", type=Path, help="test file; test.h5 beside the training file if not given")
    parser.add_argument("--out", type=Path, default=WORK / "learning", help="folder of the trainings, kept")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each variant")
    parser.add_argument("--variants", default="fp32,bf16,fp32-compiled,bf16-compiled", help="ways to train ours")
    parser.add_argument("--num_train", type=int, default=12_000, help="jets to train on")
    parser.add_argument("--num_val", type=int, default=1_000, help="jets to validate on")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch_size", type=int, default=250)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    train = arguments.train.resolve()
    test = arguments.test.resolve() if arguments.test else train.parent / "test.h5"
    mine = [
        Variant(True, name.removesuffix("-compiled"), compiled=name.endswith("-compiled"))
        for name in arguments.variants.split(",")
    ]
    theirs = [Variant(False, p) for p in PRECISIONS if any(v.precision == p for v in mine)]
    found: dict[Variant, dict[str, Mean]] = {}
    for variant in [*theirs, *mine]:
        values = []
        for seed in range(1, arguments.seeds + 1):
            out = arguments.out / variant.name / f"seed{seed}"
            job = Job(
                train,
                out,
                arguments.num_train,
                arguments.num_val,
                arguments.epochs,
                arguments.batch_size,
                seed,
                test=test,
            )
            values.append(figures(trained(variant, job), test))
            line = "; ".join(f"{name} {digits(value)}" for name, value in values[-1].items())
            print(f"{variant.name}, seed {seed}: {line}", flush=True)
        found[variant] = {name: Mean.of([v[name] for v in values]) for name in values[0]}
    rows, worst = [], float("inf")
    for variant in mine:
        rival = found[Variant(False, variant.precision)]
        for name, mean in found[variant].items():
            better = advantage(name, mean, rival[name])
            worst = min(worst, better)
            rows.append((variant.name, name, words(mean), words(rival[name]), f"{better:+.1f}"))
    print(markdown(("ours", "figure", "Salt", PEER, "better by, standard errors"), rows))
    return 0 if worst >= -2 else 1


def trained(variant: Variant, job: Job) -> Path:
    """The prediction file of a training, which is run if it is not finished."""
    if not (job.out / FINISHED).exists():
        shutil.rmtree(job.out, ignore_errors=True)
        run(fit_command(variant, job), job.out / "fit.log")
        checkpoint = min(job.out.glob("runs/*/ckpts/*val_loss*.ckpt"), key=loss_of)
        config = checkpoint.parents[1] / "config.yaml"
        program = ours("main") if variant.ours else peer("salt")
        run([program, "test", "--config", config, "--ckpt_path", checkpoint], job.out / "test.log")
        (job.out / FINISHED).touch()
    (predictions,) = job.out.glob("runs/*/ckpts/*__test_*.h5")
    return predictions


def loss_of(checkpoint: Path) -> float:
    """The validation loss in the name of a checkpoint of either side."""
    match = re.search(r"val_loss=?([0-9.]+)\.ckpt$", checkpoint.name)
    return float(match[1]) if match else float("inf")


def words(mean: Mean) -> str:
    """A mean with its error, to two digits of the error."""
    places = max(0, 1 - floor(log10(mean.error))) if 0 < mean.error < float("inf") else 3
    return f"{mean.value:.{places}f} ± {mean.error:.{places}f}"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; no process is left behind")
    except RuntimeError as error:
        sys.exit(str(error))
