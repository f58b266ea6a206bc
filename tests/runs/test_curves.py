"""Curves of metrics, drawn as text, and the best epoch."""

from pathlib import Path

import pytest

from salt.commands.sparkline import sparklines
from salt.runs.curves import Best, Curve, best_epoch, read_curves

CSV = """\
epoch,step,train/loss,val/loss,val/t/auc,val/t/nan
0,9,1.0,,,nan
0,19,0.5,0.8,0.6,nan
1,39,0.25,0.6,0.9,nan
2,59,0.2,0.7,0.7,nan
"""


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.csv"
    path.write_text(CSV)
    return path


def test_curves_hold_what_was_logged(metrics: Path, tmp_path: Path) -> None:
    curves = read_curves(metrics)
    assert set(curves) == {"train/loss", "val/loss", "val/t/auc"}
    assert curves["train/loss"] == Curve((9, 19, 39, 59), (1.0, 0.5, 0.25, 0.2))
    assert curves["val/loss"] == Curve((19, 39, 59), (0.8, 0.6, 0.7))
    assert read_curves(tmp_path / "absent.csv") == {}


def test_the_best_epoch_is_that_of_the_monitored_metric(metrics: Path, tmp_path: Path) -> None:
    own = {"class_path": "salt.callbacks.Checkpoint", "init_args": {"monitor": "val/t/auc", "mode": "max"}}
    assert best_epoch(metrics, {"trainer": {"callbacks": [{"class_path": "Other"}, own]}}) == Best(
        "val/t/auc", 0.9, 2, 40
    )
    assert best_epoch(metrics, {}) == Best("val/loss", 0.6, 2, 40)
    assert best_epoch(tmp_path / "absent.csv", {}) is None


def test_curves_of_two_runs_share_steps_and_scale() -> None:
    rising = Curve(tuple(range(80)), tuple(float(i) for i in range(80)))
    short = Curve(tuple(range(0, 40, 10)), (79.0, 79.0, 0.0, 0.0))
    assert sparklines([rising, short], 8) == ["▁▂▃▄▅▆▇█", "██▁▁"]
    assert sparklines([Curve((0, 99), (3.0, 3.0))], 4) == ["▁▁▁▁"]
