"""``main backtest``: what taggers are worth in slices of a variable, and whether that changes."""

import re
import sys
from argparse import Namespace, RawDescriptionHelpFormatter
from pathlib import Path
from typing import TYPE_CHECKING

from salt.commands.words import Words
from salt.errors import ConfigError

if TYPE_CHECKING:
    from salt.commands.backtest_runs import Entry
    from salt.report.backtest import Question
    from salt.report.backtest_files import Sample

DESCRIPTION = """\
Measures taggers in slices of a variable of the jets: accuracy, areas under ROC curves, and efficiency and rejections at
a cut, all with statistical errors, as tables, a picture, CSV and JSON.

  main backtest logs/gnn_20260101-120000 --by pt
  main backtest gnn_20260101-120000 --by runNumber --test_file data.h5
  main backtest gnn_20260101-120000 --by pt --edges 20 50 100 250 --across
"""


def run(argv: list[str]) -> int:
    """Runs ``main backtest`` with the words that follow it.

    Args:
        argv: For example ``["gnn_20260101-120000", "--by", "pt"]``.

    Returns:
        The exit code, 0.

    Raises:
        SaltError: A mistake of the user's.
        SystemExit: Help was asked for.
    """
    words = _parser().parse_args(argv)
    if not words.runs and not words.predictions:
        raise ConfigError("name a run, or prediction files by --predictions")
    if words.across and len(words.runs) != 1:
        raise ConfigError("--across compares the family of one run; name one, or all that you want without --across")
    if words.test_file and not words.runs:
        raise ConfigError("--test_file is scored by runs; name one, or leave it out")
    question = _question(words)
    from salt.commands.backtest_runs import entries
    from salt.commands.backtest_tables import show
    from salt.report.backtest_files import JSON, write
    from salt.report.write import check_place, replaced

    out = (words.out or Path(re.sub(r"\W+", "_", f"backtest_{words.by}"))).absolute()
    check_place(out, words.overwrite, JSON, "backtest")
    samples = _samples(entries(words.runs, words.logs, words.across, words.test_file, words.predictions), question)
    with replaced(out) as folder:
        write(folder, question, samples)
    show(samples)
    sys.stdout.write(f"\nbacktest: {out}\n")
    return 0


def _parser() -> Words:
    parser = Words("main backtest", description=DESCRIPTION, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument(
        "runs", nargs="*", metavar="RUN", help="runs by id or folder: their newest prediction file of each sample"
    )
    parser.add_argument(
        "--by",
        required=True,
        metavar="VARIABLE",
        help="variable of jets, in the prediction file or its test file; run_number and mu are understood, too",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--edges", nargs="+", type=float, metavar="NUMBER", help="edges of the slices; momenta in GeV")
    how.add_argument(
        "--quantiles",
        type=int,
        metavar="NUMBER",
        help="so many slices of about as many jets (default: 10, or a slice for each value of an integer of up to 50)",
    )
    how.add_argument("--distinct", action="store_true", help="a slice for each value")
    parser.add_argument(
        "--across", action="store_true", help="compare all runs of the run's family: its ancestors, forks, warm starts"
    )
    parser.add_argument(
        "--test_file", metavar="FILE", help="score this file first, as main test does, and look at its jets alone"
    )
    parser.add_argument(
        "--predictions", nargs="+", type=Path, default=[], metavar="FILE", help="further prediction files"
    )
    parser.add_argument(
        "--efficiency",
        nargs="+",
        type=float,
        default=[0.7],
        metavar="SHARE",
        help="b-efficiencies of the cuts (default: 0.7); the first one is printed and drawn",
    )
    parser.add_argument(
        "--cut",
        choices=("sample", "slice"),
        default="sample",
        help="a cut keeps that share of the b-jets of the whole sample, or of each slice (default: sample)",
    )
    parser.add_argument("--f_c", type=float, default=0.2, help="share of c-jets in the discriminant (default: 0.2)")
    parser.add_argument("--f_tau", type=float, default=0.0, help="share of tau-jets in it (default: 0)")
    parser.add_argument(
        "--label", help="variable of jets that says their true class (default: one that names the tagger's classes)"
    )
    parser.add_argument("--out", type=Path, help="folder to write (default: backtest_VARIABLE)")
    parser.add_argument("--overwrite", action="store_true", help="replace a backtest that is there")
    parser.add_argument("--logs", type=Path, default=Path("logs"), help="folder of runs (default: logs)")
    return parser


def _question(words: Namespace) -> "Question":
    from salt.rejection import Fractions
    from salt.report.backtest import Question
    from salt.report.slices import Wanted

    for efficiency in words.efficiency:
        if not 0 < efficiency <= 1:
            raise ConfigError(f"--efficiency is {efficiency:g}; it must be above 0 and at most 1")
    return Question(
        words.by,
        Wanted(tuple(words.edges) if words.edges is not None else None, words.quantiles, words.distinct),
        tuple(dict.fromkeys(words.efficiency)),
        Fractions(words.f_c, words.f_tau),
        words.label,
        words.cut == "slice",
    )


def _samples(found: "list[Entry]", question: "Question") -> "list[Sample]":
    """The results of each sample. The first tagger of a sample decides where the slices of all are."""
    from salt.report.backtest import Judged, measure
    from salt.report.backtest_files import Sample

    groups: dict[object, list[Entry]] = {}
    for each in found:
        groups.setdefault(each.file.sample, []).append(each)
    samples: dict[str, Sample] = {}
    for group in groups.values():
        judged = [(each.name, Judged(each.file, each.tagger, question)) for each in group]
        slices = judged[0][1].slices(question.wanted)
        stem = re.sub(r"\W+", "_", group[0].file.sample_name) or "sample"
        key = next(k for k in (stem, *(f"{stem}_{n}" for n in range(2, len(groups) + 2))) if k not in samples)
        samples[key] = Sample(key, slices, tuple(measure(each, name, slices, question) for name, each in judged))
    return list(samples.values())
