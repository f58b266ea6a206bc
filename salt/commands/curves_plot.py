"""The picture of ``main runs diff``: metrics of two runs against their steps."""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path

import mplhep
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from salt.errors import ConfigError, DataError
from salt.files import complete_or_absent
from salt.runs.curves import Curve

FORMATS = (".png", ".pdf", ".svg")

IN_A_ROW = 3

MARKED = 60
"""Curves of at most so many points have marks."""


def draw(path: Path, names: Sequence[str], runs: Sequence[Mapping[str, Curve]]) -> None:
    """Draws a picture for each metric, with a line for each run.

    Args:
        path: The picture; its suffix says the format.
        names: Of the runs.
        runs: The curves of each, all with the same metrics.

    Raises:
        ConfigError: The suffix is none of .png, .pdf and .svg.
        DataError: The picture cannot be written.
    """
    if path.suffix not in FORMATS:
        raise ConfigError(f"cannot draw {path}; its name must end in one of {', '.join(FORMATS)}")
    metrics = sorted(runs[0])
    rows = ceil(len(metrics) / IN_A_ROW)
    small = {"axes.labelsize": 11, "legend.fontsize": 9, "xtick.labelsize": 9, "ytick.labelsize": 9}
    with rc_context({**mplhep.style.ATLAS, **small}):
        figure = Figure(figsize=(4 * min(IN_A_ROW, len(metrics)), 2.6 * rows), dpi=90, layout="constrained")
        FigureCanvasAgg(figure)
        for number, metric in enumerate(metrics):
            axes = figure.add_subplot(rows, min(IN_A_ROW, len(metrics)), number + 1)
            for run, style in zip(runs, ("-", "--"), strict=True):
                curve = run[metric]
                marker = "." if len(curve.steps) <= MARKED else ""
                axes.plot([step + 1 for step in curve.steps], curve.values, style, marker=marker, linewidth=1.2)
            axes.set_xlabel("step", loc="right")
            axes.set_title(metric, loc="left", fontsize=10)
            axes.margins(x=0.02)
            axes.grid(alpha=0.3)
        figure.legend(figure.axes[0].lines, names, loc="outside upper left", ncols=2, frameon=False)
        try:
            with complete_or_absent(path) as beside:
                figure.savefig(beside, format=path.suffix[1:])
        except OSError as error:
            raise DataError(f"cannot write {path}: {error.strerror}") from None
