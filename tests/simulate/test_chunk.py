"""Jets of one chunk: what is in them fits together."""

from itertools import pairwise

import numpy as np
import pytest

from salt.simulate.chunk import balanced, events_of, first_event, make_chunk
from salt.simulate.detector import GEV
from salt.simulate.fields import FIELDS, dtype
from salt.simulate.files import Moments, inputs, summarise
from salt.simulate.options import SPLITS, Options
from salt.simulate.truth import Origin

CLASSES = ("bjets", "cjets", "ujets", "taujets")


@pytest.fixture(scope="module")
def chunk():
    return make_chunk(Options(classes=CLASSES), "train", 4)


def test_records_have_the_documented_types(chunk):
    for name in FIELDS:
        assert chunk[name].dtype == dtype(name)
        assert len(chunk[name]) == len(chunk["jets"]) > 500
        for variable in inputs(name):
            assert np.isfinite(chunk[name][variable]).all(), variable


def test_heavier_flavours_have_more_displaced_tracks(chunk):
    tracks, flavour = chunk["tracks"], chunk["jets"]["flavour_label"]
    significance = np.where(tracks["valid"], tracks["IP3D_signed_d0_significance"], -np.inf)
    second = np.sort(significance, axis=1)[:, -2]
    b, c, light = (np.median(second[(flavour == k) & (tracks["valid"].sum(axis=1) > 1)]) for k in range(3))
    assert b > 2 * c
    assert c > light
    assert light < 1


def test_labels_agree_with_each_other(chunk):
    jets, tracks = chunk["jets"], chunk["tracks"]
    np.testing.assert_array_equal(np.array([5, 4, 0, 15])[jets["flavour_label"]], jets["HadronConeExclTruthLabelID"])
    heavy = np.isin(jets["HadronConeExclTruthLabelID"], (4, 5))
    np.testing.assert_array_equal(np.isfinite(jets["HadronConeExclTruthLabelPt"]), heavy)
    np.testing.assert_array_equal(np.isfinite(jets["HadronConeExclTruthLabelLxy"]), heavy)
    assert jets["HadronConeExclTruthLabelPt"][heavy].min() > 5 * GEV
    # A b-hadron with c tau of 0.46 mm, of this mean pT: mean decay length pT / m c tau, roughly.
    b = jets["flavour_label"] == 0
    expected = jets["HadronConeExclTruthLabelPt"][b].mean() / 5280 * 0.46
    assert jets["HadronConeExclTruthLabelLxy"][b].mean() == pytest.approx(expected, rel=0.25)
    for origin, label in ((Origin.FROM_B, 0), (Origin.FROM_C, 1), (Origin.FROM_TAU, 3)):
        inside = np.any(tracks["valid"] & (tracks["ftagTruthOriginLabel"] == origin), axis=1)
        assert inside[jets["flavour_label"] == label].mean() > 5 * inside[jets["flavour_label"] == 2].mean()


def test_tracks_are_sorted_in_the_cone_and_have_vertices_of_their_origin(chunk):
    jets, tracks = chunk["jets"], chunk["tracks"]
    valid, origin, vertex = tracks["valid"], tracks["ftagTruthOriginLabel"], tracks["ftagTruthVertexIndex"]
    size = np.where(valid, np.abs(tracks["IP3D_signed_d0_significance"]), 0)
    assert np.all(np.diff(size, axis=1) <= 0)
    np.testing.assert_array_equal(valid.sum(axis=1), np.minimum(jets["n_tracks"], 40))
    assert np.hypot(tracks["deta"], tracks["dphi"])[valid].max() < 0.4
    np.testing.assert_array_equal(vertex[valid & (origin == Origin.FAKE)], -2)
    assert np.all(origin[~valid] == -1)
    assert vertex[valid & (origin >= Origin.PRIMARY)].min() == 0
    assert np.mean(vertex[valid & (origin == Origin.PRIMARY)] == 0) > 0.99
    assert np.mean(vertex[valid & (origin == Origin.FROM_B)] > 0) > 0.8
    fakes = np.sum(valid & (origin == Origin.FAKE))
    assert abs(fakes - 0.19 * len(jets)) < 5 * np.sqrt(0.2 * len(jets))


def test_flows_carry_the_rest_of_the_jet(chunk):
    jets, tracks, flows = chunk["jets"], chunk["tracks"], chunk["flows"]
    total = tracks["pt"].sum(axis=1, where=tracks["valid"]) + flows["pt"].sum(axis=1, where=flows["valid"])
    assert np.median(total / jets["pt"]) == pytest.approx(1, abs=0.1)
    assert np.all(np.diff(flows["pt"], axis=1) <= 0)


def test_event_and_jet_numbers_are_unique(chunk):
    jets = chunk["jets"]
    pairs = set(zip(jets["eventNumber"].tolist(), jets["jetNumber"].tolist(), strict=True))
    assert len(pairs) == len(jets)
    for event in np.unique(jets["eventNumber"])[:50]:
        assert np.all(np.diff(jets["pt"][jets["eventNumber"] == event]) <= 0)


def test_chunks_of_all_splits_and_seeds_number_their_events_apart():
    ranges = sorted(
        (first_event(seed, split, chunk), events_of(chunk))
        for seed in range(3)
        for split in SPLITS
        for chunk in range(30)
    )
    for (first, count), (following, _) in pairwise(ranges):
        assert first + count <= following
    assert first_event(100_000_000, "test", 999_999) + 500 < 2**63


def test_a_chunk_repeats():
    one = make_chunk(Options(), "train", 0)
    again = make_chunk(Options(), "train", 0)
    for name in one:
        assert one[name].tobytes() == again[name].tobytes()


def test_pileup_is_labelled_and_without_it_there_is_none(chunk):
    piled = make_chunk(Options(pileup=20), "train", 0)
    tracks = piled["tracks"]
    pileup = tracks["valid"] & (tracks["ftagTruthOriginLabel"] == Origin.PILEUP)
    assert pileup.sum() > 0.1 * tracks["valid"].sum()
    assert np.all(tracks["ftagTruthVertexIndex"][pileup] == -2)
    # Tracks of other collisions lie far from the primary vertex.
    far = np.abs(tracks["z0SinTheta"])
    primary = tracks["valid"] & (tracks["ftagTruthOriginLabel"] == Origin.PRIMARY)
    assert np.median(far[pileup]) > 5 * np.median(far[primary])
    assert piled["flows"]["valid"].sum(axis=1).mean() > chunk["flows"]["valid"].sum(axis=1).mean()
    assert not np.any(chunk["tracks"]["ftagTruthOriginLabel"][chunk["tracks"]["valid"]] == Origin.PILEUP)


def test_balanced_rows_hold_each_class_equally_often_wherever_cut():
    rng = np.random.default_rng(1)
    label = rng.choice([-1, 0, 1, 2], 400, p=[0.1, 0.3, 0.1, 0.5])
    rows = balanced(label, 3, rng)
    assert len(rows) == 3 * np.sum(label == 1) == len(set(rows.tolist()))
    for end in range(len(rows)):
        counts = np.bincount(label[rows[:end]], minlength=3)
        assert counts.max() - counts.min() <= 1
    assert len({tuple(label[rows[i : i + 3]]) for i in range(0, len(rows), 3)}) == 6


def test_summaries_add_up_to_that_of_all_jets(chunk):
    parts = [{name: values[rows] for name, values in chunk.items()} for rows in (slice(7), slice(7, 7), slice(7, None))]
    total = sum((summarise(p, 4) for p in parts[1:]), summarise(parts[0], 4))
    for name, scales in total.norm_dict().items():
        values = chunk[name] if name == "jets" else chunk[name][chunk[name]["valid"]]
        for variable, scale in scales.items():
            column = values[variable].astype(np.float64)
            assert scale["mean"] == pytest.approx(column.mean(), rel=1e-9, abs=1e-12)
            assert scale["std"] == pytest.approx(column.std(), rel=1e-9)
    for weights, values in (
        (total.class_dict()["jets"]["flavour_label"], chunk["jets"]["flavour_label"]),
        (
            total.class_dict()["tracks"]["ftagTruthOriginLabel"],
            chunk["tracks"]["ftagTruthOriginLabel"][chunk["tracks"]["valid"]],
        ),
    ):
        found = np.bincount(values, minlength=len(weights)) * weights
        np.testing.assert_allclose(found[found > 0], found.max())
        assert weights[0] == 1 or found[0] > 0


def test_moments_of_nothing():
    nothing = Moments(0, np.zeros(2), np.zeros(2))
    assert (nothing + nothing).count == 0
