"""From runs and prediction files to a folder with the report."""

import logging
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from salt.data.remote import Place
from salt.errors import ConfigError, DataError, unknown
from salt.report.draw.style import styled
from salt.report.files import Predictions, newest
from salt.report.history import History, read_history
from salt.report.measure import Measured, Wishes, measure
from salt.report.panels import Section, sample_section, training_section
from salt.report.runs import predictions_of
from salt.report.write import NUMBERS, PAGE, check_place, replaced, write

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """What a report is made of.

    Args:
        runs: Folders of runs.
        predictions: Prediction files beside those of the runs.
        out: The folder to write.
        wishes: What the user chooses of the numbers.
        taggers: Prefixes of the taggers to show; all if empty.
        reference: The tagger that the others are compared with; the first one if not given.
        title: Of the page.
        overwrite: Whether a report that is there may be replaced.
    """

    runs: tuple[Path, ...]
    predictions: tuple[Path, ...]
    out: Path
    wishes: Wishes
    taggers: tuple[str, ...] = ()
    reference: str | None = None
    title: str = ""
    overwrite: bool = False


def build(order: Order) -> Path:
    """Writes the report, complete or not at all.

    Returns:
        The page.

    Raises:
        ConfigError: The folder is there already, or there is nothing to report.
        DataError: A file cannot be read, or the report cannot be written.
    """
    check_place(order.out, order.overwrite, NUMBERS, "report")
    histories = [read_history(folder) for folder in order.runs]
    with Progress(console=Console(file=sys.stderr), transient=True, disable=not sys.stderr.isatty()) as bar:
        job = bar.add_task("reading predictions", total=None)
        sections = [*samples(order, histories), *([training_section(histories)] if histories else [])]
        if not any(panel.draw for section in sections for panel in section.panels):
            reasons = [reason for section in sections for reason in section.left_out.values()]
            raise ConfigError("there is nothing to report: " + (reasons or ["no prediction files and no metrics"])[0])
        bar.update(job, description="drawing", total=sum(len(s.panels) for s in sections))
        with replaced(order.out) as folder, styled():
            write(folder, order.title or "Salt report", sections, histories, lambda: bar.advance(job))
    return order.out / PAGE


def samples(order: Order, histories: Sequence[History]) -> list[Section]:
    """The results of all taggers, a section for each sample."""
    files = _files(order)
    groups: dict[tuple[Place, ...], list[Predictions]] = {}
    for file in files:
        groups.setdefault(file.sample, []).append(file)
    shown = [(file, tagger) for file in files for tagger in file.taggers() if tagger in (order.taggers or [tagger])]
    for tagger in order.taggers:
        if tagger not in {t for _, t in shown}:
            known = [t for file in files for t in file.taggers()]
            raise ConfigError(unknown("tagger", tagger, dict.fromkeys(known), "in the prediction files"))
    names = _names(shown)
    if order.reference is not None and order.reference not in {*names.values()}:
        raise ConfigError(unknown("tagger", order.reference, names.values(), "in this report"))
    sections = []
    keys: set[str] = set()
    for group in groups.values():
        measured: list[Measured] = []
        edges = None
        for file, tagger in shown:
            if file in group:
                log.info("reading %s of %s", tagger, file.path)
                one = measure(file, tagger, names[(file.path, tagger)], order.wishes, edges)
                measured.append(one)
                edges = one.pt_edges
        if measured:
            key = _free(re.sub(r"\W+", "_", group[0].sample_name) or "sample", keys)
            sections.append(sample_section(key, f"Sample {group[0].sample_name}", measured, order.reference))
    if not files and histories:
        log.warning("no predictions: main test makes them, --predictions names others")
    return sections


def _files(order: Order) -> list[Predictions]:
    paths = [path for folder in order.runs for path in predictions_of(folder)]
    given = {p.resolve() for p in order.predictions}
    files = [Predictions(path) for path in paths if path.resolve() not in given]
    files = [*newest(files), *(Predictions(path) for path in order.predictions)]
    for file in files:
        if not file.taggers():
            raise DataError(f"{file.path} has no probabilities of a tagger, such as a column NAME_pb")
    return files


def _names(shown: Sequence[tuple[Predictions, str]]) -> dict[tuple[Path, str], str]:
    """What each tagger is called: by its prefix, and where two have the same, by run or file too."""
    names = {}
    for file, tagger in shown:
        others = [f for f, t in shown if t == tagger and f.sample == file.sample]
        distinct = len({_origin(f) for f in others}) == len(others)
        origin = _origin(file) if distinct else file.path.stem
        names[(file.path, tagger)] = f"{tagger} ({origin})" if len(others) > 1 else tagger
    return names


def _origin(file: Predictions) -> str:
    folder = file.path.resolve().parent
    return folder.parent.name if folder.name == "ckpts" else file.path.stem


def _free(key: str, taken: set[str]) -> str:
    number, found = 1, key
    while found in taken or found in ("training", "runs"):
        number += 1
        found = f"{key}_{number}"
    taken.add(found)
    return found
