"""A whole simulation: three files of jets, their normalisation and class weights."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import monotonic

import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from salt.errors import ConfigError, SaltError
from salt.simulate import workers
from salt.simulate.files import Compression, JetFile, Summary, beside, cannot_write, summarise
from salt.simulate.generator import MISSING
from salt.simulate.options import SPLITS, Options

log = logging.getLogger(__name__)

NORM = "norm_dict.yaml"
CLASSES = "class_dict.yaml"


@dataclass(frozen=True)
class Output:
    """Where jets go, and how many.

    Args:
        folder: Folder of the files.
        counts: Number of jets in each of ``train``, ``val`` and ``test``; a file with 0 is not made.
        compression: ``lzf`` is fast, ``gzip`` small.
        overwrite: Replace files of an earlier simulation.
    """

    folder: Path
    counts: Mapping[str, int]
    compression: Compression = "lzf"
    overwrite: bool = False

    def __post_init__(self) -> None:
        for split, count in self.counts.items():
            if count < 0:
                raise ConfigError(f"num_{split} is {count}; it must be 0 or more")
        if not any(self.counts.values()):
            raise ConfigError("no jets asked for; give at least one of --num_train, --num_val, --num_test")

    @property
    def splits(self) -> list[str]:
        """The files that are made."""
        return [split for split in SPLITS if self.counts.get(split, 0)]

    @property
    def names(self) -> list[str]:
        """Names of all files that are made; the YAML files describe the training jets."""
        return [f"{split}.h5" for split in self.splits] + ([NORM, CLASSES] if "train" in self.splits else [])


def simulate(options: Options, output: Output, processes: int = 1) -> None:
    """Makes the files. They appear under their names all together at the end, or not at all.

    Args:
        options: The physics.
        output: Where to and how much.
        processes: Number of processes; the jets do not depend on it.

    Raises:
        SaltError: Pythia or FastJet is not installed, or a process died.
        ConfigError: Files are there already and are not to be replaced, or the options make no sense.
        DataError: A file cannot be written.
    """
    if processes < 1:
        raise ConfigError(f"processes is {processes}; it must be at least 1")
    if find_spec("pythia8mc") is None or find_spec("fastjet") is None:
        raise SaltError(MISSING)
    _prepare(output)
    began = monotonic()
    with (
        beside(output.folder, output.names) as hidden,
        _progress() as progress,
        workers.start(processes, options) as crew,
    ):
        for split in output.splits:
            summary = _fill(crew, split, options, output, hidden[f"{split}.h5"], progress)
            if split == "train":
                _write_yaml(hidden[NORM], output.folder / NORM, summary.norm_dict())
                _write_yaml(hidden[CLASSES], output.folder / CLASSES, summary.class_dict())
    total = sum(output.counts.values())
    log.info("%d jets in %s, %.0f jets/s", total, output.folder, total / (monotonic() - began))


def _prepare(output: Output) -> None:
    try:
        output.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(output.folder, error) from error
    there = [name for name in output.names if (output.folder / name).exists()]
    if there and not output.overwrite:
        raise ConfigError(
            f"{output.folder} already holds {', '.join(there)}\ngive another --out, or --overwrite true to replace them"
        )


def _fill(
    crew: workers.Workers, split: str, options: Options, output: Output, path: Path, progress: Progress
) -> Summary:
    """Writes one file, and says what is in it."""
    wanted = output.counts[split]
    task = progress.add_task(split, total=wanted)
    summary: Summary | None = None
    with _jet_file(path, output.folder / f"{split}.h5", split, options, output.compression) as file:
        for chunk in crew.chunks(split, wanted):
            part = {name: values[: wanted - file.rows] for name, values in chunk.items()}
            file.append(part)
            found = summarise(part, len(options.classes))
            summary = found if summary is None else summary + found
            progress.update(task, completed=file.rows)
            if file.rows == wanted:
                break
    assert summary is not None
    return summary


@contextmanager
def _jet_file(path: Path, final: Path, split: str, options: Options, compression: Compression) -> Iterator[JetFile]:
    """A file that is closed at the end; all trouble of writing it becomes one error."""
    try:
        file = JetFile(path, split, options, compression)
        try:
            yield file
        except BaseException:
            with suppress(OSError):
                file.close()
            raise
        file.close()
    except OSError as error:
        raise cannot_write(final, error) from error


def _write_yaml(path: Path, final: Path, content: object) -> None:
    try:
        path.write_text(yaml.safe_dump(content, sort_keys=False, default_flow_style=None), encoding="utf-8")
    except OSError as error:
        raise cannot_write(final, error) from error


@contextmanager
def _progress() -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield progress
