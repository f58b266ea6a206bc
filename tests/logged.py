"""What a training logs and would log again if it were repeated."""

import csv
from pathlib import Path

MEASURED = ("train/jets_per_second", "train/data_wait", "train/memory")
"""Metrics of the machine, other ones in each training."""


def repeatable(path: Path) -> list[dict[str, str]]:
    """The rows of a ``metrics.csv`` without what is measured of the machine."""
    with path.open() as file:
        return [{k: v for k, v in row.items() if k not in MEASURED} for row in csv.DictReader(file)]
