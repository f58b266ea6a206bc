import pickle
from itertools import pairwise

import h5py
import hdf5plugin
import numpy as np
import pytest
import torch
from files import FLAVOUR, INPUTS, TARGETS, TRACK_VARIABLES, make_jets, write_structured, write_umami

from salt.data.formats import open_reader
from salt.data.group import read_group, to_group
from salt.data.packing import take
from salt.data.source import Source
from salt.inputs import Input, Target
from salt.statistics import Scale


def source_of(*paths, inputs=INPUTS, targets=TARGETS, num=-1, strict=True, scales=None):
    return Source("data.train_file", [open_reader(p, scales or {}) for p in paths], inputs, targets, num, strict=strict)


def batch_of(source, positions=None):
    positions = np.arange(source.num_jets) if positions is None else np.asarray(positions)
    return next(read_group(source, [positions]).batches())


def check_against(batch, tables, rows, keep=lambda track: True, most=None):
    """The batch against a loop over the tables, one constituent at a time."""
    rows_of_tracks = []
    for b, row in enumerate(rows):
        jet = tables["jets"][row]
        assert batch.jets[b].tolist() == [float(jet["pt"]), float(jet["eta"])]
        assert batch.labels[FLAVOUR][b] == jet["flavour_label"]
        real = [(s, t) for s, t in enumerate(tables["tracks"][row]) if t["valid"] and keep(t)][:most]
        rows_of_tracks.append(len(real))
        start = int(batch.constituents["tracks"].host_offsets[b])
        for i, (slot, track) in enumerate(real):
            assert batch.constituents["tracks"].values[start + i].tolist() == [float(track[v]) for v in TRACK_VARIABLES]
            assert batch.slots["tracks"][start + i] == slot
            for target in TARGETS[1:]:
                code = int(track[target.variable])
                assert batch.labels[target][start + i] == (max(code, -1) if target.kind == "class" else code)
    assert batch.constituents["tracks"].host_counts.tolist() == rows_of_tracks
    assert batch.rows.tolist() == list(rows)
    assert len(batch.constituents["tracks"].values) == sum(rows_of_tracks)


@pytest.mark.parametrize("scattered", [False, True])
def test_packed_rows_are_those_of_the_file(tmp_path, scattered):
    tables = make_jets(57, scattered=scattered)
    source = source_of(write_structured(tmp_path / "a.h5", tables))
    check_against(batch_of(source), tables, range(57))
    check_against(batch_of(source, [0, 1, 30, 56]), tables, [0, 1, 30, 56])
    steps = [np.array([5, 40]), np.array([], dtype=int), np.array([1, 2, 3])]
    for batch, rows in zip(read_group(source, steps).batches(), steps, strict=True):
        check_against(batch, tables, rows)
        assert len(batch) == len(rows)


@pytest.mark.parametrize(
    "compression",
    [None, "lzf", "gzip", hdf5plugin.LZ4(), hdf5plugin.Zstd(), hdf5plugin.Blosc()],
    ids=lambda c: c if isinstance(c, str) or c is None else type(c).__name__,
)
def test_filters(tmp_path, compression):
    tables = make_jets(30)
    check_against(
        batch_of(source_of(write_structured(tmp_path / "a.h5", tables, compression=compression))), tables, range(30)
    )


def test_several_files_are_one(tmp_path):
    tables = make_jets(100)
    whole = source_of(write_structured(tmp_path / "a.h5", tables))
    cuts = [0, 33, 34, 100]
    parts = [
        write_structured(tmp_path / f"p{i}.h5", {k: t[a:b] for k, t in tables.items()}, chunk=7)
        for i, (a, b) in enumerate(pairwise(cuts))
    ]
    several = source_of(*parts)
    positions = np.sort(np.random.default_rng(0).permutation(100)[:61])
    for one, other in zip(
        whole_tensors(batch_of(whole, positions)), whole_tensors(batch_of(several, positions)), strict=True
    ):
        assert torch.equal(one, other)
    assert {33, 34} <= set(several.block_edges().tolist())
    raw = several.read("tracks", positions, ["valid", "d0"])
    assert raw.dtype.names == ("valid", "d0")
    assert np.array_equal(raw["valid"], tables["tracks"]["valid"][positions])
    assert np.array_equal(raw["d0"], tables["tracks"]["d0"][positions], equal_nan=True)


def whole_tensors(batch):
    tracks = batch.constituents["tracks"]
    return [
        batch.jets,
        tracks.values,
        tracks.offsets,
        batch.rows,
        batch.slots["tracks"],
        *(batch.labels[t] for t in TARGETS),
    ]


def test_files_of_different_widths_and_class_orders(tmp_path):
    first, second = make_jets(20, seed=1, width=8), make_jets(20, seed=2, width=5)
    a = write_structured(tmp_path / "a.h5", first)
    b = write_structured(tmp_path / "b.h5", second, classes=("ujets", "bjets", "cjets"))
    source = source_of(a, b)
    labels = batch_of(source).labels[FLAVOUR].numpy()
    assert np.array_equal(labels[:20], first["jets"]["flavour_label"])
    assert np.array_equal(labels[20:], np.array([2, 0, 1])[second["jets"]["flavour_label"]])
    assert source.width("tracks") == 8
    assert source.class_names(FLAVOUR) == ("bjets", "cjets", "ujets")
    raw = source.read("tracks", np.arange(40), ["valid"])["valid"]
    assert np.array_equal(raw[20:, :5], second["tracks"]["valid"])
    assert not raw[20:, 5:].any()


@pytest.mark.parametrize(("general", "tolerance"), [(False, 0.0), (True, 1e-6)])
def test_both_formats_give_the_same_tensors(tmp_path, general, tolerance):
    rng = np.random.default_rng(3)
    variables = {"jets": INPUTS["jets"].variables, "tracks": list(TRACK_VARIABLES)}
    numbers = {
        name: {
            v: ((rng.normal(), rng.uniform(0.1, 30)) if general else (0.0, 2.0 ** rng.integers(-9, 9))) for v in names
        }
        for name, names in variables.items()
    }
    tables = make_jets(80, scattered=True)
    inputs = {"jets": INPUTS["jets"], "tracks": Input(list(TRACK_VARIABLES), dataset="tracks_loose")}
    umami = write_umami(tmp_path / "u.h5", tables, numbers, {"tracks": "tracks_loose"})
    scales = {
        {"tracks": "tracks_loose"}.get(name, name): {v: Scale(*n) for v, n in table.items()}
        for name, table in numbers.items()
    }
    one = whole_tensors(batch_of(source_of(write_structured(tmp_path / "s.h5", tables))))
    two = whole_tensors(batch_of(source_of(umami, inputs=inputs, scales=scales)))
    for a, b in zip(one, two, strict=True):
        assert a.dtype == b.dtype
        if a.is_floating_point():  # per column, in units of the spread of the variable
            assert ((a - b).abs().amax(0) <= tolerance * a.std(0)).all()
        else:
            assert torch.equal(a, b)


def test_umami_one_hot_labels_and_raw_records(tmp_path):
    tables = make_jets(20)
    numbers = {"jets": {"pt": (10.0, 4.0), "eta": (0.0, 1.0)}, "tracks": dict.fromkeys(TRACK_VARIABLES, (0.0, 1.0))}
    path = write_umami(tmp_path / "u.h5", tables, numbers)
    with h5py.File(path, "a") as file:
        del file["jets/labels"]
        file["jets"]["labels"] = np.eye(3, dtype="i8")[tables["jets"]["flavour_label"]]
    source = source_of(path)
    assert np.array_equal(batch_of(source).labels[FLAVOUR], tables["jets"]["flavour_label"])
    assert np.allclose(source.read("jets", np.array([3, 4]), ["pt"])["pt"], (tables["jets"]["pt"][3:5] - 10) / 4)


def test_selection_of_jets_and_constituents(tmp_path):
    tables = make_jets(300, scattered=True)
    inputs = {
        "jets": Input(["pt", "eta"], selection=["pt > 50", "abs(eta) <= 1.5", "flavour_label in [0, 2]"]),
        "tracks": Input(
            list(TRACK_VARIABLES), selection=["abs(d0) < 1", "ftagTruthOriginLabel not in [0, 1]"], max_count=2
        ),
    }
    jets = tables["jets"]
    rows = [
        r
        for r in range(300)
        if jets["pt"][r] > 50 and abs(jets["eta"][r]) <= 1.5 and jets["flavour_label"][r] in (0, 2)
    ]
    path = write_structured(tmp_path / "a.h5", tables)
    source = source_of(path, inputs=inputs)
    assert source.num_jets == len(rows)

    def keep(track):
        return abs(track["d0"]) < 1 and track["ftagTruthOriginLabel"] not in (0, 1)

    check_against(batch_of(source), tables, rows, keep, most=2)
    limited = source_of(path, inputs=inputs, num=10)
    check_against(batch_of(limited), tables, rows[:10], keep, most=2)
    edges = limited.block_edges()
    assert (edges[0], edges[-1]) == (0, 10)
    assert (np.diff(edges) > 0).all()


def test_taking_jets_out_of_packed_ones(tmp_path):
    tables = make_jets(40)
    packed = source_of(write_structured(tmp_path / "a.h5", tables)).pack(np.arange(40))
    rows = [7, 3, 3, 39]
    check_against(next(to_group(take(packed, np.array(rows)), [4]).batches()), tables, rows)


def test_a_pickled_reader_still_reads_and_an_open_one_can_be_pickled(tmp_path):
    tables = make_jets(20)
    source = source_of(write_structured(tmp_path / "a.h5", tables))
    batch_of(source)
    check_against(batch_of(pickle.loads(pickle.dumps(source))), tables, range(20))


def test_class_codes(tmp_path):
    tables = make_jets(60)
    codes = np.array([5, 4, 0])[tables["jets"]["flavour_label"]]
    tables["jets"]["flavour_label"] = np.where(np.arange(60) < 3, [-1, -2, 15] * 20, codes)
    path = write_structured(tmp_path / "a.h5", tables, classes=None)
    target = Target(
        "jets", "flavour_label", "class", ("bjets", "ujets"), ((0, "ujets"), (4, "cjets"), (5, "bjets")), ("cjets", 15)
    )
    found = batch_of(source_of(path, targets=[target])).labels[target].tolist()
    assert found == [{0: 1, 5: 0}.get(int(c), -1) for c in tables["jets"]["flavour_label"]]
    scored = Target("jets", "flavour_label", "class", ("bjets", "ujets"), ((0, "ujets"), (5, "bjets")))
    assert batch_of(source_of(path, targets=[scored], strict=False)).labels[scored].tolist() == found


def test_number_targets_keep_their_gaps(tmp_path):
    tables = make_jets(30)
    target = Target("jets", "Lxy", "number", log=True)
    batch = batch_of(source_of(write_structured(tmp_path / "a.h5", tables), targets=[target]))
    assert np.array_equal(batch.labels[target].numpy(), tables["jets"]["Lxy"], equal_nan=True)
    assert batch.labels[target].dtype == torch.float32
