"""How all pictures look: the field's style, one colour for a flavour, one for a tagger."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import mplhep
import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator

from salt.rejection import Floats
from salt.report.shares import Ints

FLAVOUR_COLOURS = {"bjets": "#1f77b4", "cjets": "#ff7f0e", "ujets": "#2ca02c", "taujets": "#7c5295"}
"""Those that the field gives to the flavours of jets."""

COLOURS = ("#3f90da", "#bd1f01", "#ffa90e", "#832db6", "#717581", "#a96b59", "#e76300", "#92dadd", "#b9ac70")
"""Of taggers, told apart with any colour vision (M. A. Petroff, arXiv:2107.02270)."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")

STYLE = {
    **mplhep.style.ATLAS,
    "font.size": 12,
    "axes.labelsize": 14,
    "axes.titlesize": 13,
    "legend.fontsize": 11,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "axes.autolimit_mode": "data",
    "axes.xmargin": 0.03,
    "font.sans-serif": ["TeX Gyre Heros", "Nimbus Sans", "Liberation Sans", "DejaVu Sans"],
    "pdf.fonttype": 42,
    "xtick.minor.ndivs": 2,
    "ytick.minor.ndivs": 2,
}


@contextmanager
def styled() -> Iterator[None]:
    """Everything inside is drawn in the style."""
    quiet = logging.getLogger("matplotlib.font_manager")
    level = quiet.level
    quiet.setLevel(logging.ERROR)  # It complains of each font of a family that this machine does not have.
    try:
        with rc_context(STYLE):
            yield
    finally:
        quiet.setLevel(level)


def figure(width: float = 7.0, height: float = 5.0) -> Figure:
    """An empty picture, sizes in inches."""
    made = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06))
    FigureCanvasAgg(made)
    return made


def flavour_colour(flavour: str, position: int) -> str:
    """Its colour; `position` among the classes decides for one that has none of its own."""
    return FLAVOUR_COLOURS.get(flavour, COLOURS[(position + 3) % len(COLOURS)])


def tagger_colour(position: int) -> str:
    """The colour of the n-th tagger."""
    return COLOURS[position % len(COLOURS)]


def plain_number(value: float, _: object = None) -> str:
    """A number of an axis, with a comma after thousands and at most three digits where it is no whole number."""
    return f"{value:,.0f}" if value >= 1 and abs(value - round(value)) < 1e-6 * value else f"{value:.3g}"


def plain_log(axes: Axes, top: float) -> None:
    """A logarithmic vertical axis with plain numbers, and room for a legend above."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(plain_number))
    low = axes.get_ylim()[0]
    axes.set_ylim(low, top * (top / low) ** 0.35)


def short_log(axes: Axes, low: float, high: float) -> None:
    """A logarithmic vertical axis over few decades, with some numbers in each."""
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 100 else (1.0,), numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(plain_number))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))


def pt_axis(axes: Axes) -> None:
    """A logarithmic horizontal axis of the jet's pt, with plain numbers."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if str(value)[0] in "235" else ""))
    axes.set_xlabel("jet $p_T$ [GeV]")


def room_above(axes: Axes, share: float = 0.3, floor: float | None = None) -> None:
    """Makes room for a legend above what is drawn on a linear axis."""
    low, high = axes.get_ylim()
    low = low if floor is None else floor
    axes.set_ylim(low, high + share * (high - low))


def note(axes: Axes, text: str) -> None:
    """A line over the right corner of a picture, outside of it."""
    axes.set_title(text, loc="right", fontsize=11, color="#444444")


def steps(axes: Axes, counts: Ints, edges: Floats, **style: Any) -> None:
    """A histogram of unit area as a line."""
    total = counts.sum()
    density = counts / total / np.diff(edges) if total else counts
    axes.stairs(density, edges, **style)


def error_points(axes: Axes, edges: Floats, value: Floats, error: Floats, position: int, num: int, name: str) -> None:
    """Points of a tagger in bins, with errors and a bar from edge to edge; those that are not finite are left out.

    Args:
        axes: Where to draw.
        edges: [K + 1] of the bins.
        value: [K].
        error: [K].
        position: The number of the tagger; each has its own place in a bin.
        num: How many taggers there are.
        name: For the legend.
    """
    middle = middles(edges, position, num)
    seen = np.isfinite(value) & np.isfinite(error)
    if seen.any():
        widths = np.stack([middle - edges[:-1], edges[1:] - middle])[:, seen]
        fmt, colour = MARKERS[position % len(MARKERS)], tagger_colour(position)
        options: dict[str, Any] = {"fmt": fmt, "markersize": 4, "capsize": 0, "color": colour, "label": name}
        axes.errorbar(middle[seen], value[seen], yerr=error[seen], xerr=widths, **options)


def middles(edges: Floats, position: int, num: int) -> Floats:
    """[K] the places of a tagger in bins: beside each other, so that none hides another."""
    shift = 0.3 * (2 * position - num + 1) / (num - 1) if num > 1 else 0.0
    middle: Floats = (edges[1:] + edges[:-1]) / 2 + shift * np.diff(edges) / 2
    return middle


def grid_of(made: Figure, num: int, columns: int, **options: Any) -> Sequence[Axes]:
    """So many axes in rows; places that are left over stay empty."""
    rows = -(-num // columns)
    every = made.subplots(rows, columns, squeeze=False, **options)
    flat = list(every.flat)
    for axes in flat[num:]:
        axes.remove()
    return flat[:num]
