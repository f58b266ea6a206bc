"""The picture of ``main rejection``: rejection against b-efficiency."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import mplhep
import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from salt.errors import ConfigError, DataError
from salt.files import complete_or_absent
from salt.rejection import Floats, Rejection, rejection

EFFICIENCIES = np.linspace(0.3, 1.0, 141)
"""The shares of b-jets at which curves are drawn."""

FORMATS = (".png", ".pdf", ".svg")

COLOURS = {"c": "#1f77b4", "light": "#d62728", "tau": "#2ca02c"}


@dataclass(frozen=True)
class Curve:
    """One line of the picture.

    Args:
        tagger: Whose rejection it is.
        flavour: What is rejected: ``c``, ``light`` or ``tau``.
        points: The rejection at all efficiencies.
        dashed: Draw it dashed, as what the others are compared with.
    """

    tagger: str
    flavour: str
    points: Rejection
    dashed: bool = False


def curves(tagger: str, signal: Floats, backgrounds: Mapping[str, Floats], dashed: bool = False) -> list[Curve]:
    """The rejections of each background against the b-efficiency.

    Args:
        tagger: Whose scores these are.
        signal: Scores of the b-jets.
        backgrounds: For each flavour the scores of its jets.
        dashed: Draw them dashed.
    """
    return [Curve(tagger, name, rejection(signal, b, EFFICIENCIES), dashed) for name, b in backgrounds.items()]


def draw(path: Path, curves: Sequence[Curve], note: str = "") -> None:
    """Draws curves with bands of their statistical errors; a curve ends where no jet of its background passes.

    Args:
        path: The picture; its suffix says the format.
        curves: What to draw.
        note: A line about the jets, for a corner of the picture.

    Raises:
        ConfigError: The suffix is none of .png, .pdf and .svg.
        DataError: The picture cannot be written.
    """
    if path.suffix not in FORMATS:
        raise ConfigError(f"cannot draw {path}; its name must end in one of {', '.join(FORMATS)}")
    with rc_context({**mplhep.style.ATLAS, "axes.labelsize": 18, "legend.fontsize": 14}):
        figure = Figure(figsize=(8, 6), dpi=90, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        top = 1.0
        for curve in curves:
            seen = curve.points.passed > 0
            x = curve.points.efficiency[seen]
            y, error = curve.points.value[seen], curve.points.error[seen]
            style = "--" if curve.dashed else "-"
            jets = "light jets" if curve.flavour == "light" else f"{curve.flavour}-jets"
            axes.plot(x, y, style, color=COLOURS[curve.flavour], label=f"{curve.tagger}, {jets}")
            lower = np.maximum(y - error, 0.5)
            axes.fill_between(x, lower, y + error, color=COLOURS[curve.flavour], alpha=0.2, linewidth=0)
            top = max(top, float((y + error).max(initial=1)))
        axes.set_yscale("log")
        axes.set_ylim(0.8, 3 * top)
        axes.set_xlim(EFFICIENCIES[0], EFFICIENCIES[-1])
        axes.yaxis.set_major_locator(LogLocator(numticks=12))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
        axes.set_xlabel("b-jet efficiency")
        axes.set_ylabel("rejection (1 / mistag rate)")
        axes.grid(alpha=0.3, which="major")
        axes.legend(loc="upper right")
        if note:
            axes.text(0.03, 0.05, note, transform=axes.transAxes, fontsize=13)
        try:
            with complete_or_absent(path) as beside:
                figure.savefig(beside, format=path.suffix[1:])
        except OSError as error:
            raise DataError(f"cannot write {path}: {error.strerror}") from None
