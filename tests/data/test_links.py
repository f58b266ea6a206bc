"""Files whose data lie in others are read right, or not at all: HDF5 itself would read zeros."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from files import FLAVOUR, INPUTS, make_jets, write_structured

from salt.data.datamodule import JetDataModule
from salt.data.links import linked_files
from salt.errors import DataError

PARTS = ("a.h5", "b.h5")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files, and `all.h5`, which has the jets of both."""
    for seed, name in enumerate(PARTS):
        write_structured(tmp_path / name, make_jets(60, seed=seed))
    with h5py.File(tmp_path / "all.h5", "w") as file, h5py.File(tmp_path / "a.h5") as first:
        for name in ("jets", "tracks"):
            shape, dtype = first[name].shape, first[name].dtype
            layout = h5py.VirtualLayout((120, *shape[1:]), dtype)
            for i, part in enumerate(PARTS):
                layout[60 * i : 60 * i + 60] = h5py.VirtualSource(part, name, shape, dtype)
            file.create_virtual_dataset(name, layout).attrs.update(first[name].attrs)
    return tmp_path


def batches(folder: Path, name: str, **options):
    data = JetDataModule(INPUTS, str(folder / name), batch_size=16, num_workers=0, shuffle="weak", **options)
    data.bind((FLAVOUR,), seed=5)
    data.setup("fit")
    found = [(b.rows, b.jets, b.labels[FLAVOUR], b.constituents["tracks"].values) for b in data.train_dataloader()]
    data.teardown("fit")
    return found


@pytest.mark.parametrize("stage", [None, "packed"])
def test_a_virtual_file_is_read_as_its_parts(folder, stage):
    staged = {"move_files_temp": str(folder / "fast"), "stage": stage} if stage else {}
    for one, other in zip(batches(folder, "all.h5", **staged), batches(folder, "[ab].h5"), strict=True):
        for x, y in zip(one, other, strict=True):
            assert x.numpy().tobytes() == y.numpy().tobytes()


def test_a_virtual_file_is_not_copied(folder):
    with pytest.raises(
        DataError, match=r"the data of .*all\.h5 lie in .*a\.h5 and 1 more, so a copy .*\ngive --data\.st"
    ):
        batches(folder, "all.h5", move_files_temp=str(folder / "fast"))
    assert list((folder / "fast").iterdir()) == []


def test_what_was_packed_of_a_part_that_changed_is_not_used(folder, tmp_path):
    options = {"move_files_temp": str(folder / "fast"), "stage": "packed"}
    data = JetDataModule(INPUTS, str(folder / "all.h5"), batch_size=16, num_workers=0, shuffle="weak", **options)
    data.bind((FLAVOUR,), seed=5)
    data.setup("fit")
    with h5py.File(folder / "b.h5", "r+") as file:
        jets = file["jets"][:]
        jets["pt"] += 1
        file["jets"][:] = jets
    pt = np.concatenate([b[1][:, 0] for b in batches(folder, "all.h5", **options)])
    assert np.sort(pt).tobytes() == np.sort(np.concatenate([b[1][:, 0] for b in batches(folder, "[ab].h5")])).tobytes()
    data.teardown("fit")
    assert list((folder / "fast").iterdir()) == []


def remove(folder: Path) -> None:
    (folder / "b.h5").unlink()


def rename(folder: Path) -> None:
    with h5py.File(folder / "b.h5", "r+") as file:
        file.move("tracks", "other")


def damage(folder: Path) -> None:
    (folder / "b.h5").write_bytes((folder / "b.h5").read_bytes()[:3000])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (remove, r"all\.h5: its data lie in other files, of which b\.h5 is missing"),
        (rename, r"all\.h5: its data lie in 'tracks' of .*b\.h5, which is not there"),
        (damage, r"b\.h5 is needed by .*all\.h5, but is not a complete HDF5 file"),
    ],
)
def test_missing_data_are_an_error(folder, change, problem):
    change(folder)
    with pytest.raises(DataError, match=problem):
        batches(folder, "all.h5")


def test_other_kinds_of_links(folder, monkeypatch):
    (folder / "raw").write_bytes(np.arange(3).tobytes())
    (folder / "below").mkdir()
    (folder / "elsewhere").mkdir()
    with h5py.File(folder / "below" / "links.h5", "w") as file:
        file["own"] = 1
        file["soft"] = h5py.SoftLink("own")
        file["dangling"] = h5py.SoftLink("nothing")
        file["group/jets"] = h5py.ExternalLink("../a.h5", "jets")
        file.create_dataset("raw", (3,), "i8", external=[("raw", 0, 24)])
        for name, source in (("same", "."), ("moved", "/nowhere/b.h5")):
            layout = h5py.VirtualLayout((1,), "i8")
            layout[:] = h5py.VirtualSource(source, "jets" if source != "." else "own", (1,), "i8")
            file.create_virtual_dataset(name, layout)
    (folder / "b.h5").rename(folder / "elsewhere" / "b.h5")
    (folder / "raw").rename(folder / "elsewhere" / "raw")
    path = folder / "below" / "links.h5"
    with pytest.raises(DataError, match=r"of which (raw|/nowhere/b\.h5) is missing"):
        linked_files(path)
    monkeypatch.chdir(folder / "elsewhere")
    assert {p.resolve() for p in linked_files(path)} == {
        folder / "a.h5",
        folder / "elsewhere" / "b.h5",
        folder / "elsewhere" / "raw",
    }
    assert linked_files(folder / "a.h5") == ()
