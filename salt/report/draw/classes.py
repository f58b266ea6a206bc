"""Pictures of classifications: probabilities, their calibration, confusion."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from salt.report.draw.style import (
    MARKERS,
    figure,
    flavour_colour,
    grid_of,
    note,
    steps,
    tagger_colour,
)
from salt.report.flavours import flavour_name
from salt.report.jets import SCORE_BINS, Classes
from salt.report.measure import Measured

FEWEST = 10
"""Bins of a calibration with fewer jets are not drawn."""


def scores(tagger: Measured) -> Figure:
    """The distributions of each probability, by the true class."""
    columns = min(3, len(tagger.scores))
    made = figure(3.6 * columns + 0.4, 3.6 * -(-len(tagger.scores) // columns))
    every = grid_of(made, len(tagger.scores), columns)
    for number, (axes, (name, histograms)) in enumerate(zip(every, tagger.scores.items(), strict=True)):
        for position, (flavour, counts) in enumerate(histograms.items()):
            colour = flavour_colour(flavour, position)
            steps(axes, counts, SCORE_BINS, color=colour, label=flavour_name(flavour), linewidth=1.4)
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        axes.set_ylim(low, high * (high / low) ** 0.25)
        axes.set_xlim(0, 1)
        axes.set_xlabel(f"probability of {flavour_name(name)}")
        if number % columns == 0:
            axes.set_ylabel("normalised jets")
        if number == 0:
            axes.legend(loc="upper center", fontsize=10)
    return made


def calibration(taggers: Sequence[Measured]) -> Figure:
    """The share of jets that are of a class against its probability."""
    names = [name for name in dict.fromkeys(n for t in taggers for n in t.reliability) if _drawn(taggers, name)]
    columns = min(3, len(names))
    made = figure(3.6 * columns + 0.4, 3.8 * -(-len(names) // columns))
    for number, (axes, name) in enumerate(zip(grid_of(made, len(names), columns), names, strict=True)):
        axes.plot([0, 1], [0, 1], color="#888888", linewidth=1, linestyle="--")
        for position, tagger in enumerate(taggers):
            if name not in tagger.reliability:
                continue
            one = tagger.reliability[name]
            seen = one.observed.total >= FEWEST
            axes.errorbar(
                one.predicted[seen],
                one.observed.value[seen],
                yerr=one.observed.error[seen],
                fmt=f"{MARKERS[position % len(MARKERS)]}-",
                markersize=3.5,
                linewidth=1,
                color=tagger_colour(position),
                label=tagger.name,
            )
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xlabel(f"probability of {flavour_name(name)}")
        axes.set_ylabel(f"share of {flavour_name(name)}")
        if number == 0:
            axes.legend(loc="upper left", fontsize=10)
    return made


def calibrated(taggers: Sequence[Measured]) -> bool:
    """Whether there is anything to draw of the calibration."""
    return any(_drawn([t], name) for t in taggers for name in t.reliability)


def _drawn(taggers: Sequence[Measured], name: str) -> bool:
    """Whether a class has a bin with enough jets."""
    found = [t.reliability[name].observed.total for t in taggers if name in t.reliability]
    return any((total >= FEWEST).any() for total in found)


def confusion(classes: Classes, title: str) -> Figure:
    """Which class objects of each true class are taken for, in percent of the true class."""
    shares = 100 * classes.shares
    seen = classes.confusion.sum(1) > 0
    names = [flavour_name(name) for name in classes.classes]
    num = len(names)
    side = max(4.2, 0.72 * num + 2.2)
    made = figure(side + 0.9, side - 0.4)
    axes = made.subplots()
    image = axes.imshow(shares[seen], cmap="Blues", vmin=0, vmax=100, aspect="auto")
    rows = [f"{name}\n({_short(n)})" for name, n in zip(names, classes.confusion.sum(1), strict=True)]
    axes.set_xticks(range(num), names, rotation=0 if num < 5 else 40, ha="center" if num < 5 else "right")
    axes.set_yticks(range(int(seen.sum())), [r for r, s in zip(rows, seen, strict=True) if s])
    axes.tick_params(which="both", length=0)
    axes.minorticks_off()
    for row, values in enumerate(shares[seen]):
        for column, value in enumerate(values):
            colour = "white" if value > 55 else "#222222"
            text = f"{value:.1f}" if value >= 0.05 or not value else "<0.1"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=11)
    axes.set_xlabel("most probable class")
    axes.set_ylabel("true class")
    note(axes, title)
    bar = made.colorbar(image, ax=axes, shrink=0.9)
    bar.set_label("% of the true class")
    return made


def _short(number: int) -> str:
    for size, letter in ((1_000_000, "M"), (10_000, "k")):
        if number >= size:
            return f"{number / (size if letter == 'M' else 1000):.3g}{letter}"
    return str(number)
