"""Comet as a logger: what is logged goes to a process of its own, which no network can keep from listening."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from salt.callbacks.figure_record import to_record
from salt.comet.content import FIGURES, Settings, drop_figures
from salt.comet.process import SenderProcess
from salt.comet.record import Record, new_key, read_record, write_record
from salt.comet.sdk import has_key
from salt.errors import ConfigError, unknown
from salt.metrics.figures import Figure

OPTIONS = (
    "log_code",
    "log_graph",
    "parse_args",
    "log_git_metadata",
    "log_git_patch",
    "log_env_details",
    "log_env_gpu",
    "log_env_host",
    "log_env_cpu",
    "log_env_network",
    "log_env_disk",
    "auto_log_co2",
    "distributed_node_identifier",
)
"""Of `comet_ml.ExperimentConfig`, those that make sense for a process that sends what another one tells it."""


class Comet(Logger):
    """Sends metrics, figures, the config and the normalisation to Comet, or keeps them as an archive.

    Whatever the network does, the training does not wait for it. The API key comes from the environment
    (`COMET_API_KEY` or `PL_TRAINER__LOGGER__API_KEY`) or from the file that `comet login` writes. All attempts at a run
    are one experiment.

    Args:
        workspace: The workspace; null for that of `COMET_WORKSPACE`, or your own.
        project: The project in it; null for that of `COMET_PROJECT_NAME`.
        name: Name of the experiment; null for that of the run.
        tags: Tags of the experiment.
        online: Whether to send at once. Null: if there is a key and Comet answers. True: a missing key is an error.
            False: the experiment is kept as an archive in the run folder.
        experiment_key: Key of the experiment of a new run, 32 to 50 letters and digits; null for that of
            `COMET_EXPERIMENT_KEY`, or a new one.
        options: Further settings of `comet_ml.ExperimentConfig`, such as `log_env_details: false`.
    """

    def __init__(
        self,
        workspace: str | None = None,
        project: str | None = None,
        name: str | None = None,
        tags: list[str] | None = None,
        online: bool | None = None,
        experiment_key: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        wrong = next((key for key in options or {} if key not in OPTIONS), None)
        if wrong is not None:
            raise ConfigError(unknown("option", wrong, OPTIONS, "in trainer.logger.options"))
        if online and not has_key():
            raise ConfigError(
                "trainer.logger.online is true, and there is no Comet key: set COMET_API_KEY in the environment\n"
                "without `online` the experiment is kept as an archive where there is no key"
            )
        key = experiment_key or os.environ.get("COMET_EXPERIMENT_KEY")
        if key is not None and not (key.isalnum() and key.isascii() and 32 <= len(key) <= 50):
            raise ConfigError(f"trainer.logger.experiment_key is '{key}'; it must be 32 to 50 letters and digits")
        self._key = key
        self._settings = Settings(
            "",
            "",
            online=online,
            workspace=workspace,
            project=project,
            name=name,
            tags=tuple(tags or ()),
            options=options or {},
        )
        self._process: SenderProcess | None = None

    @property
    def name(self) -> str | None:
        """The project."""
        return self._settings.project

    @property
    def version(self) -> str | None:
        """The key of the experiment, once the training has begun."""
        return self._settings.experiment_key or None

    @rank_zero_only
    def begin(self, folder: Path, attempt: int, config: str, first_step: int, parent: Path | None) -> None:
        """Begins to send, or to keep for an archive, without waiting for anybody.

        Args:
            folder: The run folder; config, metadata and normalisation are in it.
            attempt: Number of the attempt.
            config: Name of the config of the attempt.
            first_step: The step at which it begins to train.
            parent: Folder of the run that a new one began from, whose experiment is not for this one.
        """
        ours = self._settings
        record = read_record(folder)
        if record is None:
            theirs = read_record(parent) if parent is not None else None
            taken = theirs is not None and theirs.experiment_key == self._key
            record = Record(new_key() if self._key is None or taken else self._key)
        # What was kept of later steps is trained once more.
        record = record.kept(min(record.next_step, first_step))
        write_record(folder, replace(record, workspace=ours.workspace, project=ours.project, tags=ours.tags))
        drop_figures(folder, first_step)
        self._figures = folder / FIGURES
        self._figures.parent.mkdir(exist_ok=True)
        self._settings = replace(
            ours,
            folder=str(folder.absolute()),
            experiment_key=record.experiment_key,
            attempt=attempt,
            first_step=first_step,
            config=config,
            name=ours.name or folder.name,
        )
        self._process = SenderProcess(self._settings)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Has the values of a step sent."""
        if self._process is None:
            return
        values = {key: float(value) for key, value in metrics.items() if key != "epoch"}
        epoch = metrics.get("epoch")
        place = {"step": step or 0, "epoch": None if epoch is None else int(epoch)}
        self._process.tell("values", {**place, "metrics": values})

    @rank_zero_only
    def log_figures(self, figures: Mapping[str, Figure], step: int, epoch: int) -> None:
        """Has figures sent, and keeps them for an archive."""
        if self._process is None:
            return
        with self._figures.open("a") as file:
            for name, figure in figures.items():
                record = to_record(name, figure, step, epoch)
                file.write(json.dumps(record) + "\n")
                self._process.tell("figure", record)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the sender finds the config in the run folder."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Waits until everything has been sent or lies in an archive, for no more than seconds if Comet is silent."""
        if self._process is not None:
            process, self._process = self._process, None
            process.end()
