"""The logger behind ``metrics.csv``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from salt.runs.folder import METRICS
from salt.runs.metrics import MetricsFile


class MetricsLog(Logger):
    """Writes what is logged to ``metrics.csv``, one row a step, and goes on in it after a restart.

    Args:
        folder: The run folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._file = MetricsFile(folder / METRICS)

    @property
    def name(self) -> str:
        """None; the folder says it."""
        return ""

    @property
    def version(self) -> str:
        """None; the folder says it."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run folder."""
        return str(self._folder)

    @rank_zero_only
    def go_on(self, step: int) -> None:
        """Drops the rows of steps that will be trained once more."""
        self._file.go_on(step)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Writes values to the row of a step."""
        values = {key: float(value) if key != "epoch" else int(value) for key, value in metrics.items()}
        self._file.add(step or 0, values)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Writes nothing: the config is in the folder."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Closes the file."""
        self._file.close()
