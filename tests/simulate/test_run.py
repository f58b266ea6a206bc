"""Whole simulations: files, processes, interruptions, full disks."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from salt.commands.simulate import run
from salt.errors import ConfigError, DataError, SaltError
from salt.simulate.fields import FIELDS
from salt.simulate.files import inputs
from salt.sink import Sink

NAMES = {"train.h5", "val.h5", "test.h5", "norm_dict.yaml", "class_dict.yaml"}


def small(folder, *more):
    return ["--out", str(folder), "--num_train", "330", "--num_val", "10", "--num_test", "20", *more]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jets") / "new" / "folder"
    run(small(folder, "--processes", "1"))
    return folder


def test_files_are_complete_and_describe_themselves(made):
    assert {p.name for p in made.iterdir()} == NAMES
    events, momenta = [], []
    for split, count in (("train", 330), ("val", 10), ("test", 20)):
        with h5py.File(made / f"{split}.h5") as file:
            assert file["jets"].shape == (count,)
            assert file["tracks"].shape == file["flows"].shape == (count, 40)
            assert list(file["jets"].attrs["flavour_label"]) == ["bjets", "cjets", "ujets"]
            assert file["tracks"].chunks[0] == 100
            assert json.loads(file.attrs["options"])["seed"] == file.attrs["seed"] == 1
            assert set(json.loads(file.attrs["units"])) == set(FIELDS)
            events.append(set(file["jets"]["eventNumber"].tolist()))
            momenta.append(set(file["jets"]["pt"].tolist()))
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert not events[a] & events[b]
        assert not momenta[a] & momenta[b]


def test_norm_dict_equals_numpy_over_the_valid_constituents(made):
    norms = yaml.safe_load((made / "norm_dict.yaml").read_text())
    classes = yaml.safe_load((made / "class_dict.yaml").read_text())
    with h5py.File(made / "train.h5") as file:
        for name in FIELDS:
            values = file[name][:] if name == "jets" else file[name][:][file[name]["valid"]]
            assert list(norms[name]) == inputs(name)
            for variable, scale in norms[name].items():
                column = values[variable].astype(np.float64)
                assert scale["mean"] == pytest.approx(column.mean(), rel=1e-6, abs=1e-12)
                assert scale["std"] == pytest.approx(column.std(), rel=1e-6)
        counts = np.bincount(file["jets"]["flavour_label"])
    np.testing.assert_allclose(classes["jets"]["flavour_label"], counts.sum() / 3 / counts)


def test_the_number_of_processes_changes_no_byte(made, tmp_path):
    run(small(tmp_path, "--processes", "3"))
    for name in NAMES:
        assert (tmp_path / name).read_bytes() == (made / name).read_bytes(), name


def test_files_that_are_there_are_only_replaced_on_request(made, tmp_path):
    (tmp_path / "val.h5").write_text("precious")
    with pytest.raises(ConfigError, match=r"already holds val\.h5") as caught:
        run(small(tmp_path))
    assert len(str(caught.value).splitlines()) <= 3
    run(["--out", str(tmp_path), "--num_train", "0", "--num_val", "1", "--num_test", "0", "--overwrite", "true"])
    assert {p.name for p in tmp_path.iterdir()} == {"val.h5"}
    with h5py.File(tmp_path / "val.h5") as one, h5py.File(made / "val.h5") as ten:
        assert one["jets"][0] == ten["jets"][0]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--num_train", "-1"], "num_train is -1"),
        (["--processes", "0"], "processes is 0"),
        (["--classes", "[bjet, ujets]"], "nearest: bjets"),
        (["--track_efficiency", "1.2"], "track_efficiency is 1.2"),
        (["--pileup", "-3"], "pileup is -3"),
        (["--num_trian", "5"], r"unknown option 'num_trian' of main simulate; nearest: num_train"),
        (["--num_test", "five"], r'"num_test":.* Got value: five'),
        (["--process", "higgs"], "higgs.*see main simulate --help"),
    ],
)
def test_impossible_options_are_named(tmp_path, more, words):
    with pytest.raises(ConfigError, match=words):
        run(small(tmp_path / "never", *more))
    assert not (tmp_path / "never").exists()


def test_without_pythia_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pythia8mc", None)
    with pytest.raises(SaltError, match=r'pip install "salt-tagger\[simulate\]"'):
        run(small(tmp_path))


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*file/inside: Not a directory"):
        run(small(tmp_path / "file" / "inside"))


def test_a_full_disk_is_one_short_message_and_leaves_nothing(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        with pytest.raises(DataError, match=r"cannot write .*train\.h5: File too large") as caught:
            run(small(tmp_path, "--processes", "1"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(str(caught.value).splitlines()) <= 3
    assert list(tmp_path.iterdir()) == []


def test_sink_survives_a_full_disk_until_it_is_checked(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    sink = Sink(tmp_path / "file")
    data = np.random.default_rng(1).integers(0, 255, (2000, 20))
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with h5py.File(sink, "w") as file:
            file["data"] = data
            file.flush()
            np.testing.assert_array_equal(file["data"][:], data)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with pytest.raises(OSError, match="File too large"):
        sink.close()


def descendants(pid):
    """Processes below one, by /proc."""
    found = []
    for task in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = task.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            child = int(task.parent.name)
            found += [child, *descendants(child)]
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def working(main, folder):
    """The processes below `main`, once it has written its first jets to `folder`."""
    for _ in range(1000):
        assert main.poll() is None, main.stderr.read()
        if any(p.stat().st_size > 50_000 for p in folder.glob(".train.h5.*")):
            return descendants(main.pid)
        time.sleep(0.1)
    raise AssertionError(f"no jets after 100 s, only {list(folder.iterdir())}")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    "number", [signal.SIGINT, *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGTERM, signal.SIGKILL))]
)
def test_an_interrupted_simulation_leaves_no_file_and_no_process(tmp_path, number):
    code = "import sys; from salt.commands.simulate import run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "--out", str(tmp_path), "--num_train", "100000", "--processes", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as main:
        try:
            children = working(main, tmp_path)
            if number == signal.SIGINT:
                os.killpg(main.pid, number)  # Ctrl-C goes to the whole group
            else:
                main.send_signal(number)
            _, errors = main.communicate(timeout=60)
        finally:
            main.kill()
    if number == signal.SIGKILL:  # nobody can tidy up, but nothing has a final name
        assert not NAMES & {p.name for p in tmp_path.iterdir()}
    else:
        assert main.returncode == 130, errors
        assert "interrupted; no file was written" in errors
        assert "Traceback" not in errors
        assert list(tmp_path.iterdir()) == []
    assert len(children) >= 2
    for _ in range(150):
        if not any(alive(child) for child in children):
            break
        time.sleep(0.1)
    assert not any(alive(child) for child in children)
