"""Copies are what was read, or are not there; storage that cannot be used is said, or done without."""

import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from files import FLAVOUR, INPUTS, make_jets, write_structured

from salt.data import copying, staging
from salt.data.datamodule import JetDataModule
from salt.data.space import StorageError, file_system, in_words, memory_left
from salt.data.staged import clean_staged, find_staged
from salt.data.staging import Staging
from salt.errors import DataError


@pytest.fixture
def fast(tmp_path, monkeypatch):
    monkeypatch.setenv("FAST_STORAGE", str(tmp_path))
    return tmp_path / "fast"


@pytest.fixture
def train(tmp_path):
    return write_structured(tmp_path / "train.h5", make_jets(200))


def copied(stage, **parts):
    return {part: paths[0] for part, paths in stage.copy({part: [path] for part, path in parts.items()}).items()}


def flipped(descriptor, data, place, write=os.pwrite):
    return write(descriptor, bytes([data[0] ^ 1]) + bytes(data[1:]), place)


def test_storage_that_gives_back_something_else_is_found_out(fast, train, monkeypatch):
    monkeypatch.setattr(os, "pwrite", flipped)
    with pytest.raises(StorageError, match=r"fast does not give back what was written .*train\.h5"):
        copied(Staging(fast), train=train)
    assert list(fast.iterdir()) == []


def test_a_file_that_was_written_anew_is_copied_anew(fast, train):
    one, two = Staging(fast), Staging(fast)
    first = copied(one, train=train)["train"]
    assert copied(two, train=train)["train"] == first
    kept, times = first.read_bytes(), train.stat()
    # The same head, size and time, but other values.
    with train.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(bytes([kept[-1] ^ 1]))
    os.utime(train, ns=(times.st_atime_ns, times.st_mtime_ns))
    second = copied(two, train=train)["train"]
    assert second.read_bytes() == train.read_bytes() != kept
    assert first.read_bytes() == kept
    for one_of_them in (one, two):
        one_of_them.release()
    assert list(fast.iterdir()) == []


def test_who_waits_for_a_copy_needs_no_space_for_it(fast, train, monkeypatch, caplog):
    def slowly(paths, folder):
        begun.set()
        assert go.wait(60)
        copy_files(paths, folder)

    caplog.set_level("INFO", "salt")
    copy_files, begun, go = copying.copy_files, threading.Event(), threading.Event()
    monkeypatch.setattr(staging, "copy_files", slowly)
    one, two = Staging(fast), Staging(fast)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(copied, one, train=train)
        assert begun.wait(60)
        usage = shutil.disk_usage(fast)
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=0))
        second = pool.submit(copied, two, train=train)
        while not second.done() and "waiting for another training" not in caplog.text:
            time.sleep(0.01)
        go.set()
        assert second.result() == first.result()
    for each in (one, two):
        each.release()
    assert list(fast.iterdir()) == []


@pytest.mark.parametrize("happens", ["written", "shorter", "gone"])
def test_a_file_that_is_written_meanwhile_is_not_staged(fast, train, monkeypatch, happens):
    def meddle(*arguments):
        reserve(*arguments)
        if happens == "written":
            with train.open("r+b") as file:
                file.write(b"x")
        elif happens == "shorter":
            os.truncate(train, 100)
        else:
            train.unlink()

    reserve = copying._reserve
    monkeypatch.setattr(copying, "_reserve", meddle)
    words = {
        "written": "was written while it was staged",
        "shorter": "became shorter",
        "gone": "cannot be read: No such",
    }
    with pytest.raises(DataError, match=rf"train\.h5 {words[happens]}") as error:
        copied(Staging(fast), train=train)
    assert not isinstance(error.value, StorageError)
    assert list(fast.iterdir()) == []


def test_trainings_share_the_part_that_they_have_in_common(fast, train, tmp_path):
    others = [write_structured(tmp_path / f"val{i}.h5", make_jets(50, seed=i)) for i in range(2)]
    one, two = Staging(fast), Staging(fast)
    first, second = (copied(s, train=train, val=val) for s, val in zip((one, two), others, strict=True))
    assert first["train"] == second["train"]
    assert first["val"] != second["val"]
    one.release()
    assert second["train"].read_bytes() == train.read_bytes()
    assert not first["val"].exists()
    two.release()
    assert list(fast.iterdir()) == []


def test_a_shared_copy_that_a_cleaner_has_damaged_is_not_used(fast, train):
    one, two = Staging(fast), Staging(fast)
    copy = copied(one, train=train)["train"]
    os.truncate(copy, 1000)
    with pytest.raises(StorageError, match=r"0_train\.h5 is not as it was written, and a training uses it"):
        copied(two, train=train)
    copy.unlink()
    with pytest.raises(StorageError, match=r"0_train\.h5 is not as it was written"):
        copied(two, train=train)
    one.release()
    assert copied(two, train=train)["train"].read_bytes() == train.read_bytes()
    two.release()
    assert list(fast.iterdir()) == []


ENDING = """
import os, sys
from pathlib import Path
from salt.data.staging import Staging
from salt.files import discard_unfinished

Staging(Path(sys.argv[1])).copy({"train": [Path(sys.argv[2])]})
if sys.argv[3] == "at once":
    discard_unfinished()
    os._exit(1)
"""


@pytest.mark.parametrize("how", ["at its end", "at once"])
def test_a_process_that_gives_nothing_back_leaves_nothing(fast, train, how):
    subprocess.run([sys.executable, "-c", ENDING, str(fast), str(train), how], check=how != "at once")
    assert list(fast.iterdir()) == []


def test_only_what_was_staged_is_ever_removed(fast, train):
    user = os.geteuid()
    mine = [
        fast / f"salt_{user}_{name}" for name in ("notes", "0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF")
    ]
    mine.append(fast / f"salt_{user + 1}_0123456789abcdef")
    for folder in mine:
        folder.mkdir(parents=True)
    leftover = fast / f"salt_{user}_0123456789abcdef"
    leftover.mkdir()
    (leftover / "x").write_bytes(b"x" * 10_000)
    stage = Staging(fast)
    copy = copied(stage, train=train)["train"]
    assert not leftover.exists()
    leftover.with_suffix(".part").mkdir()
    (kept,) = [one for one in find_staged(fast) if one.held]
    assert (kept.path, kept.users) == (copy.parent, (os.getpid(),))
    assert kept.contents.files == (str(train),)
    assert kept.size >= train.stat().st_size
    assert [one.path for one in clean_staged(fast)] == [leftover]
    assert copy.is_file()
    stage.release()
    assert sorted(fast.iterdir()) == sorted(mine)


def open_data(fast, train, stage, **options):
    moved = {"move_files_temp": "$FAST_STORAGE/fast", "stage": stage} if stage else {}
    data = JetDataModule(INPUTS, str(train), batch_size=16, num_workers=0, **moved, **options)
    data.bind((FLAVOUR,), seed=5)
    data.setup("fit")
    return data


@pytest.mark.parametrize("stage", ["copy", "packed"])
@pytest.mark.parametrize("trouble", ["little space", "no folder", "disk full"])
def test_optional_storage_is_done_without(fast, train, monkeypatch, caplog, stage, trouble):
    if trouble == "little space":
        usage = shutil.disk_usage(train.parent)
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1000))
        words = "has 1 kB free, but"
    elif trouble == "no folder":
        fast.write_text("a file")
        words = "cannot be used: File exists"
    else:
        full = OSError(28, "No space left on device")
        monkeypatch.setattr(
            staging, "copy_files" if stage == "copy" else "build_store", lambda *_: (_ for _ in ()).throw(full)
        )
        words = "has no space left: No space left on device"
    with pytest.raises(StorageError, match=words):
        open_data(fast, train, stage)
    data = open_data(fast, train, stage, stage_optional=True)
    assert [r.message for r in caplog.records if words in r.message and r.message.endswith("read where they are")]
    expected = open_data(fast, train, None).train_dataloader()
    assert [b.rows.tolist() for b in data.train_dataloader()] == [b.rows.tolist() for b in expected]
    assert trouble == "no folder" or list(fast.iterdir()) == []


def test_memory_that_is_left_to_a_job(tmp_path):
    process, groups = tmp_path / "proc", tmp_path / "cgroup"

    def write(**files):
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    assert memory_left(process, groups) is None
    write(proc__meminfo="MemTotal: 100 kB\nMemAvailable: 90 kB\n")
    assert memory_left(process, groups) == 90 * 1024
    # Version 2: the step of a job has no limit, the job has one; a part of what it uses is a cache of files.
    write(proc__self__cgroup="0::/job/step\n", cgroup__job__step__memory_dot_max="max\n")
    write(cgroup__job__memory_dot_max="50000\n", cgroup__job__memory_dot_current="30000\n")
    write(cgroup__job__memory_dot_stat="anon 5000\nfile 25000\nshmem 20000\n")
    assert memory_left(process, groups) == 50_000 - 30_000 + (25_000 - 20_000)
    # Version 1.
    write(proc__self__cgroup="4:cpu,memory:/job\n1:name=systemd:/\n0::/\n")
    write(
        cgroup__memory__job__memory_dot_limit_in_bytes="4000\n", cgroup__memory__job__memory_dot_usage_in_bytes="5000\n"
    )
    assert memory_left(process, groups) == 0


def test_what_a_folder_lies_on(tmp_path):
    mounts = tmp_path / "mounts"
    (tmp_path / "fast" / "me").mkdir(parents=True)
    (tmp_path / "fastest").mkdir()
    mounts.write_text(f"a / ext4 rw 0 0\nb {tmp_path}/fast xfs rw 0 0\nc {tmp_path}/fast tmpfs rw 0 0\n")
    found = [file_system(tmp_path / name, mounts) for name in ("fast/me", "fast", "fastest")]
    assert found == ["tmpfs", "tmpfs", "ext4"]
    assert file_system(tmp_path, Path("/nowhere")) == ""


def test_sizes_in_words():
    sizes = (0, 999, 999.6, 1500, 999_499, 999_500, 1.234e9, 5e15, 5e18)
    words = "0 bytes, 999 bytes, 1 kB, 1.5 kB, 999 kB, 1 MB, 1.23 GB, 5 PB, 5e+03 PB"
    assert ", ".join(map(in_words, sizes)) == words
