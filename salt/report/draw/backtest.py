"""Taggers in slices of a variable."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from salt.report.backtest import Backtest, Value
from salt.report.draw.style import MARKERS, figure, plain_number, short_log, tagger_colour
from salt.report.flavours import flavour_name
from salt.report.slices import Slices

MANY = 14
"""Slices of which each is named."""


def draw(title: str, slices: Slices, found: Sequence[Backtest], metrics: Sequence[str]) -> Figure:
    """A panel for each metric, and one for the number of jets; slices stand side by side, all as wide.

    Args:
        title: Over the picture.
        slices: The slices.
        found: The taggers, which share them.
        metrics: Names of what is drawn.
    """
    made = figure(max(7.5, min(0.32 * len(slices), 16.0)), 1.1 + 1.75 * (len(metrics) + 1))
    panels = made.subplots(len(metrics) + 1, 1, sharex=True, squeeze=False)[:, 0]
    for metric, axes in zip(metrics, panels, strict=False):
        for position, each in enumerate(found):
            _line(axes, each, metric, position, len(found))
        axes.set_ylabel(_name(metric), loc="center", fontsize=12)
        axes.grid(alpha=0.3, axis="y")
        axes.margins(y=0.12)
        if metric.startswith("rejection"):
            _logarithmic(axes, [value for each in found for one in each.slices if (value := one.values.get(metric))])
    jets = [each.jets for each in found[0].slices]
    panels[-1].bar(np.arange(len(jets)) + 0.5, jets, 0.96, color="#c8c8cc")
    panels[-1].set_ylabel("jets", loc="center", fontsize=12)
    panels[-1].yaxis.set_major_formatter(plain_number)
    _name_slices(panels[-1], slices)
    made.align_ylabels(panels)
    panels[0].set_title(title, loc="left", fontsize=12)
    if len(found) > 1:
        made.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=min(len(found), 3))
    return made


def _line(axes: Axes, found: Backtest, metric: str, position: int, number: int) -> None:
    values = [each.values.get(metric) for each in found.slices]
    x = np.arange(len(values)) + 0.5 + (0.5 * (position + 0.5) / number - 0.25 if number > 1 else 0.0)
    y = np.array([np.nan if v is None else v.value for v in values])
    error = np.array([0.0 if v is None or v.error != v.error else v.error for v in values])
    limit = np.array([np.nan if v is None else v.more_than for v in values])
    colour, marker = tagger_colour(position), MARKERS[position % len(MARKERS)]
    seen = np.isfinite(y)
    axes.errorbar(x[seen], y[seen], error[seen], fmt=marker, markersize=4, color=colour, label=found.name)
    axes.plot(x, limit, marker="^", markersize=6, markerfacecolor="none", linestyle="none", color=colour)
    whole = found.whole.values.get(metric)
    if whole is not None and np.isfinite(whole.value):
        axes.axhline(whole.value, color=colour, linestyle="--", linewidth=0.9, alpha=0.8)


def _logarithmic(axes: Axes, values: Sequence[Value]) -> None:
    """An axis of rejections, on which a lower error that reaches 0 is cut off."""
    ends = [x for v in values for x in (v.value, v.value + v.error, v.more_than) if np.isfinite(x)]
    if ends:
        short_log(axes, 0.6 * min(ends), 1.5 * max(ends))


def _name_slices(axes: Axes, slices: Slices) -> None:
    """Values beneath their slices, or edges between them; not all where they are many."""
    number = len(slices)
    step = -(-number // MANY)
    if slices.distinct:
        places, words = np.arange(number)[::step] + 0.5, slices.labels[::step]
    else:
        edges = [*slices.low.tolist(), slices.high[-1]]
        places, words = np.arange(number + 1.0)[::step], [f"{edge:.4g}" for edge in edges[::step]]
    long = max(map(len, words)) * len(words) > 80
    axes.set_xticks(places, words, rotation=60 if long else 0, ha="right" if long else "center")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", pad=7)
    axes.set_xlim(0, number)
    axes.set_xlabel(f"{slices.variable} [{slices.unit}]" if slices.unit else slices.variable)


def _name(metric: str) -> str:
    """Such as a rejection over the jets and the efficiency that it is of."""
    what, _, rest = metric.partition("_")
    flavour, _, point = rest.partition("_at_")
    if what == "auc":
        return f"AUC\n{flavour_name(flavour)}" if flavour else "AUC"
    return f"{what}\n{flavour_name(flavour)}, {point.replace('p', '.')}%" if point else what
