"""What a training says: in a terminal, in a log, and when it is to be quiet."""

import csv
import json
import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest
from cli_case import SMALL_FILES
from conftest import SMALL, Command
from files import make_jets, write_structured

FIT = ("fit", "--config", "simple", *SMALL)

STOPWATCH = """\
import json, time
from lightning.pytorch import Callback

class Stopwatch(Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        self.begun, self.jets, self.marks = time.perf_counter(), 0, []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.marks.append((time.perf_counter(), self.jets))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        time.sleep(0.1)
        self.jets += len(batch)

    def on_validation_start(self, trainer, pl_module):
        if not trainer.sanity_checking:
            with open("hand.json", "w") as file:
                json.dump({"epoch": self.jets / (time.perf_counter() - self.begun), "marks": self.marks}, file)

    def on_validation_epoch_start(self, trainer, pl_module):
        time.sleep(0.5)
"""


def rows(folder: Path) -> list[dict[str, str]]:
    (path,) = folder.glob("logs/*/metrics.csv")
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def small_files(tmp_path: Path) -> Path:
    for i, name in enumerate(("train", "val")):
        write_structured(tmp_path / f"{name}.h5", make_jets(600 - 400 * i, first_event=1000 * i))
    return tmp_path


def test_a_log_has_plain_lines(command: Command, small_files: Path) -> None:
    ended = command("fit", "--config", "gnn", *SMALL_FILES, "--trainer.max_epochs=2")
    assert ended.code == 0, ended.err
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", ended.err + ended.out)
    assert re.search(r"^tracks +tracks +3  d0, z0, dphi$", ended.err, re.MULTILINE)
    assert re.search(
        r"^jets_classification +Classification +jets +flavour_label +gnn_pb, gnn_pc, gnn_pu$", ended.err, re.M
    )
    assert re.search(r"^all, and its schedule +24 steps$", ended.err, re.MULTILINE)
    parameters = [
        int(n.replace(",", ""))
        for n in re.findall(r"^(?:embed|encoder|pooling|tasks)\S* .*?([\d,]+) +[\d,]+$", ended.err, re.M)
    ]
    (total,) = re.findall(r"^all +([\d,]+) ", ended.err, re.MULTILINE)
    assert sum(parameters) == int(total.replace(",", "")) > 0
    lines = ended.err.splitlines()
    first, second = (line for line in lines if line.startswith("epoch "))
    assert "best val/loss so far, saved as epoch000" in first
    assert re.search(r"best val/loss (so far \([\d.]+ before\), saved as epoch001|[\d.]+ in epoch 1)", second)
    assert re.match(r"finished: 2 epochs, 24 steps, 0:\d\d; best val/loss [\d.]+; logs/gnn_\S+\.ckpt$", lines[-1])
    assert (small_files / lines[-1].rpartition("; ")[2]).is_file()


def test_a_quiet_training_says_one_line_and_so_does_a_quiet_test(command: Command, tmp_path: Path) -> None:
    ended = command(*FIT, "--quiet", "--trainer.max_epochs=1")
    said = [line for line in ended.err.splitlines() if not line.startswith("warning: ")]
    assert [line.split(":")[0] for line in said] == ["finished"]
    (run,) = (tmp_path / "logs").iterdir()
    assert "quiet" not in (run / "config.yaml").read_text()
    tested = command("test", "--run.run_id", run.name, "--data.num_test=200", "--quiet")
    said = [line for line in tested.err.splitlines() if not line.startswith("warning: ")]
    assert tested.out == ""
    assert [line.split(":")[0] for line in said] == ["predictions"]


def test_a_training_that_ends_inside_an_epoch_shows_no_old_validation(command: Command, small_files: Path) -> None:
    ended = command("fit", "--config", "simple", *SMALL_FILES, "--trainer.max_epochs=2", "--trainer.max_steps=15")
    first, last = (line for line in ended.err.splitlines() if line.startswith("epoch "))
    assert "val/loss" in first
    assert "accuracy" in first
    assert "val/loss" not in last
    assert "accuracy" not in last
    assert "train/loss" in last


@pytest.mark.slow  # Each of two clocks may be interrupted where the other is not.
def test_jets_per_second_are_those_of_a_hand_count(
    command: Command, small_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("salt.callbacks.throughput.LOG_EVERY", 0.0)
    (small_files / "stopwatch.py").write_text(STOPWATCH)
    watch = "--trainer.callbacks.Stopwatch.class_path=stopwatch.Stopwatch"
    ended = command("fit", "--config", "simple", *SMALL_FILES, watch, "--trainer.log_every_n_steps=5")
    assert ended.code == 0, ended.err
    hand = json.loads((small_files / "hand.json").read_text())
    (line,) = re.findall(r"epoch 1/1, .* ([\d,]+) jets/s", ended.err)
    assert float(line.replace(",", "")) == pytest.approx(hand["epoch"], rel=0.05)
    values = {int(row["step"]): row["train/jets_per_second"] for row in rows(small_files)}
    logged = {step: float(value) for step, value in values.items() if value}
    assert list(logged) == [4, 9]
    (begun, jets), (ended_at, more) = hand["marks"][4], hand["marks"][9]
    assert logged[9] == pytest.approx((more - jets) / (ended_at - begun), rel=0.05)
    assert all(0 <= float(row["train/data_wait"]) <= 1 for row in rows(small_files) if row["train/data_wait"])
    assert all(0.05 < float(row["train/memory"]) < 50 for row in rows(small_files) if row["train/memory"])


def test_a_bar_in_a_terminal_changes_nothing_of_what_is_logged(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "salt", *FIT, "--trainer.max_epochs=2", "--data.batch_size=40"]
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=follower, stderr=follower) as process:
        os.close(follower)
        shown = b""
        while process.poll() is None or select.select([leader], [], [], 0.2)[0]:
            if select.select([leader], [], [], 0.2)[0]:
                try:
                    shown += os.read(leader, 65536)
                except OSError:  # The last process that had the terminal has ended.
                    break
    os.close(leader)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    assert process.returncode == 0, text
    assert re.search(r"epoch 1/2 [━╺╸ ]+ \d+/20 0:\d\d left, 0:\d\d in all", text)
    assert re.search(r"loss \d\.\d{4}  learning rate \d\.\d\de-\d\d  [\d,]+ jets/s  waiting for data \d+%", text)
    assert re.search(r"validation [━╺╸ ]+ \d+/\d+ 0:\d\d left", text)
    assert b"\x1b[?25l" not in shown, "a hidden cursor stays hidden when the process is killed"
    assert len(rows(tmp_path)) == 4
