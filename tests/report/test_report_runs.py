"""What the report says of runs."""

from pathlib import Path

import numpy as np
import pytest
from report_case import make_predictions, make_test_file

from salt.report.build import Order, samples
from salt.report.draw.history import POINTS, losses
from salt.report.history import read_history
from salt.report.measure import Wishes
from salt.report.panels import training_section
from salt.report.runs import describe, differences
from salt.runs.lineage import Attempt, Lineage, Parent, write_lineage
from salt.runs.metrics import MetricsFile

STEPS = 1000


def make_run(folder: Path, layers: int = 2, parent: Parent | None = None) -> Path:
    """A run of two epochs."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"model:\n  encoder: {{num_layers: {layers}}}\n")
    attempt = Attempt(1, "2026-01-01T00:00:00+0000", "node1", 7, job="slurm:5", outcome="killed", from_step=0)
    kind = "fork" if parent else "new"
    write_lineage(folder, Lineage(folder.name, kind, parent, (attempt,)))
    metrics = MetricsFile(folder / "metrics.csv")
    for step in range(STEPS):
        metrics.add(step, {"epoch": step // 500, "train/loss": 1 / (1 + step), "train/learning_rate": 1e-3})
        if step % 500 == 499:
            metrics.add(step, {"val/loss": 0.5, "val/flavour/loss": 0.4, "val/flavour/accuracy": 0.9})
    metrics.close()
    return folder


def test_a_run_is_described(tmp_path: Path) -> None:
    one = read_history(make_run(tmp_path / "one"))
    other = read_history(make_run(tmp_path / "two", 3, Parent("one", "logs/one/ckpts/last.ckpt", "abc", 1000)))
    section = training_section([one, other])
    assert {p.key for p in section.panels} == {"losses", "metrics_flavour", "progress"}
    assert section.left_out == {"jets per second": "metrics.csv has no 'train/jets_per_second'"}
    assert [(d.key, d.old, d.run, d.new) for d in differences([one, other])] == [
        ("model.encoder.num_layers", "2", "two", "3")
    ]
    facts = describe(other).facts
    assert facts["begins as"] == "fork of one logs/one/ckpts/last.ckpt"
    assert facts["attempt 1"].startswith("killed, steps 0 to ?, 2026-01-01")
    assert "job slurm:5" in facts["attempt 1"]


def test_long_lines_are_averaged(tmp_path: Path) -> None:
    run = read_history(make_run(tmp_path / "one"))
    line = losses([run], ["loss"]).axes[0].lines[0]
    x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    assert len(x) <= POINTS
    values = 1 / (1 + np.arange(STEPS))
    assert (x[0], y[0]) == (2.0, pytest.approx(values[:3].mean()))
    assert (x[-1], y[-1]) == (STEPS, pytest.approx(values[-1]))


def test_the_newest_predictions_of_each_sample_are_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = make_run(tmp_path / "one")
    (run / "ckpts").mkdir()
    tables = make_test_file(tmp_path / "test.h5", 300)
    for seed, name in enumerate(("epoch001", "epoch000")):
        make_predictions(run / "ckpts" / f"{name}__test_test.h5", tables, "gnn", [tmp_path / "test.h5"], seed)
    order = Order((run,), (), tmp_path / "report", Wishes())
    (section,) = samples(order, [read_history(run)])
    assert "epoch000__test_test.h5 is newer than epoch001__test_test.h5" in caplog.text
    both = Order((run,), (run / "ckpts" / "epoch001__test_test.h5",), tmp_path / "report", Wishes())
    (section,) = samples(both, [])
    table = section.panels[0].table
    assert table is not None
    assert {row[0] for row in table.rows} == {"gnn (epoch000__test_test)", "gnn (epoch001__test_test)"}
