"""Metrics of a test or a validation, as a table."""

import sys
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

WIDE = 200
"""Columns where nobody looks: names are never cut."""


def print_scores(values: Mapping[str, float]) -> None:
    """Prints a metric a line, on standard output."""
    table = Table("metric", "value", box=None, pad_edge=False, header_style="bold")
    table.columns[0].overflow = "fold"
    table.columns[1].justify = "right"
    for name, value in sorted(values.items()):
        table.add_row(name, f"{value:.6g}")
    width = None if sys.stdout.isatty() else WIDE
    Console(file=sys.stdout, width=width, highlight=False, markup=False).print(table)
