"""``main compare``: in what two prediction files differ, jet by jet."""

import sys
from argparse import RawDescriptionHelpFormatter
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from salt.commands.words import Words
from salt.errors import ConfigError

if TYPE_CHECKING:
    from salt.report.compare import Comparison, Question

DESCRIPTION = """\
Compares two prediction files jet by jet. The exit code is 0 if they have the same jets and no value that both have
differs by more than the tolerance, else 1.

  main compare before.h5 after.h5 --tolerance 1e-6
  main compare gnn.h5 other.h5 --key eventNumber jetNumber --models gnn GN2
"""

WIDE = 10_000
"""Columns where nobody looks: what is read by programs is not cut."""

MOST_NAMES = 12


def run(argv: list[str]) -> int:
    """Runs ``main compare`` with the words that follow it.

    Args:
        argv: For example ``["a.h5", "b.h5", "--tolerance", "1e-6"]``.

    Returns:
        0 if the files agree, else 1.

    Raises:
        SaltError: A mistake of the user's.
        SystemExit: Help was asked for.
    """
    words = _parser().parse_args(argv)
    if not words.tolerance >= 0:
        raise ConfigError(f"--tolerance is {words.tolerance:g}; it must be at least 0")
    if words.rows < 0:
        raise ConfigError(f"--rows is {words.rows}; it must be at least 0")
    from salt.report.compare import Question, compare

    question = Question(
        words.one,
        words.other,
        words.tolerance,
        tuple(words.key),
        tuple(words.columns),
        tuple(words.models) if words.models else None,
        words.rows,
    )
    found = compare(question)
    _print(question, found)
    return 0 if found.agrees else 1


def _parser() -> Words:
    parser = Words("main compare", description=DESCRIPTION, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("one", type=Path, metavar="A", help="a prediction file")
    parser.add_argument("other", type=Path, metavar="B", help="another one")
    parser.add_argument(
        "--tolerance", type=float, default=0.0, help="absolute differences up to this count as none (default: 0)"
    )
    parser.add_argument(
        "--key",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="columns of jets by which rows are matched, such as eventNumber jetNumber (default: row i with row i)",
    )
    parser.add_argument(
        "--columns", nargs="+", default=[], metavar="COLUMN", help="compare these columns only (default: all of both)"
    )
    parser.add_argument(
        "--models", nargs=2, metavar=("IN_A", "IN_B"), help="compare columns IN_A_pb with IN_B_pb, and so on"
    )
    parser.add_argument("--rows", type=int, default=10, help="print so many rows that differ (default: 10)")
    return parser


def _print(question: "Question", found: "Comparison") -> None:
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDE, highlight=False, markup=False)
    for path, alone in zip((question.one, question.other), found.alone, strict=True):
        if alone:
            more = f" and {len(alone) - MOST_NAMES} more" if len(alone) > MOST_NAMES else ""
            console.print(f"only in {path}: {', '.join(alone[:MOST_NAMES])}{more}")
    if found.left_out:
        console.print(f"not compared, since not numbers of each jet: {', '.join(found.left_out)}")
    if question.keys:
        console.print(
            f"{found.matched} jets matched by {', '.join(question.keys)}; "
            f"{found.only[0]} only in {question.one}, {found.only[1]} only in {question.other}"
        )
    console.print(_summary(found))
    if any(column.differing for column in found.columns):
        console.print()
        console.print(_distribution(found))
    if found.num_differing and question.shown:
        console.print()
        console.print(_rows(question, found))
    words = "agree" if found.agrees else "differ"
    console.print(
        f"\nthe files {words}: {found.num_differing} of {found.matched} jets differ by more than {question.tolerance:g}"
    )


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", overflow="fold")
    return table


def _summary(found: "Comparison") -> Table:
    table = _table("column", "values", "differ", "largest", "in row", "there", "mean")
    for each in found.columns:
        name = each.name if each.name == each.other else f"{each.name} | {each.other}"
        place = ("", "") if each.row < 0 else (str(each.row), f"{_plain(each.values[0])} | {_plain(each.values[1])}")
        numbers = (str(each.entries), str(each.differing), f"{each.largest:.3g}", *place, f"{each.mean:.3g}")
        table.add_row(f"{each.dataset}/{name}", *numbers)
    return table


def _plain(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() else f"{value:.9g}"


def _distribution(found: "Comparison") -> Table:
    """How many differences are how large."""
    from salt.report.compare import EDGES

    every = range(len(EDGES) + 1)
    used = [k for k in every if any(c.histogram[k] for c in found.columns if c.differing)]
    heads = [
        "equal",
        *(f"to {high:.0e}" if high < 1 else "to 1" if high == 1 else "above" for high in EDGES[1:]),
        "NaN in one",
    ]
    table = _table("difference", *(heads[k] for k in used))
    for each in found.columns:
        if each.differing:
            table.add_row(f"{each.dataset}/{each.name}", *(str(each.histogram[k]) for k in used))
    return table


def _rows(question: "Question", found: "Comparison") -> str:
    shown = ", ".join(str(row) for row in found.differing_rows)
    more = f" and {found.num_differing - len(found.differing_rows)} more"
    return (
        f"rows of {question.one} that differ: {shown}{more if found.num_differing > len(found.differing_rows) else ''}"
    )
