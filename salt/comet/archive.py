"""Archives of experiments, which ``comet upload`` sends."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from salt.comet.content import FOLDER, Settings, assets, figures, parameters, values
from salt.comet.record import Record, read_record, write_record
from salt.comet.sdk import Experiment
from salt.files import complete_or_absent


@contextmanager
def archiving(settings: Settings) -> Iterator[Experiment]:
    """An experiment that becomes the archive of an attempt when the block ends well.

    Raises:
        OSError: It is not complete, or cannot be written.
    """
    target = archive_path(settings)
    target.parent.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="salt-comet.") as place:
        experiment = Experiment(settings, Path(place))
        tell_run(experiment, settings)
        yield experiment
        if not experiment.end():
            raise OSError("not all has been written to the archive")
        (written,) = Path(place).glob("*.zip")
        with complete_or_absent(target) as beside:
            shutil.copyfile(written, beside)


def archive_path(settings: Settings) -> Path:
    """Where the archive of an attempt belongs: ``comet/attempt-<number>.zip`` in the run folder."""
    return Path(settings.folder) / FOLDER / f"attempt-{settings.attempt}.zip"


def archive(settings: Settings) -> Path:
    """Writes what the run folder has, and what is not kept elsewhere, into an archive.

    Returns:
        The archive.
    """
    record = record_of(settings)
    with archiving(settings) as experiment:
        next_step = tell_steps(experiment, Path(settings.folder), record.next_step)
    write_record(Path(settings.folder), record.kept(next_step))
    return archive_path(settings)


def record_of(settings: Settings) -> Record:
    """What has been kept of the run so far."""
    return read_record(Path(settings.folder)) or Record(settings.experiment_key)


def tell_run(experiment: Experiment, settings: Settings) -> None:
    """Tells the config, and hands in the files of the run."""
    folder = Path(settings.folder)
    experiment.log_run(parameters(folder, settings.config), assets(folder), settings.attempt)


def tell_steps(experiment: Experiment, folder: Path, first: int, end: int | None = None) -> int:
    """Tells what a run folder has of the steps from one on, before another one; pictures are those of the last of them.

    Returns:
        The step up to which all is told.
    """
    next_step = first
    for row in values(folder, first, end):
        experiment.log_values(row)
        next_step = max(next_step, row.step + 1)
    last = {}
    for figure in figures(folder, first, end):
        experiment.log_numbers(figure)
        last[figure["name"]] = figure
    for figure in last.values():
        experiment.log_picture(figure)
    return next_step
