"""What Comet gets of a run folder."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from salt.files import write_text
from salt.runs.configs import differences, read_config
from salt.runs.folder import METRICS
from salt.runs.metrics import read_rows

FOLDER = "comet"
"""Where archives lie in a run folder."""

FIGURES = Path(FOLDER) / "figures.jsonl"
"""The figures of the run, one in a line."""

ASSETS = ("config*.yaml", "metadata*.yaml", "norm_dict.yaml", "class_dict.yaml", "loss_weights*")
"""The files that are sent whole."""


@dataclass(frozen=True)
class Settings:
    """Which experiment it is, and how it looks.

    Args:
        folder: The run folder.
        experiment_key: The experiment.
        attempt: Number of the attempt.
        first_step: The step at which the attempt begins to train.
        config: Name of the config of the attempt, whose values are the parameters.
        online: Whether to send at once: None where there is a key and Comet answers.
        trouble: Why it is not sent at once, if nobody asked for that.
        workspace: Of Comet; None for the user's own.
        project: Of the workspace.
        name: Of the experiment.
        tags: Of the experiment.
        options: Further settings of `comet_ml.ExperimentConfig`.
    """

    folder: str
    experiment_key: str
    attempt: int = 1
    first_step: int = 0
    config: str = "config.yaml"
    online: bool | None = None
    trouble: str | None = None
    workspace: str | None = None
    project: str | None = None
    name: str | None = None
    tags: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """As one line of text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Settings":
        """From that text."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Values:
    """What was logged at a step.

    Args:
        step: Of the optimiser.
        epoch: From 0.
        metrics: By their names.
    """

    step: int
    epoch: int | None
    metrics: Mapping[str, float]


def parameters(folder: Path, config: str) -> dict[str, str]:
    """The values of a config by their full keys, such as ``trainer.max_epochs``."""
    path = folder / config
    return {each.key: each.new for each in differences({}, read_config(path))} if path.is_file() else {}


def assets(folder: Path) -> list[Path]:
    """Configs, metadata, normalisation and class weights of all attempts."""
    return sorted({path for pattern in ASSETS for path in folder.glob(pattern)})


def values(folder: Path, first: int, end: int | None = None) -> Iterator[Values]:
    """The rows of ``metrics.csv`` from a step on, before another one."""
    path = folder / METRICS
    for row in read_rows(path)[1] if path.is_file() else []:
        step = int(row["step"])
        if step < first or (end is not None and step >= end):
            continue
        metrics = {k: float(v) for k, v in row.items() if v and k not in ("epoch", "step")}
        yield Values(step, int(row["epoch"]) if row.get("epoch") else None, metrics)


def figures(folder: Path, first: int, end: int | None = None) -> Iterator[dict[str, Any]]:
    """The figures from a step on, before another one: mappings with ``name``, ``step``, ``epoch`` and what it shows."""
    path = folder / FIGURES
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            figure: dict[str, Any] = json.loads(line)
        except ValueError:  # The last line of a process that was killed.
            continue
        if figure["step"] >= first and (end is None or figure["step"] < end):
            yield figure


def drop_figures(folder: Path, step: int) -> None:
    """Drops the figures of a step and of later ones, which will be trained once more."""
    if (folder / FIGURES).is_file():
        write_text(folder / FIGURES, "".join(f"{json.dumps(each)}\n" for each in figures(folder, 0, step)))
