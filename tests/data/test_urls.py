"""Files on other machines give what the same files here do."""

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pytest
from files import CLASSES, INPUTS, TARGETS, make_jets, write_structured, write_umami
from range_server import nginx, served

from salt.data.datamodule import JetDataModule
from salt.data.formats import open_reader
from salt.data.loader import StepLoader
from salt.data.orders import Blocks
from salt.data.paths import describe_file, resolve
from salt.data.source import Source
from salt.errors import ConfigError, DataError
from salt.main import main

SCALES = {
    "jets": {"pt": (100.0, 50.0), "eta": (0.0, 1.0)},
    "tracks": {"d0": (0.0, 1.0), "z0": (1.0, 2.0), "dphi": (2.0, 3.0)},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two files of several blocks, one without chunks, one of the umami format, one whose data lie in another."""
    found = tmp_path_factory.mktemp("jets")
    for seed, name in enumerate(("train_1.h5", "train_2.h5", "val.h5")):
        write_structured(found / name, make_jets(1700, seed=seed, first_event=10_000 * seed), chunk=100)
    plain = make_jets(450, seed=7)
    with h5py.File(found / "plain.h5", "w") as file:
        for name, table in plain.items():
            file[name] = table
        file["jets"].attrs["flavour_label"] = list(CLASSES)
    tables = make_jets(450, seed=8)
    tables["tracks"] = np.where(tables["tracks"]["valid"], tables["tracks"], np.zeros((), tables["tracks"].dtype))
    write_umami(found / "umami.h5", tables, SCALES)
    with h5py.File(found / "linked.h5", "w") as file:
        file["jets"] = h5py.ExternalLink("val.h5", "jets")
    (found / "norm.yaml").write_text(
        "jets: {pt: {mean: 110, std: 52}, eta: {mean: 0, std: 1.4}}\n"
        "tracks: {d0: {mean: 0, std: 1}, z0: {mean: 1, std: 2}, dphi: {mean: 2, std: 3}}\n"
    )
    (found / "classes.yaml").write_text("jets: {flavour_label: [1.0, 2.0, 3.0]}\n")
    return found


@pytest.fixture(params=["starlette", "nginx"])
def url(request, folder, tmp_path):
    if request.param == "starlette":
        with served(folder) as server:
            yield server.url
        return
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    with nginx(folder, tmp_path) as found:
        yield found


def batches(base: str, train: str = "train_1.h5", **options):
    data = JetDataModule(INPUTS, f"{base}/{train}", f"{base}/val.h5", batch_size=90, num_workers=0, **options)
    data.bind(TARGETS, seed=5)
    data.setup("fit")
    loaders = (data.train_dataloader(), data.val_dataloader())
    found = [contents(batch) for loader in loaders for batch in loader]
    data.teardown("fit")
    return found


def contents(batch) -> list[bytes]:
    tracks = batch.constituents["tracks"]
    tensors = [batch.rows, batch.jets, tracks.values, tracks.offsets, *(batch.labels[t] for t in TARGETS)]
    return [tensor.numpy().tobytes() for tensor in tensors]


def test_batches_are_those_of_the_files_here(folder, url):
    options = {"norm_dict": "norm.yaml", "class_dict": "classes.yaml"}
    here, there = (batches(base, "train_*.h5", **with_base(base, options)) for base in (str(folder), url))
    assert len(here) == 38 + 19
    assert there == here


def with_base(base: str, options: dict[str, str]) -> dict[str, str]:
    return {key: f"{base}/{name}" for key, name in options.items()}


@pytest.mark.parametrize("name", ["plain.h5", "umami.h5"])
def test_other_layouts_are_read_by_ranges_too(folder, name):
    with served(folder) as server:
        (place,) = resolve(f"{server.url}/{name}", "data.train_file")
        there, here = open_reader(place, {}), open_reader(folder / name, {})
        assert there.layouts() == here.layouts()
        before = server.count
        for start in (0, 200):
            for dataset in ("jets", "tracks"):
                fields = list(here.layouts()[dataset].fields)
                a, b = (r.read(dataset, start, start + 150, fields) for r in (here, there))
                assert a.tobytes() == b.tobytes()
        assert server.count - before < 60
        there.close()


def test_rows_that_are_read_together_travel_together(folder):
    with served(folder) as server:
        places = resolve(f"{server.url}/train_1.h5", "data.train_file")
        source = Source("data.train_file", [open_reader(places[0], {})], INPUTS, TARGETS)
        source.pack(np.arange(3))
        before = server.count
        source.pack(np.arange(500, 1500))
        assert server.count - before <= 4  # Of each dataset, and what HDF5 must know to find their chunks.
        source.close()


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_read_by_themselves(folder, context):
    found = []
    with served(folder) as server:
        for base in (str(folder), server.url):
            readers = [open_reader(place, {}) for place in resolve(f"{base}/train_*.h5", "data.train_file")]
            source = Source("data.train_file", readers, INPUTS, TARGETS)
            order = Blocks.of(source.block_edges(), 90, 3)
            source.pack(np.arange(5))  # Open before the workers begin.
            loader = StepLoader(source, order, lambda: 0, num_workers=2, context=context)
            found.append([contents(batch) for batch in loader])
            del loader
            source.close()
    assert found[0] == found[1]


@pytest.mark.parametrize("stage", ["copy", "packed"])
def test_remote_files_are_staged(folder, tmp_path, stage):
    with served(folder) as server:
        staged = batches(server.url, move_files_temp=str(tmp_path / "fast"), stage=stage)
    assert staged == batches(str(folder))
    assert list((tmp_path / "fast").iterdir()) == []


def test_a_server_that_fails_and_starts_anew_is_waited_for(folder):
    expected = batches(str(folder))[:19]
    with served(folder) as server:
        data = JetDataModule(INPUTS, f"{server.url}/train_1.h5", batch_size=90, num_workers=0)
        data.bind(TARGETS, seed=5)
        data.setup("fit")
        server.failing = 3
        found = []
        for number, batch in enumerate(data.train_dataloader()):
            found.append(contents(batch))
            if number == 4:
                server.stop()
                server.start()
        data.teardown("fit")
    assert found == expected


def test_a_file_that_changes_is_not_read_on(folder, tmp_path):
    shutil.copy(folder / "train_1.h5", tmp_path / "a.h5")
    with served(tmp_path) as server:
        source = Source(
            "data.train_file",
            [open_reader(resolve(f"{server.url}/a.h5", "data.train_file")[0], {})],
            INPUTS,
            TARGETS,
        )
        source.pack(np.arange(10))
        shutil.copy(folder / "train_2.h5", tmp_path / "a.h5")
        with pytest.raises(
            DataError, match=r"a\.h5 is another file than at the start: its (ETag|size) was .*, now it is"
        ):
            source.pack(np.arange(800, 900))
        source.close()


@pytest.mark.parametrize(
    ("option", "kind", "words"),
    [
        ("{url}/tain_1.h5", DataError, r"{url}/tain_1\.h5 does not exist"),
        ("{url}/tain_*.h5", DataError, r"data\.train_file: .*'tain_\*\.h5'.*in {url}.*train_1\.h5"),
        ("http://127.0.0.1:1/a.h5", DataError, r"data\.train_file: http://127\.0\.0\.1:1/a\.h5 is out of reach"),
        ("htps://host/a.h5", ConfigError, r"data\.train_file: .*'htps'.*https"),
        ("{url}/norm.yaml", DataError, r"norm\.yaml is not a complete HDF5 file"),
        ("{url}/linked.h5", DataError, r"linked\.h5: its data lie in other files, such as val\.h5"),
    ],
)
def test_what_cannot_be_read_is_named(folder, option, kind, words):
    with served(folder) as server, pytest.raises(kind, match=words.replace("{url}", server.url)):
        [open_reader(place, {}) for place in resolve(option.replace("{url}", server.url), "data.train_file")]


@pytest.mark.parametrize(("url", "extra"), [("s3://jets/a.h5", "s3"), ("root://host//jets/a.h5", "xrootd")])
def test_a_missing_package_is_named(url, extra):
    if find_spec("s3fs" if extra == "s3" else "fsspec_xrootd"):
        pytest.skip("the package is there")
    with pytest.raises(ConfigError, match=rf"data\.train_file: .* needs a further package .*'salt-tagger\[{extra}\]'"):
        resolve(url, "data.train_file")


def test_a_server_without_ranges_is_refused(folder):
    with served(folder, ranges=False) as server, pytest.raises(DataError, match="sends the whole file where a part"):
        open_reader(resolve(f"{server.url}/train_1.h5", "data.train_file")[0], {})


def test_passwords_are_not_shown(folder):
    with served(folder) as server:
        (place,) = resolve(f"http://me:secret@127.0.0.1:{server.port}/val.h5?signature=secret", "data.val_file")
        told = describe_file(place, "structured", 1700)
    assert "secret" not in f"{place} {told}"
    assert told == {**describe_file(folder / "val.h5", "structured", 1700), "path": f"{server.url}/val.h5"}


def test_commands_take_urls(folder, tmp_path):
    with served(folder) as server:
        for name, files in (("here", folder), ("there", server.url)):
            assert main(["norm", f"{files}/train_*.h5", "--out", str(tmp_path / name)]) == 0
    texts = [(tmp_path / name / "norm_dict.yaml").read_text() for name in ("here", "there")]
    assert texts[0] == texts[1]


def test_a_process_ends_well_with_a_file_open(folder):
    with served(folder) as server:
        code = f"""
from salt.data.formats import open_reader
from salt.data.paths import resolve
reader = open_reader(resolve('{server.url}/val.h5', 'KEY')[0], {{}})
reader.read('jets', 0, 5, ['pt'])
"""
        assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
