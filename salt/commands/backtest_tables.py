"""The tables that ``main backtest`` prints."""

import sys
from collections.abc import Sequence
from math import floor, isnan, log10

from rich.console import Console
from rich.table import Table

from salt.report.backtest import Value
from salt.report.backtest_files import Sample

WIDE = 10_000
"""Columns where nobody looks: what is read by programs is not cut."""


def show(samples: Sequence[Sample]) -> None:
    """Prints a table of all metrics for one tagger, one of each metric for several."""
    console = Console(
        file=sys.stdout, width=None if sys.stdout.isatty() else WIDE, highlight=False, markup=False, soft_wrap=False
    )
    for number, sample in enumerate(samples):
        if number:
            console.print()
        for each in sample.found:
            outside = f"; {each.outside:,} in no slice" if each.outside else ""
            left = f"; {each.left_out:,} not scored or of no class of the tagger" if each.left_out else ""
            console.print(f"{each.name}: {each.whole.jets:,} jets of {sample.name}{outside}{left}")
            for note in each.notes:
                console.print(f"  {note}")
        unit = f" [{sample.slices.unit}]" if sample.slices.unit else ""
        heading = f"{sample.slices.variable}{unit}"
        several = len(sample.found) > 1
        for table in [_several(heading, sample, name) for name in sample.shown] if several else [_one(heading, sample)]:
            console.print()
            console.print(table)


def _one(heading: str, sample: Sample) -> Table:
    (found,) = sample.found
    table = _table(heading, "jets", *sample.shown)
    for label, one in (("all", found.whole), *zip(sample.slices.labels, found.slices, strict=True)):
        table.add_row(label, f"{one.jets:,}", *(text(one.values.get(name)) for name in sample.shown))
    return table


def _several(heading: str, sample: Sample, metric: str) -> Table:
    table = _table(f"{metric} by {heading}", *(each.name for each in sample.found))
    table.add_row("all", *(text(each.whole.values.get(metric)) for each in sample.found))
    for k, label in enumerate(sample.slices.labels):
        table.add_row(label, *(text(each.slices[k].values.get(metric)) for each in sample.found))
    return table


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", overflow="fold")
    return table


def text(value: Value | None) -> str:
    """A number with its error, both to two digits of the error; empty where nothing is known."""
    if value is None or (isnan(value.value) and isnan(value.more_than)):
        return ""
    if isnan(value.value):
        return f"> {value.more_than:.3g}"
    if not value.error > 0:
        return f"{value.value:.4g}"
    digits = max(0, 1 - floor(log10(value.error)))
    return f"{value.value:.{digits}f} ± {value.error:.{digits}f}"
