"""The numbers of the report as tables, for CSV and JSON files and, some of them, for the page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from salt.report.flavours import flavour_name
from salt.report.history import History
from salt.report.jets import CALIBRATION_BINS, SCORE_BINS, SIGNAL, WORKING_POINTS, Classes
from salt.report.measure import Measured
from salt.report.residuals import Residuals
from salt.report.shares import Share
from salt.report.vertices import MASS_BINS, Vertices

Cell: TypeAlias = str | int | float


@dataclass(frozen=True)
class Table:
    """Numbers with the names of their columns.

    Args:
        columns: Names.
        rows: Values; NaN where there is none.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def _table(columns: str, rows: Sequence[Sequence[object]]) -> Table:
    """With NumPy's numbers as plain ones."""

    def plain(cell: object) -> Cell:
        value = cell.item() if isinstance(cell, np.generic) else cell
        return value if isinstance(value, str | int | float) else str(value)

    return Table(tuple(columns.split()), tuple(tuple(plain(cell) for cell in row) for row in rows))


def jets(taggers: Sequence[Measured]) -> Table:
    """How many jets each tagger is judged by."""
    rows = [(t.name, name, count) for t in taggers for name, count in t.counts.items()]
    rows += [(t.name, "no known class", t.unknown) for t in taggers if t.unknown]
    rows += [(t.name, "not scored", t.unscored) for t in taggers if t.unscored]
    return _table("tagger jets count", rows)


def jets_shown(taggers: Sequence[Measured]) -> Table:
    """The same, a row for each tagger."""
    names = list(dict.fromkeys(name for t in taggers for name in t.counts))
    more = [("no known class", [t.unknown for t in taggers]), ("not scored", [t.unscored for t in taggers])]
    more = [(head, counts) for head, counts in more if any(counts) or head == "not scored"]
    rows = [
        (t.name, *(t.counts.get(name, 0) for name in names), *(counts[k] for _, counts in more), t.label or "none")
        for k, t in enumerate(taggers)
    ]
    heads = (*(flavour_name(name) for name in names), *(head for head, _ in more), "true class by")
    return Table(("tagger", *heads), _table("", rows).rows)


def working_points(taggers: Sequence[Measured]) -> Table:
    """Rejections at the `WORKING_POINTS`."""
    rows = []
    for tagger in taggers:
        for background, point in (tagger.tagging.points if tagger.tagging else {}).items():
            for k, efficiency in enumerate(WORKING_POINTS):
                limit = point.lower_limit if not point.passed[k] else float("nan")
                numbers = (point.cut[k], point.value[k], point.error[k], point.passed[k], point.total, limit)
                rows.append((tagger.name, background, efficiency, *numbers))
    return _table("tagger jets efficiency cut rejection error pass of limit_95", rows)


def working_points_shown(taggers: Sequence[Measured]) -> Table:
    """The same, a column for each efficiency."""
    rows: list[tuple[Cell, ...]] = []
    for background in dict.fromkeys(b for t in taggers if t.tagging for b in t.tagging.points):
        for tagger in taggers:
            point = tagger.tagging.points.get(background) if tagger.tagging else None
            if point is not None:
                triples = zip(point.value, point.error, point.passed, strict=True)
                cells = [with_error(v, e) if n else f"> {point.lower_limit:.3g}" for v, e, n in triples]
                rows.append((flavour_name(background), tagger.name, *cells))
    heads = [f"{100 * efficiency:g}% b" for efficiency in WORKING_POINTS]
    return Table(("rejection of", "tagger", *heads), tuple(rows))


def with_error(value: float, error: float) -> str:
    """A number with as many digits as its error has with two of its own."""
    digits = max(0, 1 - math.floor(math.log10(error))) if 0 < error < math.inf else 2
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def curves(taggers: Sequence[Measured], background: str) -> Table:
    """The points of a rejection curve."""
    rows = []
    for tagger in taggers:
        curve = tagger.tagging.curves.get(background) if tagger.tagging else None
        if curve is not None:
            columns = (curve.efficiency, curve.cut, curve.value, curve.error, curve.passed)
            rows += [(tagger.name, *cells, curve.total) for cells in zip(*columns, strict=True)]
    return _table("tagger efficiency cut rejection error pass of", rows)


def profile(taggers: Sequence[Measured], variable: str) -> Table:
    """Efficiencies and rejections of one cut in bins."""
    rows = []
    for tagger in taggers:
        for one in tagger.tagging.profiles if tagger.tagging else ():
            for flavour, share in one.shares.items() if one.variable == variable else ():
                rejections = (share.inverse, share.inverse_error)
                if flavour == SIGNAL:
                    rejections = (np.full(len(share.total), np.nan),) * 2
                columns = (one.edges[:-1], one.edges[1:], *_of(share), *rejections)
                rows += [(tagger.name, flavour, *cells) for cells in zip(*columns, strict=True)]
    return _table("tagger jets low high pass of efficiency error rejection rejection_error", rows)


def _of(share: Share) -> tuple[object, ...]:
    return share.passed, share.total, share.value, share.error


def discriminants(taggers: Sequence[Measured]) -> Table:
    """Histograms of the discriminants."""
    rows = []
    for tagger in taggers:
        if tagger.tagging:
            edges = tagger.tagging.edges
            for flavour, counts in tagger.tagging.histograms.items():
                rows += [(tagger.name, flavour, *c) for c in zip(edges[:-1], edges[1:], counts, strict=True)]
    return _table("tagger jets low high count", rows)


def scores(tagger: Measured) -> Table:
    """Histograms of the probabilities."""
    rows = []
    for name, histograms in tagger.scores.items():
        for flavour, counts in histograms.items():
            cells = zip(SCORE_BINS[:-1], SCORE_BINS[1:], counts, strict=True)
            rows += [(name, flavour, *c) for c in cells]
    return _table("probability jets low high count", rows)


def calibration(taggers: Sequence[Measured]) -> Table:
    """Reliability curves."""
    rows = []
    for tagger in taggers:
        for name, one in tagger.reliability.items():
            columns = (CALIBRATION_BINS[:-1], CALIBRATION_BINS[1:], one.predicted, *_of(one.observed))
            rows += [(tagger.name, name, *cells) for cells in zip(*columns, strict=True)]
    return _table("tagger probability low high mean pass of share error", rows)


def calibration_errors(taggers: Sequence[Measured]) -> Table:
    """How far the probabilities are off in the mean."""
    rows = [(t.name, name, one.expected_error) for t in taggers for name, one in t.reliability.items()]
    return _table("tagger probability mean_deviation", rows)


def calibration_errors_shown(taggers: Sequence[Measured]) -> Table:
    """The same, a row for each tagger."""
    names = list(dict.fromkeys(name for t in taggers for name in t.reliability))
    errors = [[t.reliability[n].expected_error if n in t.reliability else float("nan") for n in names] for t in taggers]
    rows: list[tuple[Cell, ...]] = [(t.name, *cells) for t, cells in zip(taggers, errors, strict=True)]
    return Table(("tagger", *(flavour_name(name) for name in names)), tuple(rows))


def confusion(classes: Classes) -> Table:
    """Counts, a row for each true class and each most probable one."""
    rows = []
    for true, counts, shares in zip(classes.classes, classes.confusion, classes.shares, strict=True):
        rows += [(true, *cells) for cells in zip(classes.classes, counts, shares, strict=True)]
    return _table("true found count share", rows)


def vertices(named: Sequence[tuple[str, Vertices]]) -> Table:
    """Efficiency, purity and fake rate by class of jets, and the efficiency of primary vertices."""
    rows = []
    for name, found in named:
        primary = Share(found.primary[:, 1], found.primary[:, 0])
        for what, share in (
            ("efficiency", found.efficiency),
            ("purity", found.purity),
            ("fake_rate", found.fakes),
            ("primary_efficiency", primary),
        ):
            cells = zip(*_of(share), strict=True)
            rows += [(name, f, what, *c) for f, c in zip(found.flavours, cells, strict=True)]
    return _table("tagger jets what pass of value error", rows)


def vertex_efficiency(named: Sequence[tuple[str, Vertices]]) -> Table:
    """The efficiency of secondary vertices in bins of pt."""
    rows = []
    for name, found in named:
        for flavour in found.flavours:
            columns = (found.edges[:-1], found.edges[1:], *_of(found.efficiency_in_bins(flavour)))
            rows += [(name, flavour, *cells) for cells in zip(*columns, strict=True)]
    return _table("tagger jets pt_low pt_high pass of efficiency error", rows)


def masses(named: Sequence[tuple[str, Vertices]]) -> Table:
    """Histograms of masses."""
    rows = []
    for name, found in named:
        kinds = {"found": found.mass_right, "fake": found.mass_wrong, "true": found.mass_truth}
        for kind, counts in kinds.items():
            for flavour, row in zip(found.flavours, counts if counts is not None else (), strict=counts is not None):
                cells = zip(MASS_BINS[:-1], MASS_BINS[1:], row, strict=True)
                rows += [(name, flavour, kind, *c) for c in cells]
    return _table("tagger jets kind low high count", rows)


def residuals(named: Sequence[tuple[str, Residuals]]) -> Table:
    """Bias and resolution, of all jets and in bins of pt."""
    rows = []
    for name, found in named:
        edges = found.pt_edges
        lows, highs = [float("nan"), *edges[:-1]], [float("nan"), *edges[1:]]
        for k, spread in enumerate((found.overall, found.in_bins)):
            part = slice(0, 1) if k == 0 else slice(1, None)
            columns = (spread.count, spread.bias, spread.bias_error, spread.resolution, spread.resolution_error)
            cells = zip(lows[part], highs[part], *columns, strict=True)
            rows += [(name, *c) for c in cells]
    return _table("tagger pt_low pt_high jets bias bias_error resolution resolution_error", rows)


def history(runs: Sequence[History]) -> Table:
    """All that was logged, a row for each value."""
    rows = []
    for run in runs:
        for series in run.series.values():
            rows += [(run.name, series.name, int(s), v) for s, v in zip(series.step, series.value, strict=True)]
    return _table("run metric step value", rows)
