"""``main simulate``: makes files of jets to train on."""

import re
import signal
import sys
from argparse import ArgumentError
from inspect import signature
from pathlib import Path
from types import FrameType
from typing import Literal

from jsonargparse import auto_cli

from salt.errors import ConfigError, unknown
from salt.simulate.files import Compression
from salt.simulate.options import Options, Process
from salt.simulate.run import Output
from salt.simulate.run import simulate as make


def simulate(
    out: Path,
    num_train: int = 50_000,
    num_val: int = 5_000,
    num_test: int = 10_000,
    seed: int = 1,
    processes: int = 2,
    flavours: Literal["as-is", "balanced"] = "as-is",
    classes: tuple[str, ...] = Options.classes,
    process: Process = "ttbar",
    pileup: float = 0.0,
    min_pt: float = 20.0,
    max_eta: float = 2.5,
    min_track_pt: float = 0.5,
    track_efficiency: float = 0.96,
    fakes: float = 0.2,
    compression: Compression = "lzf",
    mantissa_bits: int = 23,
    overwrite: bool = False,
) -> None:
    """Simulates jets with Pythia 8 and FastJet, and writes train.h5, val.h5, test.h5, norm_dict.yaml, class_dict.yaml.

    The same seed and options give the same jets whatever the number of processes.

    Args:
        out: Folder for the files; it is made if need be.
        num_train: Jets in train.h5; 0 for no such file.
        num_val: Jets in val.h5; 0 for no such file.
        num_test: Jets in test.h5; 0 for no such file.
        seed: Seed of everything that is random.
        processes: Number of processes that simulate.
        flavours: The mix of flavours as it comes, or as many jets of one class as of any other.
        classes: Flavours to keep, of bjets, cjets, ujets and taujets, in the order of their integer values.
        process: Hard process: top pairs, two jets, or a Z' of 2.5 TeV that decays to quarks.
        pileup: Mean number of soft collisions on top of each hard one.
        min_pt: Lowest transverse momentum of a jet in GeV.
        max_eta: Largest absolute pseudorapidity of a jet.
        min_track_pt: Lowest transverse momentum of a track in GeV.
        track_efficiency: Tracking efficiency of a central, prompt particle of high momentum.
        fakes: Mean number of fake tracks in a jet.
        compression: lzf is fast, gzip small.
        mantissa_bits: Mantissa bits that floats keep, of 23; fewer make smaller files.
        overwrite: Replace files of an earlier simulation.
    """
    options = Options(
        seed=seed,
        process=process,
        pileup=pileup,
        balanced=flavours == "balanced",
        classes=classes,
        min_pt=min_pt,
        max_eta=max_eta,
        min_track_pt=min_track_pt,
        track_efficiency=track_efficiency,
        fakes=fakes,
        mantissa_bits=mantissa_bits,
    )
    counts = {"train": num_train, "val": num_val, "test": num_test}
    make(options, Output(out, counts, compression, overwrite), processes)


def run(argv: list[str]) -> int:
    """Runs ``main simulate`` with the arguments that follow its name.

    Ctrl-C and a request to terminate end it with exit code 130 and nothing left behind.

    Args:
        argv: For example ``["--out", "data", "--num_train", "1000"]``.

    Returns:
        The exit code.

    Raises:
        SaltError: A mistake of the user's.
        SystemExit: Help was asked for.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        auto_cli(simulate, args=argv, as_positional=False, prog="main simulate", exit_on_error=False)
    except ArgumentError as error:
        raise _plain(str(error)) from None
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; no file was written\n")
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _plain(message: str) -> ConfigError:
    """The parser's complaint in one line, with the nearest option for one that does not exist."""
    stray = re.search(r"unrecognized arguments: --([^ =]+)", message)
    if stray:
        return ConfigError(unknown("option", stray[1], signature(simulate).parameters, "of main simulate"))
    return ConfigError(f"{' '.join(message.split())}; see main simulate --help")
