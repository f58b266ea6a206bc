"""Results in slices against scikit-learn and sums by hand."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from files import with_field
from report_case import FLAVOURS, SHORT, make_predictions, make_test_file
from sklearn.metrics import accuracy_score, roc_auc_score

from salt.commands.backtest import run
from salt.errors import ConfigError, DataError, SaltError
from salt.report import backtest, files, slices
from salt.runs.lineage import Lineage, Parent, write_lineage

NEAR = 1e-9
RUNS = (276262, 276329, 276330)
NUM, UNSCORED = 4000, 9

Tables = dict[str, Any]


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Tables, Tables]:
    """A test file with runs and a pile-up that is not always known, and predictions of it."""
    monkeypatch.chdir(tmp_path)
    tables = make_test_file(tmp_path / "test.h5", NUM)
    rng = np.random.default_rng(5)
    jets = with_field(tables["jets"], "averageInteractionsPerCrossing", rng.normal(30, 8, NUM).round(1))
    jets["averageInteractionsPerCrossing"][::50] = np.nan
    wider = np.zeros(NUM, [*jets.dtype.descr, ("runNumber", "u4"), ("name", "S3")])
    for field in jets.dtype.names:
        wider[field] = jets[field]
    wider["runNumber"] = rng.choice(RUNS, NUM, p=[0.5, 0.3, 0.2])
    with h5py.File(tmp_path / "test.h5", "r+") as file:
        attributes = dict(file["jets"].attrs)
        del file["jets"]
        file["jets"] = wider
        file["jets"].attrs.update(attributes)
    tables["jets"] = wider
    return tables, make_predictions(tmp_path / "p.h5", tables, test_files=[tmp_path / "test.h5"], unscored=UNSCORED)


def result(folder: str) -> dict[str, Any]:
    """The tagger of the only sample."""
    tree = json.loads(Path(folder, "backtest.json").read_text())
    (sample,) = tree["samples"].values()
    (tagger,) = sample["taggers"].values()
    return {**tagger, "variable": sample["variable"], "unit": sample["unit"], "ends": sample["slices"]}


def expected(p: Any, truth: Any, cut: float | None) -> dict[str, tuple[float, float]]:
    """Values and errors by hand."""
    right = accuracy_score(truth, p.argmax(1))
    found = {"accuracy": (right, np.sqrt(right * (1 - right) / len(p)))}
    for k, name in enumerate(FLAVOURS):
        own, other = p[truth == k, k], p[truth != k, k]
        wins = (own[:, None] > other) + 0.5 * (own[:, None] == other)
        error = np.sqrt(wins.mean(1).var(ddof=1) / len(own) + wins.mean(0).var(ddof=1) / len(other))
        found[f"auc_{name}"] = (roc_auc_score(truth == k, p[:, k]), error)
    found["auc"] = (np.mean([found[f"auc_{name}"][0] for name in FLAVOURS]), np.nan)
    score = discriminant(p)
    cut = cut_of(score[truth == 0]) if cut is None else cut
    for k, name in enumerate(FLAVOURS):
        e, n = (score[truth == k] >= cut).mean(), (truth == k).sum()
        error = np.sqrt(e * (1 - e) / n)
        found[f"rejection_{name}_at_70" if k else f"efficiency_{name}_at_70"] = (
            (1 / e, error / e**2) if k else (e, error)
        )
    return found


def discriminant(p: Any) -> Any:
    return np.log(p[:, 0] / (0.2 * p[:, 1] + 0.8 * p[:, 2]))


def cut_of(signal: Any) -> float:
    return float(np.sort(signal)[len(signal) - int(np.ceil(0.7 * len(signal) - 1e-9))])


@pytest.mark.parametrize("pieces", [None, 700])
@pytest.mark.parametrize("mode", ["sample", "slice"])
def test_each_slice_is_what_its_jets_alone_give(
    case: Any, mode: str, pieces: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if pieces is not None:  # As in a file of millions of jets, of which most are kept on disk.
        monkeypatch.setattr(backtest, "PIECE", pieces)
        monkeypatch.setattr(slices, "PIECE", pieces)
        monkeypatch.setattr(files, "BLOCK", pieces // 3)
    tables, scores = case
    assert run(["--predictions", "p.h5", "--by", "run_number", "--cut", mode]) == 0
    found = result("backtest_run_number")
    assert (found["variable"], found["left_out"], found["outside"]) == ("runNumber", UNSCORED, 0)
    assert [each["low"] for each in found["ends"]] == list(RUNS)
    p = np.stack([scores["jets"][f"mine_{name}"] for name in SHORT], 1).astype(float)[UNSCORED:]
    truth, numbers = tables["jets"]["flavour_label"][UNSCORED:], tables["jets"]["runNumber"][UNSCORED:]
    whole = cut_of(discriminant(p)[truth == 0])
    rows = [
        (found["all"], np.ones(len(p), dtype=bool)),
        *zip(found["slices"], (numbers == r for r in RUNS), strict=True),
    ]
    for measured, chosen in rows:
        assert measured["jets"] == chosen.sum()
        assert measured["classes"] == {name: int((truth[chosen] == k).sum()) for k, name in enumerate(FLAVOURS)}
        hand = expected(p[chosen], truth[chosen], whole if mode == "sample" else None)
        assert set(measured["metrics"]) == set(hand)
        for name, (value, error) in hand.items():
            ours = measured["metrics"][name]
            assert ours["value"] == pytest.approx(value, rel=NEAR), name
            assert ours["error"] == (None if np.isnan(error) else pytest.approx(error, rel=NEAR)), name
    assert not list(Path().glob(".*"))


@pytest.mark.parametrize("pieces", [None, 300])
def test_quantiles_hold_as_many_jets_each(case: Any, pieces: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if pieces is not None:
        monkeypatch.setattr(slices, "PIECE", pieces)
        monkeypatch.setattr(files, "BLOCK", pieces // 3)
    tables, _ = case
    run(["--predictions", "p.h5", "--by", "pt", "--quantiles", "7"])
    run(["--predictions", "p.h5", "--by", "mu"])
    jets = tables["jets"][UNSCORED:]
    pt, mu = jets["pt"].astype(float) * 1e-3, jets["averageInteractionsPerCrossing"].astype(float)
    for folder, values, number, unit in (("pt", pt, 7, "GeV"), ("mu", mu[~np.isnan(mu)], 10, "")):
        found, ordered = result(f"backtest_{folder}"), np.sort(values)
        edges = [ordered[int(np.ceil(k * len(ordered) / number))] for k in range(number)] + [ordered[-1]]
        assert found["unit"] == unit
        assert [each["low"] for each in found["ends"]] == edges[:-1]
        assert [each["high"] for each in found["ends"]] == edges[1:]
        jets_of = [each["jets"] for each in found["slices"]]
        assert jets_of == np.histogram(values, edges)[0].tolist()
        assert found["outside"] == len(jets) - sum(jets_of) == (0 if folder == "pt" else np.isnan(mu).sum())


def test_edges_leave_out_what_lies_beyond(case: Any, capsys: pytest.CaptureFixture[str]) -> None:
    tables, _ = case
    run(["--predictions", "p.h5", "--by", "pt", "--edges", "30", "50", "3000", "4000", "--efficiency", "0.5", "0.85"])
    found = result("backtest_pt")
    pt = tables["jets"]["pt"][UNSCORED:].astype(float) * 1e-3
    assert [each["jets"] for each in found["slices"]] == [((pt >= 30) & (pt < 50)).sum(), (pt >= 50).sum(), 0]
    assert found["outside"] == (pt < 30).sum()
    assert found["slices"][2]["metrics"] == {"accuracy": {"value": None, "error": None}}
    out = capsys.readouterr().out
    assert "rejection_ujets_at_50" in out
    assert "at_85" not in out
    with Path("backtest_pt", "test.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["slice"] for row in rows] == ["all", "30 to 50", "50 to 3000", "3000 to 4000"]
    for row, each in zip(rows, [found["all"], *found["slices"]], strict=True):
        assert int(row["jets"]) == each["jets"]
        for name in found["all"]["metrics"]:
            value = each["metrics"].get(name, {"value": None, "error": None})
            assert [row[name], row[f"{name}_error"]] == ["" if x is None else repr(x) for x in value.values()][:2]
    assert Path("backtest_pt", "test.png").read_bytes().startswith(b"\x89PNG")
    assert Path("backtest_pt", "test.pdf").read_bytes().startswith(b"%PDF")


def test_a_rejection_without_passing_jets_has_a_limit(case: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File("p.h5", "r+") as file:
        jets = file["jets"][:]
        light = (jets["flavour_label"] == 2) & (jets["eventNumber"] % 2 == 0)
        jets["mine_pb"][light], jets["mine_pu"][light] = 0, 1
        jets["eventNumber"] %= 2
        del file.attrs["test_files"]
        file["jets"][...] = jets
    run(["--predictions", "p.h5", "--by", "eventNumber"])
    value = result("backtest_eventNumber")["slices"][0]["metrics"]["rejection_ujets_at_70"]
    total = int(light[UNSCORED:].sum())
    assert (value["value"], value["error"]) == (None, None)
    assert (1 - 1 / value["more_than"]) ** total == pytest.approx(0.05, rel=NEAR)
    assert f"> {value['more_than']:.3g}" in capsys.readouterr().out


def make_family(tables: Tables, logs: Path) -> None:
    """A run, a fork of it, a warm start from the fork, one without predictions, and one of another family."""
    parents = {"a": None, "b": "a", "c": "b", "d": "a", "other": None}
    for seed, (name, parent) in enumerate(parents.items()):
        (logs / name / "ckpts").mkdir(parents=True)
        write_lineage(logs / name, Lineage(name, "new", Parent(parent, "x.ckpt", "") if parent else None))
        if name != "d":
            path = logs / name / "ckpts" / "best__test_test.h5"
            make_predictions(path, tables, test_files=[Path("test.h5").absolute()], seed=seed, strength=2 + seed)


def test_the_runs_of_a_family_side_by_side(
    case: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    make_family(case[0], tmp_path / "logs")
    run(["b", "--by", "pt", "--quantiles", "3", "--across"])
    tree = json.loads(Path("backtest_pt", "backtest.json").read_text())["samples"]["test"]
    assert list(tree["taggers"]) == ["a", "b", "c"]
    assert caplog.messages == ["run d is left out, as it has no predictions; --test_file makes them"]
    out = capsys.readouterr().out
    assert "accuracy by pt [GeV]" in out
    for name in "abc":
        run([name, "--by", "pt", "--edges", *(repr(each["low"]) for each in tree["slices"]), "1e9", "--out", name])
        alone = result(name)
        assert alone["slices"] == tree["taggers"][name]["slices"]
    with Path("backtest_pt", "test.csv").open() as file:
        assert [row["tagger"] for row in csv.DictReader(file)] == [name for name in "abc" for _ in range(4)]


def rewritten(change: Callable[[h5py.File], None]) -> Callable[[], None]:
    def apply() -> None:
        with h5py.File("p.h5", "r+") as file:
            change(file)

    return apply


@pytest.mark.parametrize(
    ("spoil", "words", "error", "message"),
    [
        (None, ["--by", "ptt"], DataError, "unknown variable 'ptt' in 'jets' of p.h5 and its test files; nearest: pt"),
        (None, ["--by", "name"], DataError, "'name' of 'jets' in p.h5 is no number"),
        (None, ["--by", "eventNumber", "--distinct"], ConfigError, "more than 400 different values"),
        (None, ["--by", "pt", "--edges", "50", "20"], ConfigError, "--edges are those of slices"),
        (None, ["--by", "pt", "--edges", "1e6", "2e6"], DataError, "none of the judged jets lies in a slice of 'pt'"),
        (None, ["--by", "pt", "--quantiles", "0"], ConfigError, "--quantiles is 0"),
        (None, ["--by", "pt", "--quantiles", "3", "--distinct"], ConfigError, "not allowed with argument"),
        (None, ["--by", "pt", "--efficiency", "70"], ConfigError, "--efficiency is 70"),
        (None, ["--by", "pt", "--f_tau", "0.1"], ConfigError, "f_tau is 0.1"),
        (None, ["--by", "pt", "--label", "flavour"], DataError, "unknown label 'flavour'"),
        (None, ["--by", "pt", "--across"], ConfigError, "--across compares the family of one run"),
        (None, ["--by", "pt", "--test_file", "test.h5"], ConfigError, "--test_file is scored by runs"),
        (None, ["--by", "pt", "--out", "full"], ConfigError, "full exists; give --overwrite"),
        (None, ["--by", "pt", "--out", "full", "--overwrite"], ConfigError, "full is no backtest"),
        (None, [], ConfigError, "--by"),
        (
            rewritten(lambda file: file.attrs.__setitem__("test_files", ["gone.h5"])),
            ["--by", "runNumber"],
            DataError,
            "the test file is left aside: there is no gone.h5",
        ),
    ],
)
def test_what_is_wrong_is_named(
    case: Any, spoil: Callable[[], None] | None, words: list[str], error: type[SaltError], message: str
) -> None:
    Path("full").mkdir()
    before = {path.name for path in Path().iterdir()}
    if spoil is not None:
        spoil()
    with pytest.raises(error) as caught:
        run(["--predictions", "p.h5", *words])
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 3
    assert {path.name for path in Path().iterdir()} == before
