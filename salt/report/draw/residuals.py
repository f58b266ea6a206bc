"""Pictures of regressions."""

import math
from collections.abc import Sequence
from typing import TypeAlias

from matplotlib.figure import Figure

from salt.report.draw.style import error_points, figure, pt_axis, steps, tagger_colour
from salt.report.residuals import Residuals

Named: TypeAlias = Sequence[tuple[str, Residuals | None]]
"""All taggers of a sample, those without a regression too, so that each has its colour in all pictures."""


def distribution(named: Named, dataset: str) -> Figure:
    """The residuals of one variable of jets or constituents."""
    made = figure(7, 4.2)
    axes = made.subplots()
    for position, (name, found) in enumerate(named):
        if found is None:
            continue
        bias, width = found.overall.bias[0], found.overall.resolution[0]
        label = name if math.isnan(bias) else f"{name}: bias {bias:.3g}, resolution {width:.3g}"
        steps(axes, found.histogram, found.edges, color=tagger_colour(position), label=label, linewidth=1.6)
    axes.axvline(0, color="#888888", linewidth=1)
    axes.set_ylim(0, 1.3 * axes.get_ylim()[1])
    axes.set_xlabel(_label(_first(named)))
    axes.set_ylabel(f"normalised {dataset}")
    axes.legend(loc="upper right")
    return made


def against_pt(named: Named) -> Figure:
    """Bias and resolution in bins of the jet's pt."""
    made = figure(7, 5.4)
    upper, lower = made.subplots(2, 1, sharex=True)
    for position, (name, found) in enumerate(named):
        if found is None:
            continue
        spread, place = found.in_bins, (position, len(named))
        error_points(upper, found.pt_edges, spread.bias, spread.bias_error, *place, name)
        error_points(lower, found.pt_edges, spread.resolution, spread.resolution_error, *place, name)
    upper.axhline(0, color="#888888", linewidth=1)
    lower.set_ylim(0, 1.2 * lower.get_ylim()[1])
    pt_axis(lower)
    unit = _unit(_first(named))
    upper.set_ylabel(f"bias{unit}")
    lower.set_ylabel(f"resolution{unit}")
    for axes in (upper, lower):
        axes.grid(alpha=0.25)
    if len(named) > 1:
        upper.legend(loc="best")
    return made


def _first(named: Named) -> Residuals:
    return next(found for _, found in named if found is not None)


def _label(found: Residuals) -> str:
    if found.relative:
        return f"{found.variable}: (predicted - true) / true"
    return f"{found.variable}: predicted - true{_unit(found)}"


def _unit(found: Residuals) -> str:
    return " (relative)" if found.relative else f" [{found.unit}]" if found.unit else ""
