"""Does the graph network learn? Its rejection against that of a cut on one impact parameter, on the same test jets.

The cut is on the second largest lifetime-signed d0 significance of the jet's tracks, the classic track-counting tagger.
Jets with fewer than two tracks pass no cut. Both rejections are taken at the cut that keeps 70% of the b-jets.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from salt.commands.rejection import read
from salt.commands.rejection_plot import curves, draw
from salt.rejection import Fractions, Rejection, rejection

EFFICIENCY = 0.7
WANTED = 10
"""How many times the rejection of the cut the network must reach for light jets."""


def main() -> int:
    """Simulates jets if need be, trains, evaluates, compares; the exit code says whether it is enough."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jets", type=Path, help="folder with train.h5, val.h5 and test.h5; simulated if not given")
    parser.add_argument("--out", type=Path, default=Path("demo/bench"), help="where runs and the picture go")
    parser.add_argument("--config", default="gnn.yaml", help="what is trained")
    parser.add_argument("options", nargs="*", help="further options of main fit, after --")
    arguments = parser.parse_args()
    out: Path = arguments.out
    jets: Path = arguments.jets or out / "jets"
    if not (jets / "test.h5").is_file():
        salt("simulate", "--out", jets, "--num_train", 50_000, "--num_val", 5_000, "--num_test", 50_000, "--seed", 7)
    start = time.monotonic()
    files = [word for part in ("train", "val", "test") for word in (f"--data.{part}_file", jets / f"{part}.h5")]
    flags = ["--trainer.default_root_dir", out / "runs", "--trainer.logger", "false", *arguments.options]
    salt("fit", "--config", arguments.config, *files, *flags)
    minutes = (time.monotonic() - start) / 60
    run = max((out / "runs").glob("*/config.yaml"), key=lambda p: p.stat().st_mtime)
    salt("test", "--config", run)
    scored = read(next(run.parent.glob("ckpts/*__test_*.h5")), Fractions())
    cut, flavour = track_counting(jets / "test.h5")

    others = {name: cut[flavour == code] for name, code in (("c", 4), ("light", 0))}
    lines = curves(scored.model, scored.of("b"), {name: scored.of(name) for name in others})
    lines += curves("track counting", cut[flavour == 5], others, dashed=True)
    draw(out / "rejection.png", lines, f"{len(cut)} simulated jets, statistical errors")

    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}; trained in {minutes:.1f} minutes"
    )
    print(f"{'jets':8}{'track counting':>20}{scored.model:>20}{'ratio':>16}")
    ratios = {}
    for name, scores in others.items():
        old = rejection(cut[flavour == 5], scores, EFFICIENCY)
        new = rejection(scored.of("b"), scored.of(name), EFFICIENCY)
        ratios[name], error = ratio(new, old)
        print(f"{name:8}{words(old):>20}{words(new):>20}{f'{ratios[name]:.1f} ± {error:.1f}':>16}")
    print(f"picture: {out / 'rejection.png'}")
    return 0 if ratios["light"] >= WANTED else 1


def track_counting(path: Path) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """For each jet of a file the second largest d0 significance (-inf without) and the code of its flavour."""
    with h5py.File(path) as file:
        tracks = file["tracks"].fields(["IP3D_signed_d0_significance", "valid"])[:]
        flavour = file["jets"].fields("HadronConeExclTruthLabelID")[:]
    significance = np.where(tracks["valid"], tracks["IP3D_signed_d0_significance"], -np.inf)
    return np.sort(significance, axis=1)[:, -2], flavour


def ratio(new: Rejection, old: Rejection) -> tuple[float, float]:
    """One rejection over the other, and its error as if they were independent."""
    value = float(new.value[0] / old.value[0])
    return value, value * float(np.hypot(new.error[0] / new.value[0], old.error[0] / old.value[0]))


def words(point: Rejection) -> str:
    """A rejection with its error."""
    return f"{point.value[0]:.1f} ± {point.error[0]:.1f}"


def salt(*words: object) -> None:
    """Runs one command."""
    subprocess.run([sys.executable, "-m", "salt", *map(str, words)], check=True)


if __name__ == "__main__":
    sys.exit(main())
