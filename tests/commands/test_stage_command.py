"""`main stage`, on what other processes hold."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from salt.main import main

HOLD = """
import sys, time
from pathlib import Path
from salt.data import staging

if sys.argv[3] == "slow":
    staging.write_contents = lambda *_: (print("in the making", flush=True), time.sleep(60))
stage = staging.Staging(Path(sys.argv[1]))
stage.copy({"train": [Path(sys.argv[2])], "val": [Path(sys.argv[2]).with_name(n) for n in ("a.h5", "b.h5")]})
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def fast(tmp_path: Path) -> Path:
    return tmp_path / "fast"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    for name in ("train.h5", "a.h5", "b.h5"):
        (tmp_path / name).write_bytes(os.urandom(100_000))
    return tmp_path / "train.h5"


@pytest.fixture
def hold(fast: Path, file: Path) -> Iterator[object]:
    processes = []

    def start(how: str = "") -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLD, str(fast), str(file), how]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert processes[-1].stdout is not None
        assert processes[-1].stdout.readline()
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_what_is_staged_and_by_whom_and_how_it_goes(fast, file, hold, capsys):
    def stage(verb: str) -> str:
        assert main(["stage", verb, str(fast)]) == 0
        return capsys.readouterr().out

    one, two = hold(), hold()
    head, *lines = stage("list").splitlines()
    assert re.fullmatch(rf"2 staged in {fast}, 3\d\d kB", head)
    used = r"used by 2 processes \((\d+) (\d+)\), made 2\S+ \S+"
    for size, source in ((r"1\d\d", file), (r"2\d\d", f"{file.with_name('a.h5')} and 1 more")):
        pattern = re.compile(rf"  salt_\d+_[0-9a-f]{{16}}: copy, {size} kB, {used}, of {source}")
        (match,) = filter(None, map(pattern.fullmatch, lines))
        assert set(match.groups()) == {str(one.pid), str(two.pid)}
    one.kill()
    one.wait()
    assert re.match(
        rf"nothing to remove in .*\nleft 2 in use\n .* used by 1 process \({two.pid}\), made", stage("clean")
    )
    assert next(fast.glob("*/0_train.h5")).read_bytes() == file.read_bytes()
    two.kill()
    two.wait()
    assert stage("list").count("used by nobody") == 2
    assert re.fullmatch(r"removed 2, 3\d\d kB\n(  salt_.* copy, .*\n){2}", stage("clean"))
    assert list(fast.iterdir()) == []
    assert stage("list") == f"nothing is staged in {fast}\n"
    assert stage("clean") == f"nothing to remove in {fast}\n"


def test_what_is_not_complete(fast, hold, capsys):
    maker = hold("slow")
    assert main(["stage", "list", str(fast)]) == 0
    assert re.search(
        rf": being made or removed, 1\d\d kB, used by 1 process \({maker.pid}\)\n", capsys.readouterr().out
    )
    maker.kill()
    maker.wait()
    assert main(["stage", "clean", str(fast)]) == 0
    assert re.match(r"removed 1, 1\d\d kB\n  salt_\S+: incomplete, 1\d\d kB, used by nobody\n", capsys.readouterr().out)
    assert list(fast.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["list"], 2, "main stage: which folder? name the one that trainings get by data.move_files_temp"),
        ([], 2, "main stage: list or clean?"),
        (["lst", "."], 2, "unknown verb 'lst'; nearest: list"),
        (["list", "$NOT_SET/x"], 2, "data.move_files_temp is $NOT_SET/x, but not all of its variables are set here"),
        (["list", "nowhere"], 1, "there is no folder nowhere"),
        (["list", ".", "--dry"], 2, "main stage does not know '--dry'"),
        (["list", "--data.move_files_temp"], 2, "expected one argument"),
    ],
)
def test_mistakes(words, code, problem, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["stage", *words]) == code
    assert problem in capsys.readouterr().err


def test_the_folder_may_come_from_where_trainings_get_it(capsys, monkeypatch, tmp_path):
    named = {"words": tmp_path / "words", "environment": tmp_path / "environment"}
    for folder in named.values():
        folder.mkdir()
    monkeypatch.setenv("FAST", str(tmp_path))
    monkeypatch.setenv("PL_DATA__MOVE_FILES_TEMP", "$FAST/environment")
    for words, folder in ([], "environment"), (["--data.move_files_temp", str(named["words"])], "words"):
        assert main(["stage", "list", *words]) == 0
        assert capsys.readouterr().out == f"nothing is staged in {named[folder]}\n"


def test_it_is_quick_to_start(tmp_path):
    begun = (
        "import sys; from salt.main import main; main(['stage', 'list', '.']); "
        "print({'torch', 'numpy', 'h5py'} & {*sys.modules})"
    )
    result = subprocess.run([sys.executable, "-c", begun], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout == "nothing is staged in .\nset()\n"
