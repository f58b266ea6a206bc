"""``main rejection``: what a tagger rejects, from its prediction file."""

import sys
from argparse import ArgumentError
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jsonargparse import auto_cli
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from salt.errors import ConfigError, DataError, unknown
from salt.rejection import Floats, Fractions, Rejection, discriminant, rejection

FLAVOURS = {5: "b", 4: "c", 0: "light", 15: "tau"}
"""Codes of HadronConeExclTruthLabelID."""

CLASSES = {"bjets": "b", "cjets": "c", "ujets": "light", "taujets": "tau"}
"""Names of the classes of flavour_label."""

BACKGROUNDS = ("c", "light", "tau")


@dataclass(frozen=True, eq=False)
class Scored:
    """The scored jets of a prediction file.

    Args:
        model: Name of the tagger.
        score: [B] discriminant.
        flavour: [B] ``b``, ``c``, ``light``, ``tau``, or empty.
    """

    model: str
    score: Floats
    flavour: NDArray[np.str_]

    def of(self, flavour: str) -> Floats:
        """The scores of the jets of one flavour."""
        scores: Floats = self.score[self.flavour == flavour]
        return scores

    @property
    def backgrounds(self) -> list[str]:
        """The flavours to reject of which there are jets."""
        return [name for name in BACKGROUNDS if len(self.of(name))]


def report(
    predictions: Path,
    plot: Path | None = None,
    efficiency: float = 0.7,
    f_c: float = 0.2,
    f_tau: float = 0.0,
) -> None:
    """Prints the rejection of c- and light jets at one b-efficiency, and draws it against the b-efficiency.

    The discriminant is log(p_b / (f_c p_c + f_tau p_tau + (1 - f_c - f_tau) p_u)), the rejection 1 / mistag rate at
    the cut that keeps the stated share of b-jets. Errors are binomial.

    Args:
        predictions: A prediction file that main test wrote.
        plot: Where to draw the rejections against the b-efficiency (.png, .pdf or .svg); nothing is drawn if not given.
        efficiency: The share of b-jets to keep.
        f_c: Share of c-jets among the background that the discriminant assumes.
        f_tau: Share of tau-jets among it.
    """
    scored = read(predictions, Fractions(f_c, f_tau))
    points = {name: rejection(scored.of("b"), scored.of(name), efficiency) for name in scored.backgrounds}
    Console(file=sys.stdout).print(table(scored, points))
    if plot is not None:
        # Drawing takes a second to import.
        from salt.commands.rejection_plot import curves, draw

        lines = curves(scored.model, scored.of("b"), {name: scored.of(name) for name in scored.backgrounds})
        draw(plot, lines, f"{len(scored.score)} jets, statistical errors")
        sys.stdout.write(f"picture: {plot}\n")


def run(argv: list[str]) -> int:
    """Runs ``main rejection`` with the arguments that follow its name.

    Args:
        argv: For example ``["predictions.h5", "--plot", "rejection.png"]``.

    Returns:
        The exit code, 0.

    Raises:
        SaltError: A mistake of the user's.
        SystemExit: Help was asked for.
    """
    try:
        auto_cli(report, args=argv, prog="main rejection", exit_on_error=False)
    except ArgumentError as error:
        raise ConfigError(f"{' '.join(str(error).split())}; see main rejection --help") from None
    return 0


def read(path: Path, fractions: Fractions) -> Scored:
    """Reads a prediction file; jets that were not scored are left out.

    Raises:
        DataError: It is no prediction file, or lacks a probability or the true flavour.
    """
    if not path.is_file():
        names = [p.name for p in path.parent.glob("*.h5")] if path.parent.is_dir() else []
        raise DataError(unknown("file", path.name, names, f"in folder {path.parent}"))
    try:
        with h5py.File(path, "r", locking=False) as file:
            dataset = file.get("jets")
            if not isinstance(dataset, h5py.Dataset) or dataset.dtype.names is None:
                raise DataError(f"{path} has no table 'jets'; give a prediction file that main test wrote")
            jets, attributes = dataset[:], dict(dataset.attrs)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    columns = jets.dtype.names
    models = [name.removesuffix("_pb") for name in columns if name.endswith("_pb")]
    if len(models) != 1:
        found = ", ".join(models) or "none"
        raise DataError(f"{path} must have the probabilities of one tagger, a column NAME_pb; found: {found}")
    wanted = {key: f"{models[0]}_p{key}" for key in ("b", "c", "u")}
    for column in wanted.values():
        if column not in columns:
            raise DataError(unknown("column", column, columns, f"in 'jets' of {path}"))
    tau = f"{models[0]}_ptau"
    p = {key: jets[column] for key, column in wanted.items()}
    score = discriminant(p["b"], p["c"], p["u"], jets[tau] if tau in columns else None, fractions)
    known = np.isfinite(score)
    flavour = _flavour(path, jets, attributes)
    if not (flavour[known] == "b").any():
        raise DataError(f"{path} has no scored b-jets, so there is no efficiency to cut at")
    if not any((flavour[known] == name).any() for name in BACKGROUNDS):
        raise DataError(f"{path} has b-jets only, so there is nothing to reject")
    return Scored(models[0], score[known], flavour[known])


def _flavour(path: Path, jets: NDArray[np.void], attributes: Mapping[str, Any]) -> NDArray[np.str_]:
    columns = jets.dtype.names or ()
    if "HadronConeExclTruthLabelID" in columns:
        codes, meaning = jets["HadronConeExclTruthLabelID"], FLAVOURS
    elif "flavour_label" in columns and "flavour_label" in attributes:
        names = [n.decode() if isinstance(n, bytes) else str(n) for n in attributes["flavour_label"]]
        codes, meaning = jets["flavour_label"], {i: CLASSES.get(name, "") for i, name in enumerate(names)}
    else:
        raise DataError(
            f"{path} does not say which jets are b-jets\n"
            "write HadronConeExclTruthLabelID into it by the variables of the PredictionWriter"
        )
    flavour = np.full(len(jets), "", dtype="<U5")
    for code, name in meaning.items():
        flavour[codes == code] = name
    return flavour


def table(scored: Scored, points: Mapping[str, Rejection]) -> Table:
    """The rejections at one efficiency, for a terminal."""
    first = next(iter(points.values()))
    share = f"{100 * first.efficiency[0]:.6g}%"
    result = Table(title=f"{scored.model} at {share} b-efficiency")
    for heading in ("jets", "rejection", "error", "pass", "of"):
        result.add_column(heading, justify="left" if heading == "jets" else "right")
    signal = scored.of("b")
    result.add_row("b", "", "", str((signal >= first.cut[0]).sum()), str(len(signal)))
    for name, point in points.items():
        if point.passed[0]:
            value, error = f"{point.value[0]:.1f}", f"± {point.error[0]:.1f}"
        else:
            value, error = f"> {point.lower_limit:.1f}", "(95% CL)"
        result.add_row(name, value, error, str(point.passed[0]), str(point.total))
    return result
