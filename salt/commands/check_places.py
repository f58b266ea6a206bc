"""Where a training writes: whether it may, and whether there is room."""

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from salt.cli.checked import Checked
from salt.data.build import packed_bytes
from salt.data.datamodule import JetDataModule
from salt.data.links import linked_files
from salt.data.places import size_of
from salt.data.space import check_space, in_words
from salt.data.staged import storage_folder
from salt.errors import ConfigError, SaltError
from salt.training import Tagger

CHECKPOINTS = 5
"""A run keeps three of the best, the last, and for a moment the one that replaces it."""

COPIES = 3
"""Of each parameter a checkpoint has the two moments of the optimiser, too."""


@dataclass(frozen=True)
class Finding:
    """One line of the result.

    Args:
        level: How bad it is.
        text: The words, of one to three lines.
        config: Whether an error is in config or flags.
    """

    level: Literal["ok", "warning", "error"]
    text: str
    config: bool = False


def log_folder(found: Checked) -> Iterator[Finding]:
    """Whether the run folder can be made, and the checkpoints have room there."""
    option = "trainer.default_root_dir"
    if found.trainer is None:
        return
    root = Path(str(found.trainer.get("default_root_dir") or "logs")).expanduser()
    place = _existing(root)
    if not place.is_dir():
        yield Finding("error", f"{option}: {place} is not a folder", config=True)
    elif not os.access(place, os.W_OK | os.X_OK):
        yield Finding("error", f"{option}: cannot make a run in {root}: {place} is not yours to write", config=True)
    else:
        free, needed = shutil.disk_usage(place).free, _checkpoint_bytes(found.model, found.trainer)
        words = f"; checkpoints take about {in_words(needed)}" if needed else ""
        yield Finding("error" if free < needed else "ok", f"{option}: {root} has {in_words(free)} free{words}")


def staging(found: Checked) -> Iterator[Finding]:
    """Whether there is room to stage the files."""
    if found.staging is None or found.data is None or found.data.statistics is None:
        return
    try:
        yield Finding("ok", _stage(storage_folder(found.staging), found.data))
    except ConfigError as error:
        yield Finding("error", str(error), config=True)
    except SaltError as error:
        if found.data.stage_optional:
            yield Finding("warning", f"{error}; the files will be read where they are")
        else:
            yield Finding("error", str(error))


def _stage(folder: Path, data: JetDataModule) -> str:
    """What is known of the space, in words; SaltError where staging would fail."""
    place = _existing(folder)
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        problem = "is not yours to write" if place.is_dir() else "is not a folder"
        raise SaltError(f"data.move_files_temp: {folder} cannot be used: {place} {problem}")
    needed, what = _needed(data)
    free = check_space(place, needed, what)
    return f"data.move_files_temp: {folder} has {in_words(free)} free; {what} take about {in_words(needed)}"


def _needed(data: JetDataModule) -> tuple[int, str]:
    """How many bytes will be staged, and what they are."""
    if data.stage == "packed":
        stages = ("fit",) if data.options["val"] is None else ("fit", "validate")
        sources = [data.files(stage) for stage in stages]
        return sum(packed_bytes(source) for source in sources), "the jets in use"
    paths = [path for part in ("train", "val") for path in data.paths.get(part, ())]
    for path in paths:
        if linked := linked_files(path):
            raise SaltError(f"data.stage: the data of {path} lie in {linked[0]}; give --data.stage packed")
    return sum(size_of(path) for path in paths), "the training and validation files"


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())


def _checkpoint_bytes(model: Tagger | None, trainer: Mapping[str, Any]) -> int:
    if model is None:
        return 0
    return CHECKPOINTS * COPIES * sum(p.numel() * p.element_size() for p in model.parameters())
