"""Staged jets are those of the files, to the last bit; what is staged is whole or not there, shared, and goes."""

import contextlib
import os
import pickle
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml
from files import FLAVOUR, ORIGIN, TRACK_VARIABLES, VERTEX, make_jets, write_structured, write_umami

from salt.data import build, copying, lease, orders
from salt.data import source as source_module
from salt.data.datamodule import JetDataModule
from salt.data.formats import open_reader
from salt.data.group import read_group
from salt.data.lease import Lease
from salt.data.source import Source
from salt.data.staging import Staging
from salt.errors import DataError
from salt.inputs import Input, Target

LENGTH = Target("jets", "Lxy", "number", log=True)
KNOWN = Target("tracks", "ftagTruthOriginLabel", "class", ("FromB", "Pileup"), ignore=("Primary", 1, 4, 5, 6, 7))
NUMBER = Target("jets", "eventNumber", "index")
WEIGHTS = (Target("jets", "pt", "weight"), Target("tracks", "z0", "level"))
ALL = (FLAVOUR, LENGTH, NUMBER, ORIGIN, VERTEX, KNOWN, *WEIGHTS)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(source_module, "BLOCK_ROWS", 10)
    monkeypatch.setattr(build, "RANGE_JETS", 30)
    monkeypatch.setattr(build, "SAMPLE_JETS", 60)
    monkeypatch.setattr(orders, "GROUP_JETS", 64)


def tensors(batch):
    names = sorted(batch.constituents)
    found = [batch.jets, batch.rows, *batch.labels.values(), *(batch.slots[n] for n in names)]
    for name in names:
        part = batch.constituents[name]
        found += [part.values, part.offsets, part.host_offsets]
    return found


def same(one, other):
    one, other = list(one), list(other)
    assert len(one) == len(other) > 0
    for x, y in zip(one, other, strict=True):
        assert list(x.labels) == list(y.labels)
        for a, b in zip(tensors(x), tensors(y), strict=True):
            assert a.dtype == b.dtype
            assert a.numpy().tobytes() == b.numpy().tobytes()
    return True


def open_data(folder, stage, targets=ALL, **options):
    moved = {} if stage is None else {"move_files_temp": str(folder / "fast"), "stage": stage}
    data = JetDataModule(**{"batch_size": 16, "num_workers": 0, **moved, **options})
    data.bind(targets, seed=5)
    data.setup("fit")
    return data


@pytest.mark.parametrize(("stage", "seed"), [("copy", 0), ("packed", 0), ("packed", 1), ("packed", 2)])
def test_batches_are_the_same_to_the_last_bit(tmp_path, stage, seed):
    rng = random.Random(seed)
    for part, count in (("train", 3), ("val", 1)):
        for i in range(count):
            tables = make_jets(
                rng.randint(80, 120), seed=10 * seed + i, width=rng.randint(4, 9), scattered=rng.random() < 0.5
            )
            tables["jets"]["eventNumber"] += rng.choice((0, 2**40))
            write_structured(tmp_path / f"{part}_{i}.h5", tables, chunk=rng.randint(5, 50))
    inputs = {
        "tracks": Input(list(TRACK_VARIABLES), max_count=rng.choice((None, 1, 3)), selection=["d0 > -0.5"]),
        "jets": Input(["pt", "eta"], selection=rng.choice((None, ["pt > 60"]))),
        "others": Input(["dphi"], dataset="tracks"),
    }
    options = {"train_file": str(tmp_path / "train_*.h5"), "val_file": str(tmp_path / "val_*.h5"), "inputs": inputs}
    options |= {"num_train": rng.choice((-1, 101)), "shuffle": rng.choice(("blocks", "weak"))}
    plain = open_data(tmp_path, None, **options)
    staged = open_data(tmp_path, stage, **options)
    assert same(staged.train_dataloader(), plain.train_dataloader())
    assert same(staged.val_dataloader(), plain.val_dataloader())
    staged.num_workers = 1
    assert same(staged.train_dataloader(), plain.train_dataloader())
    staged.teardown("fit")
    assert list((tmp_path / "fast").iterdir()) == []


def test_values_of_normalised_files_are_undone_once(tmp_path):
    scales = {"jets": {"pt": (110.0, 52.0), "eta": (0.0, 1.4)}, "tracks": dict.fromkeys(TRACK_VARIABLES, (1.0, 2.0))}
    norms = {n: {v: {"mean": a, "std": b} for v, (a, b) in table.items()} for n, table in scales.items()}
    (tmp_path / "norm.yaml").write_text(yaml.safe_dump(norms))
    write_umami(tmp_path / "train.h5", make_jets(100), scales)
    inputs = {"jets": Input(["pt", "eta"]), "tracks": Input(list(TRACK_VARIABLES))}
    options = {"train_file": str(tmp_path / "train.h5"), "norm_dict": str(tmp_path / "norm.yaml"), "inputs": inputs}
    staged, plain = (open_data(tmp_path, stage, (FLAVOUR, VERTEX), **options) for stage in ("packed", None))
    assert same(staged.train_dataloader(), plain.train_dataloader())
    staged.teardown("fit")


def source_of(path, targets=ALL, **spec):
    inputs = {"jets": Input(["pt", "eta"]), "tracks": Input(list(TRACK_VARIABLES), **spec)}
    return Source("data.train_file", [open_reader(path, {})], inputs, targets)


@pytest.fixture
def path(tmp_path):
    return write_structured(tmp_path / "a.h5", make_jets(200))


def group_of(jets, *steps):
    steps = [np.asarray(step, dtype=np.int64) for step in steps]
    return (read_group(jets, steps) if isinstance(jets, Source) else jets.group(steps)).batches()


def test_any_jets_in_any_order(tmp_path, path):
    source, staging = source_of(path), Staging(tmp_path / "fast")
    store = pickle.loads(pickle.dumps(staging.pack(source, None)))
    steps = ([5, 199, 30], [], [0], list(range(50, 90)), [])
    assert same(group_of(store, *steps), group_of(source, *steps))
    assert same(group_of(store, []), group_of(source, []))
    staging.release()


def test_labels_are_as_small_as_they_fit(tmp_path):
    tables = make_jets(200)
    fields = [(n, "i8" if "Vertex" in n else tables["tracks"].dtype[n]) for n in tables["tracks"].dtype.names]
    tables["tracks"] = tables["tracks"].astype(fields)
    source = source_of(write_structured(tmp_path / "a.h5", tables), (VERTEX, ORIGIN))
    staging = Staging(tmp_path / "fast")
    folder = staging.pack(source, None).folder
    entries = int(tables["tracks"]["valid"].sum())
    assert (folder / "1_values").stat().st_size == entries * 3 * 4
    assert {(folder / f"1_{n}").stat().st_size for n in ("slots", "label0", "label1")} == {entries}
    tables["tracks"]["ftagTruthVertexIndex"][150, 0], tables["tracks"]["valid"][150, 0] = 2**40, True
    source = source_of(write_structured(tmp_path / "b.h5", tables), (VERTEX, ORIGIN))
    store = staging.pack(source, None)
    assert same(group_of(store, range(200)), group_of(source, range(200)))
    staging.release()


def test_no_constituents_at_all(tmp_path):
    tables = make_jets(40)
    tables["tracks"]["valid"] = False
    source, staging = source_of(write_structured(tmp_path / "a.h5", tables)), Staging(tmp_path / "fast")
    assert same(group_of(staging.pack(source, None), range(40)), group_of(source, range(40)))
    staging.release()


@pytest.mark.parametrize("row", [3, 190])
def test_a_bad_value_is_complained_of_in_the_same_words(tmp_path, row):
    tables = make_jets(200)
    tables["jets"]["pt"][[row, 195]] = np.inf
    source, folder = source_of(write_structured(tmp_path / "a.h5", tables)), tmp_path / "fast"
    with pytest.raises(DataError) as expected:
        source.pack(np.arange(200))
    with pytest.raises(DataError) as error:
        Staging(folder).pack(source, None)
    assert f"row {row}" in str(error.value)
    assert str(error.value) == str(expected.value)
    assert type(error.value) is DataError
    assert list(folder.iterdir()) == []


def test_a_full_disk_is_said_plainly(tmp_path, path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, hard))
    try:
        for prepare in (lambda s: s.pack(source_of(path), None), lambda s: s.copy({"train": [path]})):
            with pytest.raises(DataError, match=r"data\.move_files_temp: .*fast has no space left: File too large"):
                prepare(Staging(tmp_path / "fast"))
            assert list((tmp_path / "fast").iterdir()) == []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_too_little_space_is_found_before_anything_is_written(tmp_path, path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=4_000))
        patch.setattr(os, "pwrite", None)
        with pytest.raises(DataError, match=r"has 4 kB free, but the jets of data.train_file need 2\d.\d kB"):
            Staging(tmp_path / "fast").pack(source_of(path), None)
    assert list((tmp_path / "fast").iterdir()) == []


def test_trainings_share_what_is_the_same(tmp_path, path):
    one, two = Staging(tmp_path / "fast"), Staging(tmp_path / "fast")
    first = one.pack(source_of(path), None)
    inode = first.folder.stat().st_ino
    second = two.pack(source_of(path), None)
    assert second.folder == first.folder
    assert second.folder.stat().st_ino == inode
    assert second.folder.stat().st_mode & 0o777 == 0o700
    others = [two.pack(source_of(path, max_count=2), None), two.pack(source_of(path, (FLAVOUR,)), None)]
    os.utime(path, ns=(0, 0))
    others.append(two.pack(source_of(path), None))
    assert len({first.folder, *(other.folder for other in others)}) == 4
    one.release()
    assert first.folder.stat().st_ino == inode
    two.release()
    assert list((tmp_path / "fast").iterdir()) == []


HAMMER = """
import random, sys, time
from pathlib import Path
from salt.data.lease import Lease

folder, seed = Path(sys.argv[1]), int(sys.argv[2])
rng = random.Random(seed)

def build(path):
    assert not list(path.iterdir())
    for i in range(5):
        (path / str(i)).write_text("content")
        time.sleep(0.002 * rng.random())

for turn in range(60):
    lease = Lease(folder, rng.choice(("x_a", "x_b")))
    lease.acquire(build)
    time.sleep(0.005 * rng.random())
    assert sorted(p.name for p in lease.path.iterdir()) == list("01234"), turn
    if turn % 3 == seed % 3:
        for name in ("x_a", "x_b"):
            Lease(folder, name).discard_leftover()
            Lease(folder, name).is_held()
        assert all((lease.path / str(i)).read_text() == "content" for i in range(5)), turn
    lease.release()
"""


def test_many_at_once_see_only_whole_folders(tmp_path):
    crowd = [subprocess.Popen([sys.executable, "-c", HAMMER, str(tmp_path), str(i)]) for i in range(4)]
    assert [process.wait(60) for process in crowd] == [0] * 4
    assert list(tmp_path.iterdir()) == []


SLOW = """
import sys, time
from pathlib import Path
from salt.data import build
from salt.data import source as source_module
from salt.data.source import Source
from salt.data.staging import Staging
from salt.data.structured import StructuredReader
from salt.inputs import Input

class Slow(StructuredReader):
    def read(self, *arguments):
        time.sleep(0.05)
        return super().read(*arguments)

build.RANGE_JETS = source_module.BLOCK_ROWS = 10
source = Source("data.train_file", [Slow(Path(sys.argv[1]), {})], {"jets": Input(["pt"])}, ())
staging = Staging(Path(sys.argv[2]))
store = staging.pack(source, None)
time.sleep(60)
"""


def until(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it does not happen")


def family(process):
    """The process and its children that are still there."""
    found = subprocess.run(["ps", "-eo", "pid,pgid,stat"], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in found.splitlines()[1:]]
    return [pid for pid, group, state in rows if int(group) == process.pid and not state.startswith("Z")]


@pytest.mark.parametrize(
    ("number", "packing"),
    [(signal.SIGINT, True), (signal.SIGTERM, True), (signal.SIGKILL, True), (signal.SIGKILL, False)],
)
def test_an_end_in_the_middle(tmp_path, path, number, packing):
    folder = tmp_path / "fast"
    with (tmp_path / "errors").open("w") as errors:
        command = [sys.executable, "-c", SLOW, str(path), str(folder)]
        process = subprocess.Popen(command, start_new_session=True, stderr=errors)
    try:
        if packing:
            until(lambda: list(folder.glob("salt_*.part/0_values")))
        else:
            until(lambda: [p for p in folder.glob("salt_*") if not p.suffix])
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        process.wait(30)
        until(lambda: not family(process))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert (tmp_path / "errors").read_text().count("Traceback") == (number == signal.SIGINT)
    if number == signal.SIGKILL:
        assert len(list(folder.iterdir())) == 2
        staging = Staging(folder)
        store = staging.pack(source_of(path, (FLAVOUR,)), None)
        assert {p.name.removesuffix(".lock") for p in folder.iterdir()} == {store.folder.name}
        staging.release()
    else:
        assert list(folder.iterdir()) == []


def test_a_lock_that_was_removed_is_worth_nothing(tmp_path, monkeypatch):
    def build_locked(folder):
        assert (tmp_path / "x_a.lock").exists()

    def lock_too_late(descriptor, kind):
        if turns:
            turns.pop().release()
        return locked(descriptor, kind)

    locked, last = lease._locked, Lease(tmp_path, "x_a")
    last.acquire(build_locked)
    turns = [last]
    monkeypatch.setattr(lease, "_locked", lock_too_late)
    late = Lease(tmp_path, "x_a")
    late.acquire(build_locked)
    assert not turns
    late.release()
    assert list(tmp_path.iterdir()) == []


def test_a_leftover_is_not_trusted(tmp_path):
    def build_again(folder):
        (folder / "new").touch()

    (tmp_path / "x_a").mkdir()
    (tmp_path / "x_a" / "old").touch()
    (tmp_path / "x_a.part").mkdir()
    mine = Lease(tmp_path, "x_a")
    mine.acquire(build_again)
    assert [p.name for p in mine.path.iterdir()] == ["new"]
    mine.release()
    assert list(tmp_path.iterdir()) == []


def test_copies_are_the_files(tmp_path, monkeypatch):
    monkeypatch.setattr(copying, "PIECE_BYTES", 1000)
    (tmp_path / "b").mkdir()
    paths = [tmp_path / "a.h5", tmp_path / "b" / "a.h5"]
    for i, path in enumerate(paths):
        write_structured(path, make_jets(50, seed=i))
    staging = Staging(tmp_path / "fast")
    copies = staging.copy({"train": paths})
    assert [p.read_bytes() for p in copies["train"]] == [p.read_bytes() for p in paths]
    staging.release()
    assert list((tmp_path / "fast").iterdir()) == []
