"""How a training went, from what its run folder holds."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from salt.rejection import Floats
from salt.runs.folder import METRICS, stored_config
from salt.runs.lineage import Lineage, read_lineage
from salt.runs.metrics import read_rows


@dataclass(frozen=True, eq=False)
class Series:
    """What was logged of one metric.

    Args:
        name: Such as ``train/loss``.
        step: [N] optimiser steps.
        value: [N].
    """

    name: str
    step: Floats
    value: Floats


@dataclass(frozen=True, eq=False)
class History:
    """A run.

    Args:
        folder: Its folder.
        series: All that was logged, by name.
        epoch_ends: [E] the last step of each epoch.
        lineage: Where it comes from.
        config: The text of its newest config.
    """

    folder: Path
    series: dict[str, Series]
    epoch_ends: Floats
    lineage: Lineage
    config: str

    @property
    def name(self) -> str:
        """Its id."""
        return self.folder.resolve().name

    def any_of(self, *names: str) -> list[Series]:
        """The series with these names, as far as they were logged."""
        return [self.series[name] for name in names if name in self.series]


def read_history(folder: Path) -> History:
    """Reads a run folder; without ``metrics.csv`` there are no series.

    Raises:
        DataError: Its lineage cannot be read.
    """
    path = folder / METRICS
    columns, rows = read_rows(path) if path.is_file() else ([], [])
    config = stored_config(folder)
    series = {}
    for name in columns:
        cells = [(int(row["step"]) + 1, float(row[name])) for row in rows if row[name]]
        if name not in ("epoch", "step") and cells:
            step, value = np.array(cells, dtype=np.float64).T
            series[name] = Series(name, step, value)
    ends = {row["epoch"]: int(row["step"]) + 1 for row in rows if row.get("epoch")}
    return History(
        folder,
        series,
        np.array(list(ends.values()), dtype=np.float64),
        read_lineage(folder),
        config.read_text() if config else "",
    )
