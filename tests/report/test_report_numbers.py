"""The numbers of the report against independent computations from the same file."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from report_case import FLAVOURS, ORIGINS, SHORT, make_predictions, make_test_file
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, confusion_matrix, roc_curve

from salt.metrics import match_vertices
from salt.report import files
from salt.report.files import Predictions
from salt.report.jets import CALIBRATION_BINS, WORKING_POINTS
from salt.report.measure import Measured, Wishes, measure
from salt.report.vertices import PION_MASS, Momenta, groups, masses

NEAR = 1e-9
UNSCORED = 7


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any], Measured]:
    folder = tmp_path_factory.mktemp("case")
    tables = make_test_file(folder / "test.h5")
    scores = make_predictions(folder / "p.h5", tables, test_files=[folder / "test.h5"], unscored=UNSCORED)
    return tables, scores, measure(Predictions(folder / "p.h5"), "mine", "mine", Wishes())


def discriminant(scores: dict[str, Any]) -> np.ndarray:
    b, c, u = (scores["jets"][f"mine_{name}"][UNSCORED:].astype(float) for name in SHORT)
    return np.log(b / (0.2 * c + 0.8 * u))


def test_rejections_and_their_errors(case: Any) -> None:
    tables, scores, found = case
    truth = tables["jets"]["flavour_label"][UNSCORED:]
    score = discriminant(scores)
    assert found.unscored == UNSCORED
    assert found.counts == {n: int((truth == k).sum()) for k, n in enumerate(FLAVOURS)}
    for index, background in ((1, "cjets"), (2, "ujets")):
        chosen = (truth == 0) | (truth == index)
        mistag, efficiency, cuts = roc_curve(truth[chosen] == 0, score[chosen], drop_intermediate=False)
        total = (truth == index).sum()
        for k, wanted in enumerate(WORKING_POINTS):
            at = np.flatnonzero(efficiency >= wanted - 1e-12)[0]
            point = found.tagging.points[background]
            assert point.cut[k] == pytest.approx(cuts[at], rel=1e-6)
            assert point.value[k] == pytest.approx(1 / mistag[at], rel=NEAR)
            error = np.sqrt(mistag[at] * (1 - mistag[at]) / total) / mistag[at] ** 2
            assert point.error[k] == pytest.approx(error, rel=NEAR)


def test_profiles_are_those_of_the_jets_in_each_bin(case: Any) -> None:
    tables, scores, found = case
    jets, score = tables["jets"][UNSCORED:], discriminant(scores)
    cut = np.sort(score[jets["flavour_label"] == 0])[-int(np.ceil(0.7 * (jets["flavour_label"] == 0).sum()))]
    values = {"pt": jets["pt"].astype(float) / 1000, "eta": jets["eta"].astype(float)}
    assert [p.variable for p in found.tagging.profiles] == ["pt", "eta"]
    for profile in found.tagging.profiles:
        assert len(profile.edges) > 4
        for low, high, *cells in zip(
            profile.edges[:-1],
            profile.edges[1:],
            *(profile.shares[f].passed for f in FLAVOURS),
            *(profile.shares[f].total for f in FLAVOURS),
            strict=True,
        ):
            inside = (values[profile.variable] >= low) & (values[profile.variable] < high)
            for index in range(3):
                chosen = inside & (jets["flavour_label"] == index)
                assert cells[index] == (score[chosen] >= cut).sum()
                assert cells[3 + index] == chosen.sum()
        share = profile.shares["bjets"]
        e = share.passed / share.total
        np.testing.assert_allclose(share.value, e, rtol=NEAR)
        np.testing.assert_allclose(share.error, np.sqrt(e * (1 - e) / share.total), rtol=NEAR)
        for background in FLAVOURS[1:]:
            share = profile.shares[background]
            seen, none = share.passed > 0, (share.passed == 0) & (share.total > 0)
            e, total = share.passed[seen] / share.total[seen], share.total[seen]
            np.testing.assert_allclose(share.inverse[seen], 1 / e, rtol=NEAR)
            np.testing.assert_allclose(share.inverse_error[seen], np.sqrt(e * (1 - e) / total) / e**2, rtol=NEAR)
            assert np.isinf(share.inverse[none]).all()
            assert np.isnan(share.inverse_error[~seen]).all()
            np.testing.assert_allclose((1 - 1 / share.inverse_limit[none]) ** share.total[none], 0.05, rtol=NEAR)


def test_reliability_and_confusion_of_jets(case: Any) -> None:
    tables, scores, found = case
    truth = tables["jets"]["flavour_label"][UNSCORED:]
    p = np.stack([scores["jets"][f"mine_{name}"][UNSCORED:] for name in SHORT]).astype(float)
    np.testing.assert_array_equal(found.classes.confusion, confusion_matrix(truth, p.argmax(0)))
    assert found.classes.accuracy == pytest.approx(accuracy_score(truth, p.argmax(0)), rel=NEAR)
    for index, name in enumerate(FLAVOURS):
        share, mean = calibration_curve(truth == index, p[index], n_bins=len(CALIBRATION_BINS) - 1)
        one = found.reliability[name]
        seen = one.observed.total > 0
        np.testing.assert_allclose(one.observed.value[seen], share, rtol=NEAR)
        np.testing.assert_allclose(one.predicted[seen], mean, rtol=NEAR)
        expected = (np.abs(share - mean) * one.observed.total[seen]).sum() / len(truth)
        assert one.expected_error == pytest.approx(expected, rel=NEAR)
    totals = [sum(h.sum() for h in found.scores[name].values()) for name in FLAVOURS]
    assert totals == [len(truth)] * 3


def test_confusion_of_tracks(case: Any) -> None:
    tables, scores, found = case
    valid = tables["tracks"]["valid"]
    truth = tables["tracks"]["ftagTruthOriginLabel"][valid]
    p = np.stack([scores["tracks"][f"mine_p{name}"][valid] for name in ORIGINS])
    (tracks,) = found.constituents
    assert (tracks.dataset, tracks.label) == ("tracks", "ftagTruthOriginLabel")
    np.testing.assert_array_equal(tracks.classes.confusion, confusion_matrix(truth, p.argmax(0)))


@pytest.mark.parametrize("share", [0.5, 0.65])
def test_vertices_are_counted_as_in_validation(case: Any, share: float) -> None:
    tables, scores, _ = case
    found = measure(Predictions(case[2].path), "mine", "mine", Wishes(vertex_share=share)).constituents[0].vertices
    used = tables["tracks"]["valid"].copy()
    used[:UNSCORED] = False
    jet = np.nonzero(used)[0]
    vertex = tables["tracks"]["ftagTruthVertexIndex"][used].astype(np.int64)
    group = scores["tracks"]["VertexIndex"][used].astype(np.int64)
    for index, name in enumerate(FLAVOURS):
        mine = tables["jets"]["flavour_label"][jet] == index
        _, unique = np.unique(jet[mine] * 100 + group[mine], return_inverse=True)
        expected = match_vertices(*(torch.from_numpy(x) for x in (jet[mine], vertex[mine], unique)), share)
        row = found.flavours.index(name)
        assert found.truth[row].sum() == expected.true[1]
        assert found.truth_found[row].sum() == found.groups_right[row].sum() == expected.matched[1]
        assert found.groups[row].sum() == expected.groups[1]
        assert found.primary[row].tolist() == [expected.true[0], expected.matched[0]]
        assert found.mass_truth[row].sum() == expected.true[1]
    np.testing.assert_allclose(found.purity.value + found.fakes.value, 1)


def test_the_mass_of_two_back_to_back_pions() -> None:
    nothing = np.zeros(3)
    momenta = Momenta(np.array([3.0, 3.0, 9.0]), nothing, np.array([0.0, np.pi, 1.0]))
    pair = groups(np.zeros(3, dtype=np.int64), np.array([4, 4, 5]), np.array([1, 1, 1]))
    assert masses(pair, momenta) == pytest.approx([2 * np.hypot(3, PION_MASS)])


def test_residuals_in_bins(case: Any) -> None:
    tables, scores, found = case
    (one,) = found.residuals
    truth, predicted = tables["jets"]["HadronPt"].astype(float), scores["jets"]["mine_HadronPt"].astype(float)
    known = np.isfinite(truth)
    residual, pt = ((predicted - truth) / truth)[known], tables["jets"]["pt"][known].astype(float) / 1000
    assert one.relative
    for spread, places in ((one.overall, [known[known]]), (one.in_bins, _masks(pt, one.pt_edges))):
        for k, inside in enumerate(places):
            low, middle, high = np.percentile(residual[inside], [16, 50, 84])
            assert spread.count[k] == inside.sum()
            assert spread.bias[k] == pytest.approx(middle, rel=NEAR, abs=NEAR)
            assert spread.resolution[k] == pytest.approx((high - low) / 2, rel=NEAR)
            assert spread.bias_error[k] == pytest.approx(1.260 * spread.resolution[k] / inside.sum() ** 0.5, rel=1e-3)


def test_residuals_of_tracks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BLOCK", 300)
    tables = make_test_file(tmp_path / "test.h5", 2000)
    parts = ["classes", "tracks", "momenta"]
    scores = make_predictions(tmp_path / "p.h5", tables, test_files=[tmp_path / "test.h5"], parts=parts)
    (tracks,) = measure(Predictions(tmp_path / "p.h5"), "mine", "mine", Wishes()).constituents
    (one,) = tracks.residuals
    assert (one.variable, one.relative) == ("pt", True)
    valid = tables["tracks"]["valid"]
    truth, predicted = (t["tracks"][c][valid].astype(float) for t, c in ((tables, "pt"), (scores, "mine_pt")))
    residual, pt = (predicted - truth) / truth, (tables["jets"]["pt"] / 1000)[np.nonzero(valid)[0]]
    for spread, places in ((one.overall, [pt > 0]), (one.in_bins, _masks(pt, one.pt_edges))):
        for k, inside in enumerate(places):
            low, middle, high = np.percentile(residual[inside], [16, 50, 84])
            assert spread.count[k] == inside.sum()
            assert spread.bias[k] == pytest.approx(middle, rel=NEAR, abs=NEAR)
            assert spread.resolution[k] == pytest.approx((high - low) / 2, rel=NEAR)


def _masks(pt: np.ndarray, edges: np.ndarray) -> list[np.ndarray]:
    return [(pt >= low) & (pt < high) for low, high in pairwise(edges)]


def test_errors_of_bias_and_resolution_are_those_of_gaussian_residuals() -> None:
    from salt.report.residuals import measure_residuals

    rng = np.random.default_rng(4)
    spreads = []
    for _ in range(400):
        residual = rng.normal(0.3, 2.0, 500)
        one = measure_residuals("x", residual, np.zeros(500), None, np.empty(0))
        assert one is not None
        spreads.append(one.overall)
    for what in ("bias", "resolution"):
        scatter = np.std([getattr(s, what)[0] for s in spreads])
        assert np.mean([getattr(s, f"{what}_error")[0] for s in spreads]) == pytest.approx(scatter, rel=0.1)


def test_a_model_of_tracks_alone(tmp_path: Path) -> None:
    tables = make_test_file(tmp_path / "test.h5", 300)
    copied = ["flavour_label"]
    make_predictions(tmp_path / "p.h5", tables, "trk", [tmp_path / "test.h5"], copied=copied, parts=["tracks"])
    found = measure(Predictions(tmp_path / "p.h5"), "trk", "trk", Wishes())
    assert found.classes is None
    assert sum(found.counts.values()) == 300
    (tracks,) = found.constituents
    assert tracks.reasons == {}
    assert tracks.vertices is not None
    assert tracks.vertices.mass_right is not None
    # Without the test file's pt of jets nobody knows the unit of the tracks' momenta.
    with h5py.File(tmp_path / "test.h5", "r+") as file:
        jets = file["jets"][:]
        del file["jets"], file.attrs["units"]
        file["jets"] = jets[["eta", "flavour_label"]]
        file["jets"].attrs["flavour_label"] = list(FLAVOURS)
    (tracks,) = measure(Predictions(tmp_path / "p.h5"), "trk", "trk", Wishes()).constituents
    assert list(tracks.reasons) == ["masses"]
    assert tracks.vertices is not None
    assert tracks.vertices.mass_right is None
