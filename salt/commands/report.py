"""``main report``: what taggers are worth, as a page with pictures and numbers."""

import sys
from argparse import Namespace, RawDescriptionHelpFormatter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from salt.commands.words import Words
from salt.errors import ConfigError

if TYPE_CHECKING:
    from salt.report.measure import Wishes

DESCRIPTION = """\
Writes a page with everything that prediction files and runs say of taggers, its pictures as PNG and PDF, and all
numbers as CSV and JSON. The page holds all of its pictures and works offline.

  main report logs/gnn_20260101-120000
  main report logs/a logs/b --predictions other.h5 --out comparison
"""


def run(argv: list[str]) -> int:
    """Runs ``main report`` with the words that follow it.

    Args:
        argv: For example ``["logs/gnn_20260101-120000", "--out", "page"]``.

    Returns:
        The exit code, 0.

    Raises:
        SaltError: A mistake of the user's.
        SystemExit: Help was asked for.
    """
    words = _parser().parse_args(argv)
    if not words.runs and not words.predictions:
        raise ConfigError("name a run, or prediction files by --predictions")
    from salt.report.build import Order, build
    from salt.runs.folder import find_run

    runs = tuple(dict.fromkeys(find_run(words.logs, name) for name in words.runs))
    order = Order(
        runs,
        tuple(dict.fromkeys(words.predictions)),
        words.out.absolute(),
        _wishes(words),
        tuple(words.taggers),
        words.reference,
        words.title,
        words.overwrite,
    )
    sys.stdout.write(f"report: {build(order)}\n")
    return 0


def _parser() -> Words:
    parser = Words("main report", description=DESCRIPTION, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help="runs by id or folder: their newest prediction file of each sample, learning curves, config and ancestry",
    )
    parser.add_argument(
        "--predictions",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="further prediction files, of any tagger with columns NAME_pb, NAME_pc, NAME_pu ...",
    )
    parser.add_argument("--out", type=Path, default=Path("report"), help="folder to write (default: report)")
    parser.add_argument("--overwrite", action="store_true", help="replace a report that is there")
    parser.add_argument("--title", default="Salt report", help="title of the page")
    parser.add_argument("--logs", type=Path, default=Path("logs"), help="folder of runs (default: logs)")
    parser.add_argument(
        "--taggers", nargs="+", default=[], metavar="NAME", help="prefixes of the taggers to show (default: all)"
    )
    parser.add_argument(
        "--reference",
        metavar="NAME",
        help="tagger that the others are divided by, as the report names it (default: the first)",
    )
    parser.add_argument(
        "--f_c",
        nargs="+",
        default=["0.2"],
        metavar="[NAME=]VALUE",
        help="share of c-jets that the discriminant assumes, for all taggers or one (default: 0.2)",
    )
    parser.add_argument(
        "--f_tau",
        nargs="+",
        default=["0"],
        metavar="[NAME=]VALUE",
        help="share of tau-jets that it assumes (default: 0)",
    )
    parser.add_argument(
        "--efficiency",
        type=float,
        default=0.7,
        help="b-efficiency of the cut whose dependence on pT and eta is shown (default: 0.7)",
    )
    parser.add_argument(
        "--label", help="variable of jets that says their true class (default: one that names the tagger's classes)"
    )
    parser.add_argument(
        "--pt_bins", nargs="+", type=float, metavar="GEV", help="edges of bins of pT in GeV (default: as the jets lie)"
    )
    parser.add_argument(
        "--vertex_share",
        type=float,
        default=0.5,
        help="a vertex is found if more than this share of its constituents make more than this share of a group "
        "(default: 0.5)",
    )
    return parser


def _wishes(words: Namespace) -> "Wishes":
    from salt.rejection import Fractions
    from salt.report.measure import Wishes

    if not 0 < words.efficiency <= 1:
        raise ConfigError(f"--efficiency is {words.efficiency:g}; it must be above 0 and at most 1")
    if not 0.5 <= words.vertex_share < 1:
        raise ConfigError(f"--vertex_share is {words.vertex_share:g}; it must be at least 0.5 and below 1")
    edges = words.pt_bins
    if edges is not None and (len(edges) < 2 or any(b <= a for a, b in pairwise(edges))):
        raise ConfigError("--pt_bins are the edges of bins: at least two numbers, each larger than the one before")
    f_c, f_tau = _shares("--f_c", words.f_c, 0.2), _shares("--f_tau", words.f_tau, 0.0)
    named = {n: Fractions(f_c.get(n, f_c[""]), f_tau.get(n, f_tau[""])) for n in {*f_c, *f_tau} - {""}}
    return Wishes(
        words.efficiency,
        named,
        Fractions(f_c[""], f_tau[""]),
        words.label,
        tuple(edges) if edges is not None else None,
        words.vertex_share,
    )


def _shares(option: str, words: list[str], usual: float) -> dict[str, float]:
    """The share of each tagger that is named, and under an empty name that of all others."""
    found = {"": usual}
    for word in words:
        name, _, value = word.rpartition("=")
        try:
            found[name] = float(value)
        except ValueError:
            raise ConfigError(f"{option}: {word} is no number, and no NAME=number") from None
    return found
