"""``main compare``, on files whose differences are known."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_case import make_predictions, make_test_file

from salt.commands.compare import run
from salt.errors import SaltError
from salt.report import compare as comparing
from salt.report.compare import Question, compare

NUM = 400


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(comparing, "BLOCK", 64)
    tables = make_test_file(tmp_path / "test.h5", NUM)
    for name in ("a", "b"):
        make_predictions(tmp_path / f"{name}.h5", tables)
    return tmp_path


def change(path: Path, column: str, rows: object, by: float, dataset: str = "jets") -> None:
    with h5py.File(path, "r+") as file:
        table = file[dataset][:]
        table[column][rows] += np.asarray(by, table[column].dtype)
        file[dataset][...] = table


def test_the_same_scores_agree(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["a.h5", "b.h5"]) == 0
    assert f"the files agree: 0 of {NUM} jets differ by more than 0" in capsys.readouterr().out


def test_differences_are_found_where_they_are(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(files / "b.h5", "mine_pb", [5, 300], 1e-3)
    change(files / "b.h5", "mine_pb", [300], 1e-2)
    change(files / "b.h5", "VertexIndex", (np.array([7]), np.array([2])), 3, "tracks")
    assert run(["a.h5", "b.h5", "--tolerance", "1e-4"]) == 1
    out = capsys.readouterr().out
    assert "rows of a.h5 that differ: 5, 7, 300\n" in out
    assert f"the files differ: 3 of {NUM} jets differ by more than 0.0001" in out
    found = {c.name: c for c in compare(Question(Path("a.h5"), Path("b.h5"), 1e-4)).columns}
    assert found["mine_pb"].differing == 2
    assert found["mine_pb"].row == 300
    assert found["mine_pb"].largest == pytest.approx(0.011, rel=1e-4)
    assert found["mine_pb"].mean == pytest.approx(0.012 / NUM, rel=1e-3)
    assert (found["VertexIndex"].row, found["VertexIndex"].largest) == (7, 3.0)
    assert run(["a.h5", "b.h5", "--tolerance", "1e-4", "--columns", "mine_pc"]) == 0
    assert run(["a.h5", "b.h5", "--tolerance", "5"]) == 0


def test_a_nan_in_one_file_differs(files: Path) -> None:
    change(files / "b.h5", "mine_pc", [9], np.nan)
    change(files / "b.h5", "mine_pu", [4], np.inf)
    found = compare(Question(Path("a.h5"), Path("b.h5"), 1.0))
    assert found.differing_rows == (4, 9)
    columns = {c.name: c for c in found.columns}
    assert columns["mine_pc"].histogram[-1] == 1
    assert (columns["mine_pu"].largest, columns["mine_pu"].row) == (np.inf, 4)
    for path in ("a.h5", "b.h5"):
        change(files / path, "mine_pc", [9], np.nan)
    assert 9 not in compare(Question(Path("a.h5"), Path("b.h5"))).differing_rows


def test_rows_are_matched_by_a_key(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    order = np.random.default_rng(0).permutation(NUM)[:-3]
    with h5py.File(files / "b.h5", "r+") as file:
        for name in ("jets", "tracks"):
            table = file[name][:][order]
            del file[name]
            file[name] = table
    change(files / "b.h5", "mine_pb", [17], 0.5)
    assert run(["a.h5", "b.h5", "--key", "eventNumber"]) == 1
    assert f"{NUM - 3} jets matched by eventNumber; 3 only in a.h5, 0 only in b.h5" in capsys.readouterr().out
    found = compare(Question(Path("a.h5"), Path("b.h5"), keys=("eventNumber",)))
    assert found.differing_rows == (order[17],)
    with pytest.raises(SaltError, match="more than once"):
        compare(Question(Path("a.h5"), Path("b.h5"), keys=("flavour_label",)))


def test_taggers_of_other_names(files: Path) -> None:
    make_predictions(files / "c.h5", make_test_file(files / "test.h5", NUM), "GN9")
    found = compare(Question(Path("a.h5"), Path("c.h5"), models=("mine", "GN9")))
    assert found.agrees
    assert ("mine_pb", "GN9_pb") in {(c.name, c.other) for c in found.columns}
    assert found.alone == ((), ())
    assert "jets/mine_pb" in compare(Question(Path("a.h5"), Path("c.h5"))).alone[0]


def test_large_integers_differ_by_one(files: Path) -> None:
    for path, by in (("a.h5", 0), ("b.h5", 1)):
        change(files / path, "eventNumber", [7], 2**60 + by)
    found = compare(Question(Path("a.h5"), Path("b.h5")))
    assert found.differing_rows == (7,)
    column = {c.name: c for c in found.columns}["eventNumber"]
    assert (column.row, column.largest) == (7, 1.0)
    by_key = compare(Question(Path("a.h5"), Path("b.h5"), keys=("eventNumber", "pt")))
    assert (by_key.matched, by_key.only) == (NUM - 1, (1, 1))


def test_other_tables_and_texts_are_no_obstacle(files: Path) -> None:
    for path, size in (("a.h5", 3), ("b.h5", 5)):
        with h5py.File(files / path, "r+") as file:
            file["hadrons"] = np.zeros(size, [("pt", "f4")])
            jets = file["jets"][:]
            table = np.zeros(NUM, [*jets.dtype.descr, ("name", "S4")])
            for name in jets.dtype.names:
                table[name] = jets[name]
            table["name"] = [f"{k:03}" for k in range(NUM)]
            del file["jets"]
            file["jets"] = table
    found = compare(Question(Path("a.h5"), Path("b.h5")))
    assert (found.agrees, found.alone, found.left_out) == (True, ((), ()), ("hadrons", "jets/name"))
    assert compare(Question(Path("a.h5"), Path("b.h5"), keys=("name",))).matched == NUM
    with pytest.raises(SaltError, match=r"column 'name' of a.h5 holds no numbers"):
        compare(Question(Path("a.h5"), Path("b.h5"), columns=("name",)))
    with h5py.File(files / "b.h5", "r+") as file:
        tracks = file["tracks"][:, 0]
        del file["tracks"]
        file["tracks"] = tracks
    with pytest.raises(SaltError, match=r"'tracks' has 8 places of a jet in a.h5, 1 in b.h5"):
        compare(Question(Path("a.h5"), Path("b.h5")))


@given(
    st.lists(st.tuples(st.floats(width=32), st.floats(width=32)), min_size=1, max_size=30),
    st.sampled_from([0.0, 1e-3, 1.0]),
)
@settings(deadline=None)
def test_any_numbers(pairs: list[tuple[float, float]], tolerance: float) -> None:
    one, other = np.array(pairs, dtype="f4").T
    total = comparing._Sum("jets", "x", "x", tolerance)
    different = np.concatenate(
        [
            total.add(np.arange(k, k + 7)[: len(one) - k], one[k : k + 7], other[k : k + 7])
            for k in range(0, len(one), 7)
        ]
    )
    expected = []
    for a, b in zip(one.astype(float), other.astype(float), strict=True):
        same = a == b or (np.isnan(a) and np.isnan(b))
        expected.append(not same and not abs(a - b) <= tolerance)
    assert different.tolist() == expected
    found = total.result()
    assert sum(found.histogram) == found.entries == len(pairs)
    assert found.differing == sum(expected)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.h5", "c.h5"], "unknown file 'c.h5'"),
        (["a.h5", "."], ". is a folder"),
        (["a.h5", "b.h5", "--key", "jetNumbr"], "unknown column 'jetNumbr'"),
        (["a.h5", "b.h5", "--columns", "mine_px"], "unknown column 'mine_px'"),
        (["a.h5", "b.h5", "--tolerance", "-1"], "--tolerance is -1"),
        (["a.h5", "b.h5", "--tolerance", "some"], "--tolerance"),
        (["a.h5"], "main compare --help"),
        (["a.h5", "short.h5"], "match them by columns"),
        (["a.h5", "text.h5"], "text.h5 cannot be read"),
        (["a.h5", "b.h5", "--models", "mine", "GN9", "--columns", "mine_pb"], "b.h5 has no column 'mine_pb'"),
    ],
)
def test_mistakes_of_compare_are_named(files: Path, words: list[str], message: str) -> None:
    make_predictions(files / "short.h5", make_test_file(files / "test.h5", 10))
    (files / "text.h5").write_text("nothing")
    with pytest.raises(SaltError) as caught:
        run(words)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 3
