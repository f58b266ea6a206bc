"""Pictures of the b-tagging discriminant: rejections, working points, distributions."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from salt.rejection import Floats, Rejection
from salt.report.draw.style import (
    error_points,
    figure,
    flavour_colour,
    grid_of,
    middles,
    note,
    plain_log,
    pt_axis,
    room_above,
    short_log,
    steps,
    tagger_colour,
)
from salt.report.flavours import flavour_name
from salt.report.jets import EFFICIENCIES, SIGNAL
from salt.report.measure import Measured
from salt.report.shares import Share


def rejection_curves(taggers: Sequence[Measured], background: str, reference: Measured) -> Figure:
    """Rejection of one background against the b-efficiency, with the ratio to a tagger beneath.

    Bands are statistical errors. Those of the ratio are of each tagger alone: the taggers judge the same jets, so
    their errors have much in common.
    """
    made = figure(7, 6)
    upper, lower = made.subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
    below = _curve(reference, background)
    top = 1.0
    for position, tagger in enumerate(taggers):
        curve = _curve(tagger, background)
        if curve is None:
            continue
        seen = curve.passed > 0
        x, y, error = curve.efficiency[seen], curve.value[seen], curve.error[seen]
        colour = tagger_colour(position)
        upper.plot(x, y, color=colour, label=tagger.name)
        upper.fill_between(x, np.maximum(y - error, 0.5), y + error, color=colour, alpha=0.2, linewidth=0)
        top = max(top, float((y + error).max(initial=1)))
        if below is not None:
            both = seen & (below.passed > 0)
            ratio, spread = curve.value[both] / below.value[both], curve.error[both] / below.value[both]
            x = curve.efficiency[both]
            lower.plot(x, ratio, color=colour)
            lower.fill_between(x, ratio - spread, ratio + spread, color=colour, alpha=0.2, linewidth=0)
    upper.set_ylim(0.8, None)
    plain_log(upper, top)
    upper.set_ylabel(f"{flavour_name(background)} rejection")
    upper.legend(loc="upper right")
    upper.grid(alpha=0.25)
    upper.set_xlim(EFFICIENCIES[0], EFFICIENCIES[-1])
    lower.set_ylim(*_ratio_range([line.get_ydata() for line in lower.lines]))
    lower.grid(alpha=0.25)
    lower.set_xlabel("b-jet efficiency")
    lower.set_ylabel(f"ratio to\n{reference.name}", fontsize=11)
    return made


def _curve(tagger: Measured, background: str) -> Rejection | None:
    return tagger.tagging.curves.get(background) if tagger.tagging else None


def _ratio_range(lines: Sequence[object]) -> tuple[float, float]:
    """A range that holds the bulk of all ratios, at least 0.8 to 1.2."""
    values = np.concatenate([np.asarray(line, dtype=float) for line in lines] or [np.ones(1)])
    low, high = np.quantile(values, [0.02, 0.98]) if len(values) else (1.0, 1.0)
    margin = 0.15 * (high - low)
    return max(0.0, min(0.8, low - margin)), max(1.2, high + margin)


def profile(taggers: Sequence[Measured], variable: str) -> Figure:
    """The b-efficiency and the rejections of one cut in bins of a variable."""
    found = {
        t.name: next((p for p in t.tagging.profiles if p.variable == variable), None) for t in taggers if t.tagging
    }
    flavours = list(dict.fromkeys(f for p in found.values() if p for f in p.shares))
    made = figure(7, 2.1 * len(flavours) + 1.1)
    rows = made.subplots(len(flavours), 1, sharex=True, squeeze=False)[:, 0]
    for axes, flavour in zip(rows, flavours, strict=True):
        for position, tagger in enumerate(taggers):
            one = found.get(tagger.name)
            if one is None or flavour not in one.shares:
                continue
            _profile_line(axes, flavour, one.shares[flavour], one.edges, tagger.name, (position, len(taggers)))
        if flavour == SIGNAL:
            axes.set_ylim(0, 1.09)
        else:
            short_log(axes, *_rejection_range([p.shares[flavour] for p in found.values() if p and flavour in p.shares]))
        what = "efficiency" if flavour == SIGNAL else "rejection"
        axes.set_ylabel(f"{flavour_name(flavour)}\n{what}", fontsize=12)
        axes.grid(alpha=0.25)
    if variable == "pt":
        pt_axis(rows[-1])
    else:
        rows[-1].set_xlabel(r"jet $\eta$")
    if len(taggers) > 1:
        rows[0].legend(loc="lower center", ncols=min(3, len(taggers)))
    tagging = next(t.tagging for t in taggers if t.tagging)
    note(rows[0], f"one cut, {100 * tagging.working_point:g}% b-jet efficiency in all")
    return made


def _profile_line(axes: Axes, flavour: str, share: Share, edges: Floats, name: str, place: tuple[int, int]) -> None:
    if flavour == SIGNAL:
        error_points(axes, edges, share.value, share.error, *place, name)
        return
    error_points(axes, edges, share.inverse, share.inverse_error, *place, name)
    none = np.isinf(share.inverse)
    axes.plot(
        middles(edges, *place)[none],
        share.inverse_limit[none],
        "^",
        color=tagger_colour(place[0]),
        markerfacecolor="none",
    )


def _rejection_range(shares: Sequence[Share]) -> tuple[float, float]:
    """A range that holds all rejections and most of their errors, which below 1 say nothing."""
    inverse, error, limit = (np.concatenate([getattr(s, n) for s in shares]) for n in _INVERSE)
    seen = np.isfinite(inverse)
    none = np.isinf(inverse)
    values = np.concatenate([inverse[seen], limit[none]]) if (seen | none).any() else np.array([1.0, 10.0])
    tops = np.concatenate([inverse[seen] + error[seen], limit[none]]) if (seen | none).any() else values
    return max(0.8, 0.5 * float(values.min())), 1.5 * float(tops.max())


_INVERSE = ("inverse", "inverse_error", "inverse_limit")


def discriminants(taggers: Sequence[Measured]) -> Figure:
    """The distributions of the discriminants, one tagger beside the other."""
    drawn = [t for t in taggers if t.tagging]
    columns = min(2, len(drawn))
    made = figure(7 if columns == 1 else 10, 4.4 * -(-len(drawn) // columns))
    for axes, tagger in zip(grid_of(made, len(drawn), columns), drawn, strict=True):
        assert tagger.tagging is not None
        for position, (flavour, counts) in enumerate(tagger.tagging.histograms.items()):
            colour = flavour_colour(flavour, position)
            steps(axes, counts, tagger.tagging.edges, color=colour, label=flavour_name(flavour), linewidth=1.5)
        room_above(axes, 0.25, floor=0)
        axes.legend(loc="upper right")
        fractions = tagger.tagging.fractions
        tau = f", $f_\\tau$ = {fractions.tau:g}" if fractions.tau else ""
        axes.set_xlabel(f"$D_b$ of {tagger.name}  ($f_c$ = {fractions.c:g}{tau})")
        axes.set_ylabel("normalised jets")
    return made
