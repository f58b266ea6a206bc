"""`metrics.csv` is the same whether the training was interrupted or not."""

import csv
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salt.errors import DataError
from salt.runs.metrics import MetricsFile, last_values

Logged = list[tuple[int, dict[str, float]]]


@st.composite
def histories(draw: st.DrawFn) -> Logged:
    """What a training logs: steps ascend, some are logged at several times."""
    names = st.sampled_from(["epoch", "val/loss", "train/loss", "train/a, b", "learning_rate"])
    values = st.dictionaries(names, st.floats(allow_nan=False), min_size=1)
    steps = sorted(draw(st.lists(st.integers(0, 20), max_size=20)))
    return [(step, draw(values)) for step in steps]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


PARTS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.sampled_from(["", "3,1", "\x00"])), max_size=3)


@given(histories(), PARTS)
def test_going_on_gives_the_file_of_an_uninterrupted_run(logged: Logged, parts: list[tuple[int, int, str]]) -> None:
    with TemporaryDirectory() as folder:
        whole, path = Path(folder) / "whole.csv", Path(folder) / "parts.csv"
        log(whole, logged)
        begin = 0
        for stop, saved, torn in parts:
            log(path, [(step, values) for step, values in logged if begin <= step < stop], begin)
            if path.exists():
                with path.open("a") as file:  # It was killed while it wrote.
                    file.write(torn)
            begin = max(begin, min(saved, stop))
        log(path, [(step, values) for step, values in logged if begin <= step], begin)
        assert path.exists() == whole.exists() == bool(logged)
        if logged:
            assert rows(path) == rows(whole)
            assert [int(row["step"]) for row in rows(path)] == sorted({step for step, _ in logged})


def log(path: Path, logged: Logged, begin: int = 0) -> None:
    file = MetricsFile(path)
    file.go_on(begin)
    for step, values in logged:
        file.add(step, values)
    file.close()


def test_a_row_is_in_the_file_at_once_and_grows(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "m.csv")
    file.add(3, {"epoch": 0, "train/loss": 1.0})
    assert (tmp_path / "m.csv").read_text() == "epoch,step,train/loss\n0,3,1.0\n"
    file.add(3, {"train/loss": 2.5})
    file.add(4, {"val/loss": 0.5})
    file.close()
    assert (tmp_path / "m.csv").read_text() == "epoch,step,train/loss,val/loss\n0,3,2.5,\n,4,,0.5\n"
    assert last_values(tmp_path / "m.csv") == {"epoch": "0", "step": "4", "train/loss": "2.5", "val/loss": "0.5"}


def test_last_values_of_a_long_file(tmp_path: Path) -> None:
    text = "epoch,step,loss\n" + "".join(f"{i // 100},{i},{i / 7!r}\n" for i in range(30_000))
    (tmp_path / "m.csv").write_text(text + "300,30000")
    assert last_values(tmp_path / "m.csv") == {"epoch": "299", "step": "29999", "loss": repr(29_999 / 7)}
    assert last_values(tmp_path / "none.csv") == {}


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot write .*none/m.csv: No such file"):
        MetricsFile(tmp_path / "none" / "m.csv").add(0, {"loss": 1.0})
