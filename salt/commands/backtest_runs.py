"""Which prediction files ``main backtest`` looks at."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from salt.data.paths import resolve
from salt.errors import ConfigError, DataError
from salt.report.files import Predictions, newest
from salt.report.runs import predictions_of
from salt.runs.family import family
from salt.runs.folder import find_run

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Entry:
    """A tagger in a prediction file.

    Args:
        name: What it is called.
        file: The file.
        tagger: The prefix of its columns.
    """

    name: str
    file: Predictions
    tagger: str


def entries(
    runs: Sequence[str], logs: Path, across: bool, test_file: str | None, predictions: Sequence[Path]
) -> list[Entry]:
    """The taggers of runs and prediction files.

    Args:
        runs: Runs by id or folder.
        logs: The folder of runs.
        across: Whether the family of the first run is looked at.
        test_file: What is scored first, if anything is; the runs are then judged by this sample alone.
        predictions: Further files.

    Raises:
        ConfigError: A run has no predictions.
        DataError: A file is missing, broken, or has no tagger.
    """
    asked = list(dict.fromkeys(find_run(logs, name) for name in runs))
    folders = family(asked[0]) if across else asked
    wanted = None if test_file is None else tuple(each.resolve() for each in resolve(test_file, "test_file"))
    if test_file is not None:
        for folder in folders:
            _test(folder, test_file)
    files: list[tuple[str, Predictions]] = []
    for folder in folders:
        every = [Predictions(path) for path in predictions_of(folder)]
        found = newest([each for each in every if wanted is None or each.sample == wanted])
        if not found and across and folder.resolve() != asked[0].resolve():
            log.warning("run %s is left out, as it has no predictions; --test_file makes them", folder.name)
        elif not found:
            raise ConfigError(
                f"run {folder.name} has no predictions\ngive a file to score by --test_file, or make them by main test"
            )
        files += [(folder.resolve().name, each) for each in found]
    return _named([*files, *(("", Predictions(path)) for path in dict.fromkeys(predictions))])


def _test(folder: Path, test_file: str) -> None:
    """Scores a file as ``main test`` does, which does nothing where that is done."""
    from salt.cli.run import run

    code = run("test", ["--run.run_id", str(folder), "--data.test_file", test_file])
    if code:
        raise DataError(f"main test of run {folder.name} ended with code {code}")


def _named(files: Sequence[tuple[str, Predictions]]) -> list[Entry]:
    """Each tagger of each file with a name of its own: its run, or its prefix, or that with the file."""
    found = []
    for run_name, file in files:
        taggers = file.taggers()
        if not taggers:
            raise DataError(f"{file.path} has no probabilities of a tagger, such as a column NAME_pb")
        several = len(taggers) > 1
        found += [Entry(f"{run_name} {t}" if run_name and several else run_name or t, file, t) for t in taggers]
    names = [(each.name, each.file.sample) for each in found]
    return [
        Entry(f"{each.name} ({each.file.path.stem})", each.file, each.tagger) if names.count(name) > 1 else each
        for each, name in zip(found, names, strict=True)
    ]
