"""Pictures of trainings."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from salt.rejection import Floats
from salt.report.draw.style import figure, grid_of, note, tagger_colour
from salt.report.history import History, Series

POINTS = 400
"""Lines of more points are averaged to so many."""


def losses(runs: Sequence[History], names: Sequence[str]) -> Figure:
    """Losses against steps: of training thin, of validation with points."""
    columns = min(2, len(names))
    made = figure(7 if columns == 1 else 10, 3.4 * -(-len(names) // columns) + 0.3)
    for axes, name in zip(grid_of(made, len(names), columns), names, strict=True):
        for position, run in enumerate(runs):
            colour = tagger_colour(position)
            train, val = run.series.get(f"train/{name}"), run.series.get(f"val/{name}")
            label = f"{run.name}, " if len(runs) > 1 else ""
            if train is not None:
                axes.plot(*_thinned(train), color=colour, alpha=0.45, linewidth=1.2, label=f"{label}training")
            if val is not None:
                axes.plot(val.step, val.value, "o-", color=colour, markersize=4, label=f"{label}validation")
        axes.set_xlabel("step")
        axes.set_ylabel(name)
        axes.grid(alpha=0.25)
        axes.legend(loc="upper right", fontsize=10)
    return made


def loss_names(runs: Sequence[History]) -> list[str]:
    """The losses that any run has logged, in training or validation: the total first."""
    found = {n.partition("/")[2] for r in runs for n in r.series if n.endswith("/loss") and n.startswith(_PARTS)}
    return sorted(found, key=lambda name: (name != "loss", name))


_PARTS = ("train/", "val/")


def metrics(runs: Sequence[History], names: Sequence[str]) -> Figure:
    """Metrics of validation against steps."""
    columns = min(3, len(names))
    made = figure(3.8 * columns, 3.1 * -(-len(names) // columns) + 0.3)
    for number, (axes, name) in enumerate(zip(grid_of(made, len(names), columns), names, strict=True)):
        for position, run in enumerate(runs):
            if name in run.series:
                series = run.series[name]
                axes.plot(series.step, series.value, "o-", markersize=4, color=tagger_colour(position), label=run.name)
        axes.set_xlabel("step")
        axes.set_title("/".join(name.split("/")[2:]), fontsize=10)
        axes.grid(alpha=0.25)
        if number == 0 and len(runs) > 1:
            axes.legend(loc="best", fontsize=9)
    return made


def metrics_by_task(runs: Sequence[History]) -> dict[str, list[str]]:
    """The metrics of validation that are no losses, by task."""
    found = {n for r in runs for n in r.series if n.startswith("val/") and n.count("/") > 1 and not n.endswith("loss")}
    tasks: dict[str, list[str]] = {}
    for name in sorted(found):
        tasks.setdefault(name.split("/")[1], []).append(name)
    return tasks


def progress(runs: Sequence[History], names: Sequence[str], labels: Sequence[str]) -> Figure:
    """What a training does besides learning: its rate, its speed."""
    made = figure(7, 2.9 * len(names) + 0.3)
    for axes, name, label in zip(grid_of(made, len(names), 1, sharex=True), names, labels, strict=True):
        for position, run in enumerate(runs):
            if name in run.series:
                axes.plot(*_thinned(run.series[name]), color=tagger_colour(position), label=run.name)
        axes.set_ylabel(label)
        axes.set_ylim(0, None)
        axes.grid(alpha=0.25)
        if len(runs) > 1:
            axes.legend(loc="best", fontsize=10)
    axes.set_xlabel("step")
    if len(runs) == 1:
        note(made.axes[0], runs[0].name)
    return made


def _thinned(series: Series) -> tuple[Floats, Floats]:
    """The points of a line, averaged in groups where there are very many."""
    size = -(-len(series.step) // POINTS)
    if size < 2:
        return series.step, series.value
    starts = np.arange(0, len(series.step), size)
    count = np.diff(np.append(starts, len(series.step)))
    return np.add.reduceat(series.step, starts) / count, np.add.reduceat(series.value, starts) / count
