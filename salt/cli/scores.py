"""Metrics of a test or a validation, as a table."""

import sys
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

WIDE = 200
"""Columns where nobody looks: names are never cut."""


def print_scores(values: Mapping[str, float], errors: Mapping[str, float], title: str = "") -> None:
    """Prints a metric a line, on standard output.

    Args:
        values: The metrics by their names.
        errors: Statistical errors of some of them.
        title: A line above them.
    """
    with_errors = bool(errors.keys() & values.keys())
    table = Table("metric", "value", box=None, pad_edge=False, header_style="bold")
    table.columns[0].overflow = "fold"
    table.columns[1].justify = "right"
    if with_errors:
        table.add_column("error", justify="right")
    for name, value in sorted(values.items()):
        error = [f"± {errors[name]:.2g}" if name in errors else ""] if with_errors else []
        table.add_row(name, f"{value:.6g}", *error)
    width = None if sys.stdout.isatty() else WIDE
    console = Console(file=sys.stdout, width=width, highlight=False, markup=False)
    if title:
        console.print(title, style="bold")
    console.print(table)
