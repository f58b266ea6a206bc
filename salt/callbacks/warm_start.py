"""Weights of another training, taken over in whole or in part."""

import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from salt.errors import ConfigError, unknown
from salt.optim.averaging import weights_in
from salt.runs.options import WarmStart
from salt.saved import different_buffers, read_checkpoint

log = logging.getLogger(__name__)

PREFIX = "model."
"""In front of all names in a checkpoint; users need not write it."""

GROUPS = ("embed", "normalise", "tasks")
"""Parts of the model that have one member for each input or task."""


class LoadWeights(Callback):
    """Loads weights of a checkpoint when a training begins, and prints what was loaded, skipped and missing.

    Args:
        path: The checkpoint.
        options: What of it to load.

    Attributes:
        loaded: The names of the tensors that were loaded.
    """

    def __init__(self, path: Path, options: WarmStart) -> None:
        self.path = path
        self.options = options
        self.loaded: list[str] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Loads them. The statistics of the training files are in place by now, and give way to those loaded."""
        checkpoint = read_checkpoint(self.path)
        header, saved = checkpoint.get("salt"), checkpoint.get("state_dict")
        if not isinstance(header, dict) or not isinstance(saved, dict):
            raise ConfigError(f"run.warm_start.checkpoint: {self.path} was not written by Salt")
        ours = pl_module.state_dict()
        wanted = self._wanted(saved, ours)
        own: dict[str, Any] = {}
        pl_module.on_save_checkpoint(own)
        _check_meaning(self.path, header["model"], own["salt"]["model"], wanted)
        self._check_shapes(saved, ours, wanted)
        _name_what_differs(pl_module, saved, wanted)
        pl_module.load_state_dict({**ours, **{key: saved[key] for key in wanted}})
        self.loaded = wanted
        if trainer.is_global_zero:
            self._print(saved, ours, weights_in(checkpoint))

    def _wanted(self, saved: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> list[str]:
        names = {*saved, *ours}
        check_patterns("include", self.options.include, names)
        check_patterns("exclude", self.options.exclude, names)
        wanted = [
            key for key in saved if key in ours and matches(key, self.options.include) and not self._excluded(key)
        ]
        if not wanted:
            raise ConfigError(
                f"run.warm_start: nothing of {self.path} is loaded; include and exclude leave out all that the model "
                "has too"
            )
        return wanted

    def _excluded(self, key: str) -> bool:
        return matches(key, self.options.exclude)

    def _check_shapes(self, saved: Mapping[str, Tensor], ours: Mapping[str, Tensor], wanted: Sequence[str]) -> None:
        wrong = [key for key in wanted if saved[key].shape != ours[key].shape]
        if wrong:
            key = wrong[0]
            parts = ", ".join(dict.fromkeys(part_of(each) for each in wrong))
            more = f" ({len(wrong) - 1} more do not fit)" if len(wrong) > 1 else ""
            raise ConfigError(
                f"run.warm_start: {key.removeprefix(PREFIX)} is {tuple(saved[key].shape)} in {self.path} and "
                f"{tuple(ours[key].shape)} in the model of the config{more}\n"
                f"leave it out by --run.warm_start.exclude '[{parts}]', or describe the model as it was"
            )

    def _print(self, saved: Mapping[str, Tensor], ours: Mapping[str, Tensor], kind: str | None) -> None:
        loaded = set(self.loaded)
        table = Table("part of the model", box=None, pad_edge=False)
        for heading in ("loaded", "skipped", "missing"):
            table.add_column(heading, justify="right")
        parts = dict.fromkeys(part_of(key) for key in [*ours, *saved])
        for part in parts:
            counts = (
                _count(part, loaded, saved),
                _count(part, (key for key in saved if key not in loaded), saved),
                _count(part, (key for key in ours if key not in saved), ours),
            )
            table.add_row(part, *(f"{count:,}" if count else "" for count in counts))
        log.info("weights of %s%s, in numbers of values:", self.path, f" ({kind})" if kind else "")
        Console(file=sys.stderr, width=110).print(table)


def check_patterns(option: str, patterns: Iterable[str], names: Iterable[str]) -> None:
    """ConfigError for a pattern that matches no name."""
    names = list(names)
    for pattern in patterns:
        if not any(matches(name, [pattern]) for name in names):
            known = dict.fromkeys([*(part_of(n) for n in names), *(n.removeprefix(PREFIX) for n in names)])
            raise ConfigError(unknown("part of the model", pattern, known, f"in run.warm_start.{option}"))


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name, or a part of the model that it is in, is among the patterns."""
    short = name.removeprefix(PREFIX)
    return any(
        fnmatchcase(short, p) or fnmatchcase(short, f"{p}.*") for p in (p.removeprefix(PREFIX) for p in patterns)
    )


def part_of(name: str) -> str:
    """The part of the model that a name belongs to, such as ``encoder`` or ``tasks.track_origin``."""
    words = name.removeprefix(PREFIX).split(".")
    return ".".join(words[:2] if words[0] in GROUPS else words[:1])


def _count(part: str, keys: Iterable[str], tensors: Mapping[str, Tensor]) -> int:
    return sum(tensors[key].numel() for key in keys if part_of(key) == part)


def _check_meaning(
    path: Path,
    theirs: Mapping[str, Mapping[str, Sequence[str]]],
    ours: Mapping[str, Mapping[str, Sequence[str]]],
    wanted: Sequence[str],
) -> None:
    """ConfigError where weights fit in shape but were made for other variables or classes."""
    loaded = {part_of(key) for key in wanted}
    for group, what, places in (("input", "variables", ("normalise", "embed")), ("task", "columns", ("tasks",))):
        for name, values in theirs[group].items():
            now = ours[group].get(name)
            used = sorted(part for part in loaded if part in {f"{place}.{name}" for place in places})
            if name == "jets" and group == "input":
                used += sorted(part for part in loaded if part.startswith("embed.") and part not in used)
            if now is not None and list(now) != list(values) and used:
                raise ConfigError(
                    f"run.warm_start: {path} was trained with {what} {list(values)} of {group} '{name}', the config "
                    f"has {list(now)}\nleave them out by --run.warm_start.exclude '[{', '.join(used)}]', or take the "
                    "same ones"
                )


def _name_what_differs(pl_module: LightningModule, saved: Mapping[str, Tensor], wanted: Sequence[str]) -> None:
    if differ := different_buffers(pl_module, saved, wanted):
        log.warning(
            "normalisation and class weights come with the weights; those of the config or data differ in %s\n"
            "to keep your own, name them in run.warm_start.exclude",
            ", ".join(differ),
        )
