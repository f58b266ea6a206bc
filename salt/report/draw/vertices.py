"""Pictures of found vertices."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from salt.report.draw.style import (
    MARKERS,
    error_points,
    figure,
    flavour_colour,
    grid_of,
    note,
    pt_axis,
    steps,
    tagger_colour,
)
from salt.report.flavours import flavour_name
from salt.report.shares import Share
from salt.report.vertices import MASS_BINS, Vertices

Named: TypeAlias = Sequence[tuple[str, Vertices | None]]
"""All taggers of a sample, those without vertices too, so that each has its colour in all pictures."""


def rates(named: Named) -> Figure:
    """Efficiency, purity and fake rate of secondary vertices in each class of jets."""
    flavours = list(dict.fromkeys(f for _, v in named if v is not None for f in v.flavours))
    made = figure(9, 3.8)
    what = ("efficiency", "purity", "fake rate")
    for axes, title in zip(made.subplots(1, 3, sharey=True), what, strict=True):
        for position, (name, found) in enumerate(named):
            if found is None:
                continue
            share = {"efficiency": found.efficiency, "purity": found.purity, "fake rate": found.fakes}[title]
            rows = [found.flavours.index(f) if f in found.flavours else -1 for f in flavours]
            offset = 0.14 * (position - (len(named) - 1) / 2)
            x = np.arange(len(flavours)) + offset
            axes.errorbar(
                x,
                [share.value[r] if r >= 0 else np.nan for r in rows],
                yerr=[share.error[r] if r >= 0 else np.nan for r in rows],
                fmt=MARKERS[position % len(MARKERS)],
                color=tagger_colour(position),
                label=name,
            )
        axes.set_xticks(range(len(flavours)), [flavour_name(f).replace(" jets", "") for f in flavours])
        axes.tick_params(axis="x", which="both", length=0)
        axes.minorticks_off()
        axes.set_xlim(-0.6, len(flavours) - 0.4)
        axes.set_ylim(0, 1.15)
        axes.grid(alpha=0.25, axis="y")
        axes.set_title(title)
    if len(named) > 1:
        made.legend(*made.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=min(4, len(named)))
    return made


def efficiency(named: Named, flavour: str) -> Figure:
    """The efficiency of secondary vertices against the jet's pt."""
    made = figure(7, 4.2)
    axes = made.subplots()
    for position, (name, found) in enumerate(named):
        if found is not None and flavour in found.flavours:
            share: Share = found.efficiency_in_bins(flavour)
            error_points(axes, found.edges, share.value, share.error, position, len(named), name)
    axes.set_ylim(0, 1.2)
    pt_axis(axes)
    axes.set_ylabel("secondary vertices found")
    note(axes, flavour_name(flavour))
    axes.grid(alpha=0.25)
    axes.legend(loc="upper left", ncols=3)
    return made


def shown(found: Vertices) -> NDArray[np.bool_]:
    """[F] which classes of jets have enough true vertices for a spectrum."""
    enough: NDArray[np.bool_] = found.truth.sum(1) >= FEWEST
    return enough


def masses(named: Named) -> Figure:
    """The mass of groups that are true secondary vertices, and of those that are not, with the true vertices."""
    drawn = [(name, v) for name, v in named if v is not None and v.mass_right is not None]
    columns = min(2, len(drawn))
    made = figure(7 if columns == 1 else 10, 4.2 * -(-len(drawn) // columns))
    for axes, (name, found) in zip(grid_of(made, len(drawn), columns), drawn, strict=True):
        assert found.mass_right is not None
        assert found.mass_wrong is not None
        assert found.mass_truth is not None
        for row, flavour in enumerate(found.flavours):
            if not shown(found)[row]:
                continue
            colour = flavour_colour(flavour, row)
            steps(axes, found.mass_truth[row], MASS_BINS, color=colour, linestyle=":", linewidth=1.3)
            if found.mass_right[row].sum() >= FEWEST:
                label = f"{flavour_name(flavour)}, found"
                steps(axes, found.mass_right[row], MASS_BINS, color=colour, label=label, linewidth=1.6)
        if found.mass_wrong.sum():
            steps(axes, found.mass_wrong.sum(0), MASS_BINS, color="#555555", label="fakes", linestyle="--")
        axes.plot([], [], ":", color="#555555", label="true vertices")
        axes.set_yscale("log")
        axes.set_ylim(1e-3, 200)
        axes.legend(loc="upper right", ncols=2)
        axes.set_xlabel("mass of secondary vertices [GeV]")
        axes.set_ylabel("normalised vertices")
        note(axes, name)
    return made


FEWEST = 30
"""Classes of jets with fewer vertices have no spectrum."""
