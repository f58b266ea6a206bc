"""A run folder as a training leaves it, and what of it is in an archive."""

import csv
import json
import math
import zipfile
from pathlib import Path

from salt.runs.metrics import MetricsFile

Metrics = dict[tuple[str, int], float]


def make_run(folder: Path, rows: int) -> list[tuple[int, int, dict[str, float]]]:
    """Writes a run of some steps.

    Returns:
        Step, epoch and values of each row.
    """
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("name: made_up\ntrainer: {max_epochs: 4}\n")
    (folder / "norm_dict.yaml").write_text("jets: {pt: {mean: 1.0, std: 2.0}}\n")
    file = MetricsFile(folder / "metrics.csv")
    written = []
    for step in range(rows):
        values = {"train/loss": 1 / (step + 1)} | ({"val/loss": float("nan")} if step % 10 == 9 else {})
        file.add(step, {"epoch": step // 10, **values})
        written.append((step, step // 10, values))
    file.close()
    return written


def logged(folder: Path) -> Metrics:
    """Every value of metrics.csv by its name and step."""
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {(k, int(row["step"])): float(v) for row in rows for k, v in row.items() if v and k not in ("epoch", "step")}


def archived(path: Path) -> Metrics:
    """Every metric of an archive."""
    with zipfile.ZipFile(path) as archive:
        lines = [json.loads(line) for line in archive.read("messages.json").decode().splitlines()]
    metrics = [line["payload"] for line in lines if line["type"] == "metric_msg"]
    return {(m["metric"]["metricName"], m["metric"]["step"]): float(m["metric"]["metricValue"]) for m in metrics}


def holds(ours: Metrics, theirs: Metrics) -> bool:
    """Whether all of ours are among theirs."""
    return all(k in theirs and (v == theirs[k] or (math.isnan(v) and math.isnan(theirs[k]))) for k, v in ours.items())
