import h5py
import hdf5plugin
import numpy as np
import pytest
from files import INPUTS, TARGETS, make_jets, write_structured
from hypothesis import given, settings
from hypothesis import strategies as st

from salt.data import filters, hdf5
from salt.data.chunks import ChunkTable
from salt.data.entries import of_records, pick_padded
from salt.data.filters import UndecodableError
from salt.data.formats import open_reader
from salt.data.source import Source
from salt.errors import DataError

COMPRESSIONS = {
    "none": {},
    "lzf": {"compression": "lzf"},
    "gzip": {"compression": "gzip", "compression_opts": 4},
    "lz4": dict(hdf5plugin.LZ4()),
    "lz4 in small blocks": dict(hdf5plugin.LZ4(nbytes=64)),
    "zstd": dict(hdf5plugin.Zstd()),
    "blosc": dict(hdf5plugin.Blosc(cname="lz4", shuffle=hdf5plugin.Blosc.SHUFFLE)),
    "blosc by bits": dict(hdf5plugin.Blosc(cname="zstd", shuffle=hdf5plugin.Blosc.BITSHUFFLE)),
}
KINDS = ["f2", "f4", "f8", ">f4", "i1", "u1", "i2", "i4", "u8", "?", "S5"]


def records_of(kinds, shape, valid, rng, compressible):
    table = np.zeros(shape, [*((f"x{i}", kind) for i, kind in enumerate(kinds)), ("valid", valid), ("last", "f4")])
    raw = table.view(np.uint8).reshape(*shape, -1)
    raw[...] = rng.integers(0, 3 if compressible else 256, raw.shape)
    for name in table.dtype.names:
        if table.dtype[name] == np.bool_:
            table[name] = rng.integers(0, 2, shape)
    table["valid"] = rng.integers(0, 2, shape)
    return table


@st.composite
def stored_tables(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    num, width = draw(st.integers(1, 40)), draw(st.integers(1, 6) | st.none())
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6))
    shape = (num,) if width is None else (num, width)
    valid = draw(st.sampled_from(["?", "i1", "i4", "f4"]))
    table = records_of(kinds, shape, valid, rng, draw(st.booleans()))
    names = [name for name in table.dtype.names if name != "valid" and table.dtype[name].kind != "S"]
    fields = draw(st.lists(st.sampled_from(names), unique=True, min_size=1))
    options = {
        **COMPRESSIONS[draw(st.sampled_from(sorted(COMPRESSIONS)))],
        "shuffle": draw(st.booleans()),
        "fletcher32": draw(st.booleans()),
        "chunks": (draw(st.integers(1, num)), *shape[1:]),
        "maxshape": (None, *shape[1:]),
    }
    rows = np.array(sorted(draw(st.sets(st.integers(0, num - 1), min_size=1))))
    return table, options, [*fields, "valid"], rows


def check_same(found, expected, fields):
    assert np.array_equal(found.jet, expected.jet)
    assert np.array_equal(found.slot, expected.slot)
    for field in fields:
        assert found.records[field].dtype == expected.records[field].dtype
        assert found.records[field].tobytes() == expected.records[field].tobytes()


@settings(max_examples=300, deadline=None)
@given(stored_tables())
def test_chunks_hold_what_hdf5_reads(case):
    table, options, fields, rows = case
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        item = file.create_dataset("tracks", data=table, **options)
        found = ChunkTable.of(item, fields).pick(rows)
        check_same(found, of_records(item[:], rows), fields)


def test_chunks_that_compression_did_not_shrink(tmp_path):
    rng = np.random.default_rng(0)
    table = records_of(["f8", "f8", "u1"], (64, 5), "?", rng, False)
    table[:32] = np.zeros((), table.dtype)
    table[:32]["valid"] = True
    with h5py.File(tmp_path / "a.h5", "w") as file:
        item = file.create_dataset("tracks", data=table, compression="lzf", shuffle=True, chunks=(8, 5))
        skipped = {item.id.read_direct_chunk((row, 0))[0] for row in range(0, 64, 8)}
        assert len(skipped) == 2
        rows = np.arange(64)
        check_same(ChunkTable.of(item, ["x0", "valid"]).pick(rows), of_records(table, rows), ["x0", "valid"])


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "lzf", "chunks": (5, 2)},
        {},
        {**dict(hdf5plugin.Bitshuffle()), "chunks": (5, 6)},
        {"compression": "lzf", "chunks": (5, 6), "written": False},
    ],
    ids=["chunks that part rows", "no chunks", "an unknown filter", "chunks that were never written"],
)
def test_what_only_hdf5_can_read_is_left_to_it(tmp_path, options):
    table = make_jets(23, width=6)["tracks"]
    written = options.pop("written", True)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("tracks", shape=table.shape, dtype=table.dtype, **options)
        if written:
            file["tracks"][:] = table
    reader = open_reader(path, {})
    fields, rows = ["d0", "valid"], np.array([0, 3, 21, 22])
    expected = of_records(table if written else np.zeros_like(table), rows)
    check_same(reader.pick("tracks", rows, fields), expected, fields)
    assert (ChunkTable.of(reader._handle()["tracks"], fields) is None) == written


def test_hdf5_reads_alone_where_the_codecs_are_not_installed(tmp_path, monkeypatch):
    path = write_structured(tmp_path / "a.h5", make_jets(30))
    rows, fields = np.arange(30), ["d0", "valid"]
    with_codecs = open_reader(path, {}).pick("tracks", rows, fields)
    monkeypatch.setattr(filters, "imagecodecs", None)
    reader = open_reader(path, {})
    assert ChunkTable.of(reader._handle()["tracks"], fields) is None
    check_same(reader.pick("tracks", rows, fields), with_codecs, fields)


@pytest.mark.parametrize("checksum", [False, True])
def test_damaged_chunks_are_never_read_as_jets(tmp_path, checksum):
    tables = make_jets(40)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for name, table in tables.items():
            file.create_dataset(
                name, data=table, compression="gzip", fletcher32=checksum, chunks=(10, *table.shape[1:])
            )
        place = file["tracks"].id.get_chunk_info_by_coord((10, 0))
    source = Source("data.train_file", [open_reader(path, {})], INPUTS, TARGETS, strict=False)
    with path.open("r+b") as raw:
        raw.seek(place.byte_offset + place.size // 2)
        raw.write(b"\xff" * 8)
    with pytest.raises(UndecodableError):
        ChunkTable.of(source.readers[0]._handle()["tracks"], ["d0", "valid"]).pick(np.arange(10, 20))
    source.pack(np.arange(10))
    with pytest.raises(DataError, match=r"a\.h5 cannot be read at rows 10 to 20 of 'tracks'"):
        source.pack(np.arange(10, 20))


def test_any_number_of_threads_reads_the_same(tmp_path):
    tables = make_jets(3000, width=5, scattered=True)
    paths = [
        write_structured(tmp_path / f"{i}.h5", {k: t[i::3] for k, t in tables.items()}, chunk=50) for i in range(3)
    ]
    source = Source("data.train_file", [open_reader(p, {}) for p in paths], INPUTS, TARGETS)
    positions = np.flatnonzero(np.random.default_rng(0).random(3000) < 0.3)
    one, many = source.pack(positions), source.pack(positions, threads=4)
    assert np.array_equal(one.rows, many.rows)
    for name, part in one.parts.items():
        assert part.values.tobytes() == many.parts[name].values.tobytes()
        assert np.array_equal(part.counts, many.parts[name].counts)
        assert np.array_equal(part.slots, many.parts[name].slots)
        for target, values in part.labels.items():
            assert np.array_equal(values, many.parts[name].labels[target])
    fields = ["d0", "valid"]
    for reader in source.readers:
        check_same(
            reader.pick("tracks", np.arange(7), fields), pick_padded(reader, "tracks", np.arange(7), fields), fields
        )


def test_more_files_than_may_be_open_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5, "MOST_OPEN", 3)
    tables = make_jets(400, width=5)
    paths = [
        write_structured(tmp_path / f"{i:02d}.h5", {k: t[i * 20 : i * 20 + 20] for k, t in tables.items()})
        for i in range(20)
    ]
    source = Source("data.train_file", [open_reader(p, {}) for p in paths], INPUTS, TARGETS)
    for positions in (np.arange(400), np.arange(0, 400, 7)):
        packed = source.pack(positions, threads=4)
        real = tables["tracks"]["valid"][positions]
        assert np.array_equal(packed.parts["tracks"].values[:, 0], tables["tracks"]["d0"][positions][real])
        source.pack(np.array([0]))
        assert sum(reader._handle._file is not None for reader in source.readers) <= 3
