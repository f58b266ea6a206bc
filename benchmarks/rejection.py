"""Does the graph network learn? Its rejection against that of a cut on one impact parameter, on the same test jets.

The cut is on the second largest impact-parameter significance |d0| / sigma(d0) of the jet's tracks, and, as a harder
one to beat, on the second largest lifetime-signed one (track counting). Jets with fewer than two tracks
pass no cut. All rejections are taken at the cut that keeps 70% of the b-jets.
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
FLAVOURS = {"b": 5, "c": 4, "light": 0}
BACKGROUNDS = ("c", "light")
UNSIGNED, SIGNED = "|d0| significance", "signed d0 significance"
WANTED = 10
"""How many times the rejection of the cut the network must reach for light jets."""


def main() -> int:
    """Simulates jets if need be, trains, evaluates, compares; the exit code says whether it is enough."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jets", type=Path, help="folder with train.h5, val.h5 and test.h5; simulated if not given")
    parser.add_argument("--out", type=Path, default=Path("demo/bench"), help="where runs and the picture go")
    parser.add_argument("--run", type=Path, help="folder of a finished training on these jets; trained if not given")
    parser.add_argument("--config", default="gnn.yaml", help="what is trained")
    parser.add_argument("options", nargs="*", help="further options of main fit, after --")
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    jets: Path = arguments.jets or out / "jets"
    if not (jets / "test.h5").is_file():
        salt("simulate", "--out", jets, "--num_train", 50_000, "--num_val", 5_000, "--num_test", 50_000, "--seed", 7)
    files = [word for part in ("train", "val", "test") for word in (f"--data.{part}_file", jets / f"{part}.h5")]
    if arguments.run is None:
        start = time.monotonic()
        flags = ["--trainer.default_root_dir", out / "runs", "--trainer.logger", "false", *arguments.options]
        salt("fit", "--config", arguments.config, *files, *flags)
        print(f"trained in {(time.monotonic() - start) / 60:.1f} minutes")
    run = arguments.run or max((out / "runs").glob("*"), key=lambda p: p.stat().st_mtime)
    salt("test", "--config", run / "config.yaml", "--overwrite", *files)
    scored = read(max(run.glob("ckpts/*__test_*.h5"), key=lambda p: p.stat().st_mtime), Fractions())
    cuts, flavour = track_counting(jets / "test.h5")

    counts = {name: int((flavour == code).sum()) for name, code in FLAVOURS.items()}
    lines = curves(scored.model, scored.of("b"), {name: scored.of(name) for name in BACKGROUNDS})
    print(f"{platform.machine()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}, test jets: {counts}")
    print(f"{'cut on the second largest':28}{'jets':8}{'rejection':>16}{scored.model:>16}{'ratio':>16}")
    ratios = {}
    for name, cut in cuts.items():
        others = {background: cut[flavour == FLAVOURS[background]] for background in BACKGROUNDS}
        lines += curves(name, cut[flavour == FLAVOURS["b"]], others, dashed=True) if name == SIGNED else []
        for background, scores in others.items():
            old = rejection(cut[flavour == FLAVOURS["b"]], scores, EFFICIENCY)
            new = rejection(scored.of("b"), scored.of(background), EFFICIENCY)
            ratios[name, background], error = ratio(new, old)
            value = f"{ratios[name, background]:.1f} ± {error:.1f}"
            print(f"{name:28}{background:8}{words(old):>16}{words(new):>16}{value:>16}")
    draw(out / "rejection.png", lines, f"{len(flavour)} simulated jets, statistical errors")
    print(f"picture: {out / 'rejection.png'}")
    return 0 if ratios[UNSIGNED, "light"] >= WANTED else 1


def track_counting(path: Path) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.int8]]:
    """For each jet of a file the second largest d0 significances (-inf without) and the code of its flavour."""
    with h5py.File(path) as file:
        tracks = file["tracks"].fields(["IP3D_signed_d0_significance", "valid"])[:]
        flavour = file["jets"].fields("HadronConeExclTruthLabelID")[:]
    signed = tracks["IP3D_signed_d0_significance"]
    found = {UNSIGNED: np.abs(signed), SIGNED: signed}
    return {name: np.sort(np.where(tracks["valid"], s, -np.inf), axis=1)[:, -2] for name, s in found.items()}, flavour


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
