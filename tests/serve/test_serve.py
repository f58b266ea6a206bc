"""What a server gives is what the files are, and nothing else."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import torch
from cli_case import SMALL_FILES
from files import INPUTS, TARGETS, make_jets, write_structured

from salt.data.datamodule import JetDataModule
from salt.data.formats import open_reader
from salt.data.loader import StepLoader
from salt.data.orders import Blocks
from salt.data.paths import resolve
from salt.data.places import Reading
from salt.data.served import TOKEN, tag_of
from salt.data.source import Source
from salt.errors import ConfigError, DataError
from salt.inputs import Input
from salt.main import main
from salt.serve.files import opened_files
from salt.serve.listen import check_token

# httpcore leaves the socket of a connection that fails to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

SECRET = "a secret of the tests"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two training files, one of validation, and one that is not served, in the present folder."""
    for seed, name in enumerate(("train_1.h5", "train_2.h5", "val.h5", "secret.h5")):
        write_structured(tmp_path / name, make_jets(1100, seed=seed, first_event=10_000 * seed), chunk=100)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(TOKEN, raising=False)
    return tmp_path


class Server:
    """``main serve`` in a process of its own."""

    def __init__(self, *words: str, **environment: str) -> None:
        self.words, self.environment = words, environment
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "salt", "serve", *self.words]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, **self.environment}
        )
        assert self.process.stdout is not None
        lines = iter(self.process.stdout.readline, "")
        line = next(line for line in lines if line.startswith("serving at "))
        self.source = line.split()[2].rstrip(";")

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=60)
        return self.process.returncode


@contextmanager
def serving(*words: str, **environment: str) -> Iterator[Server]:
    server = Server(*words, **environment)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.end(signal.SIGKILL)


FILES = ("--files.train", "train_*.h5", "--files.val", "val.h5")


def contents(batch) -> list[bytes]:
    tracks = batch.constituents["tracks"]
    tensors = [batch.rows, batch.jets, tracks.values, tracks.offsets, *(batch.labels[t] for t in TARGETS)]
    return [tensor.numpy().tobytes() for tensor in tensors]


def module(inputs=INPUTS, **options) -> JetDataModule:
    data = JetDataModule(inputs, batch_size=90, num_workers=0, **options)
    data.bind(TARGETS, seed=5)
    data.setup("fit")
    return data


def batches(**options) -> list[list[bytes]]:
    data = module(**options)
    found = [contents(batch) for loader in (data.train_dataloader(), data.val_dataloader()) for batch in loader]
    data.teardown("fit")
    return found


@pytest.mark.parametrize("bind", ["unix:jets.sock", "127.0.0.1:0"])
def test_batches_are_those_of_the_files(folder, bind):
    with serving(*FILES, "--bind", bind) as server:
        served = batches(source=server.source)
        assert server.end() == 128 + signal.SIGTERM
    assert not Path("jets.sock").exists()
    assert served == batches(train_file="train_*.h5", val_file="val.h5")


def test_workers_of_both_kinds_read_the_same(folder):
    with serving(*FILES, "--bind", "unix:jets.sock"):
        found = []
        for option, workers, context in (
            ("train_*.h5", 0, None),
            ("unix:jets.sock#train", 0, None),
            ("unix:jets.sock#train", 2, "fork"),
            ("unix:jets.sock#train", 2, "spawn"),
        ):
            readers = [open_reader(place, {}) for place in resolve(option, "data.train_file")]
            source = Source("data.train_file", readers, INPUTS, TARGETS)
            order = Blocks.of(source.block_edges(), 90, 3)
            for rank in range(2):
                loader = StepLoader(source, order, lambda: 0, rank, 2, num_workers=workers, context=context)
                found.append([contents(batch) for batch in loader])
                del loader
            source.close()
    assert found[2:] == 3 * found[:2]


def test_a_server_that_is_killed_and_starts_again_is_waited_for(folder):
    expected = batches(train_file="train_*.h5", val_file="val.h5")
    with serving(*FILES, "--bind", "unix:jets.sock") as server:
        data = module(source=server.source)
        found = []
        again = threading.Timer(1.0, server.start)
        for number, batch in enumerate(data.train_dataloader()):
            found.append(contents(batch))
            if number == 2:
                server.end(signal.SIGKILL)
                again.start()
        found += [contents(batch) for batch in data.val_dataloader()]
        again.join()
        data.teardown("fit")
    assert found == expected


@pytest.mark.parametrize(("seed", "field"), [(0, "modified"), (7, "size")])
def test_a_file_that_was_written_anew_is_refused(folder, seed, field):
    with serving(*FILES, "--bind", "unix:jets.sock") as server:
        data = module(source=server.source)
        server.end()
        write_structured(folder / "train_1.h5", make_jets(1100, seed=seed), chunk=100)
        server.start()
        with pytest.raises(DataError, match=rf"train_1\.h5 is another file than at the start: its {field} was "):
            list(data.train_dataloader())
        data.teardown("fit")


def test_what_differs_is_named(folder):
    with opened_files({"val": "val.h5"}) as files:
        (file,) = files["val"]
        told = dict(file.identity)
    assert told["rows of tracks"] == "1100 x 8"
    assert told["type of jets/eta"] == "float16"
    others = {tag_of({**told, field: "other"}) for field in told}
    assert len(others | {file.tag}) == len(told) + 1
    with serving(*FILES, "--bind", "unix:jets.sock"):
        (place,) = resolve("unix:jets.sock#val", "data.val_file")
        for field in ("size", "header", "modified", "rows of jets", "type of tracks/d0"):
            with pytest.raises(DataError, match=f"its {field} was .*, now it is other"):
                place.check({**told, field: "other"})


def test_a_file_that_is_written_is_not_given_any_more(folder):
    with serving(*FILES, "--bind", "unix:jets.sock"):
        (place,) = resolve("unix:jets.sock#val", "data.val_file")
        os.utime(folder / "val.h5")
        with pytest.raises(DataError, match=r"val\.h5 was written since the server began"):
            Reading(place).fetch([(0, 10)])


def test_nothing_but_the_listed_files_is_given(folder):
    with serving(*FILES, "--bind", "127.0.0.1:0") as server:
        client = httpx.Client(base_url=server.source)
        index = client.get("/files").json()
        assert [file["name"] for file in index["files"]["train"]] == ["train_1.h5", "train_2.h5"]
        assert "secret" not in json.dumps(index)
        tag = {"If-Match": tag_of(index["files"]["val"][0]["identity"])}
        answer = client.get("/files/val/0?bytes=0-4,1-3", headers=tag)
        assert answer.content == b"\x89HDFHD"
        for path, status, reason in (
            ("/files/val/1?bytes=0-4", 404, "there is no file val/1; served are train/0, train/1, val/0"),
            ("/files/test/0?bytes=0-4", 404, "there is no file test/0"),
            ("/files/val/secret.h5?bytes=0-4", 404, "is not served"),
            ("/files/val/0?bytes=4-4", 416, "no range may be empty"),
            ("/files/val/0?bytes=0-999999999", 416, "bytes must lie between 0 and"),
            ("/files/val/0?bytes=" + ",".join(["0-4"] * 101), 413, "at most 100 ranges"),
            ("/files/val/0", 400, "bytes must be ranges"),
        ):
            answer = client.get(path, headers=tag)
            assert (answer.status_code, reason in answer.json()["error"]) == (status, True), answer.text
        assert client.get("/files/val/0?bytes=0-4").status_code == 412
        assert client.post("/files").status_code == 405
        for path in ("/files/../secret.h5", "/../../etc/passwd", "/files/val/..%2f..%2fsecret.h5", "//etc/passwd"):
            assert _raw(server.source, path).startswith(b"HTTP/1.1 404 ")
        client.close()


def _raw(source: str, path: str) -> bytes:
    """The answer to a request whose path no client has tidied up."""
    host, _, port = source.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as one:
        one.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: one.recv(65536), b""))


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        (
            {"train_file": "unix:jets.sock#trian"},
            DataError,
            r"serves no 'trian' files, but unix:jets\.sock#train, .*\nname one of these",
        ),
        (
            {"train_file": "unix:jets.sock#test"},
            DataError,
            r"serves no 'test' files, but .*\nserve them by --files\.test",
        ),
        ({"source": "jets.sock"}, ConfigError, r"data\.source is jets\.sock; it must be unix:PATH or http://HOST:PORT"),
        ({"source": "unix:none.sock"}, DataError, r"data\.train_file: unix:none\.sock#train is out of reach: "),
        (
            {"source": "unix:jets.sock", "train_file": "a", "val_file": "b", "test_file": "c"},
            ConfigError,
            r"data\.source has no effect",
        ),
        (
            {"source": "unix:jets.sock", "inputs": {"jets": Input(["pt", "etta"]), "tracks": INPUTS["tracks"]}},
            DataError,
            r"unix:jets\.sock#train/0/train_1\.h5: input 'jets': .*'etta'.*eta",
        ),
    ],
)
def test_wrong_options_are_refused_with_a_reason(folder, options, kind, words):
    with serving(*FILES, "--bind", "unix:jets.sock"), pytest.raises(kind, match=words):
        module(**options)


def test_other_machines_need_the_secret(folder, monkeypatch):
    assert main(["serve", *FILES, "--bind", "0.0.0.0:0"]) == 2
    for bind in ("0.0.0.0:8088", "[::]:8088"):
        with pytest.raises(ConfigError, match=f"lets other machines read the files; set {TOKEN}"):
            check_token(bind, None)
        check_token(bind, SECRET)
    with pytest.raises(ConfigError, match="at least 16"):
        check_token("127.0.0.1:8088", "short")
    for bind in ("127.0.0.1:8088", "localhost:8088", "unix:a.sock"):
        check_token(bind, None)
    with serving(*FILES, "--bind", "127.0.0.1:0", **{TOKEN: SECRET}) as server:
        assert httpx.get(f"{server.source}/files").status_code == 401
        with pytest.raises(DataError, match="refuses: the token is missing or wrong"):
            resolve(f"{server.source}#val", "data.val_file")
    with serving(*FILES, "--bind", "127.0.0.1:0", **{TOKEN: SECRET}) as server:
        monkeypatch.setenv(TOKEN, SECRET)
        assert len(resolve(f"{server.source}#train", "data.train_file")) == 2


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "no files; give at least one of --files.train"),
        (["--files.train", "tain.h5"], "--files.train: unknown file 'tain.h5'"),
        (["--files.train", "train_1.h5", "--bind", "8088"], "--bind 8088: give unix:PATH, or HOST:PORT"),
        (["--files.train", "train_1.h5", "--bind", "unix:none/a.sock"], "No such file or directory; give another one"),
        (["--files.train", "train_1.h5", "--bind", "unix:val.h5"], "a server listens there; give another one"),
    ],
)
def test_mistakes_of_the_server_s_command_are_named(folder, capsys, words, problem):
    assert main(["serve", *words]) != 0
    assert problem in capsys.readouterr().err
    assert (folder / "val.h5").stat().st_size > 1000


def test_a_socket_is_the_user_s_own_and_a_left_one_is_replaced(folder):
    with serving(*FILES, "--bind", "unix:jets.sock") as server:
        assert Path("jets.sock").stat().st_mode & 0o777 == 0o600
        assert main(["serve", *FILES, "--bind", "unix:jets.sock"]) == 2
        server.end(signal.SIGKILL)
        assert Path("jets.sock").exists()
        server.start()
        assert len(resolve("unix:jets.sock#train", "data.train_file")) == 2
        assert server.end(signal.SIGINT) == 130
        assert not Path("jets.sock").exists()


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_a_training_goes_on_after_its_server_was_killed(folder, devices):
    left_out = ("--data.train_file", "--data.val_file", "--data.num_workers", "--trainer.max_epochs")
    words = ["--config=simple.yaml", *(word for word in SMALL_FILES if not word.startswith(left_out))]
    words += ["--data.batch_size=10", "--trainer.max_epochs=3", "--trainer.log_every_n_steps=5"]
    words += [f"--trainer.devices={devices}", f"--data.num_workers={2 - devices}"]
    with serving(*FILES, "--bind", "unix:jets.sock") as server:
        train(words, "here", "--data.train_file=train_*.h5", "--data.val_file=val.h5").communicate(timeout=900)
        training = train(words, "there", "-d", server.source)
        while not any(len(path.read_text().splitlines()) > 3 for path in Path("there").glob("*/metrics.csv")):
            assert training.poll() is None, training.communicate()[0]
            time.sleep(0.02)
        server.end(signal.SIGKILL)
        time.sleep(1)
        server.start()
        output = training.communicate(timeout=900)[0]
        assert training.returncode == 0, output
    found = [path for name in ("here", "there") for path in Path(name).glob("*/ckpts/last.ckpt")]
    states = [torch.load(path, weights_only=False)["state_dict"] for path in found]
    assert len(states) == 2
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def train(words: list[str], name: str, *data: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "salt", "fit", *words, *data, f"--trainer.default_root_dir={name}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
