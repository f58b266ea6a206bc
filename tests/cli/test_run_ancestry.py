"""Runs that go on, fork, and begin with the weights of others."""

import csv
import json
import re
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import SMALL, Command
from logged import repeatable

from salt.runs.lock import RunLock

EARLIER = ("--run.warm_start=EARLIER", "--run.warm_start.weights_only=false", "--trainer.max_epochs=3")
"""The run goes on from before what it has logged."""

FIT = ("fit", "--config", "simple", *SMALL, "--trainer.max_epochs=2")


@pytest.fixture
def parent(run_folder: Path, tmp_path: Path) -> Path:
    """A run of two epochs in the logs folder."""
    return Path(shutil.copytree(run_folder, tmp_path / "logs" / run_folder.name))


def content(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        str(p.relative_to(folder)): (sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns)
        for p in folder.rglob("*")
        if p.is_file()
    }


def newest(tmp_path: Path, *older: Path) -> Path:
    (found,) = set((tmp_path / "logs").iterdir()) - set(older)
    return found


def lineage(folder: Path) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads((folder / "lineage.json").read_text())
    return tree


def state(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(folder / "ckpts" / "last.ckpt", weights_only=True)
    return loaded


def logged_steps(folder: Path) -> list[int]:
    with (folder / "metrics.csv").open() as file:
        return [int(row["step"]) for row in csv.DictReader(file)]


def test_restart_then_fork_then_warm_start(parent: Path, command: Command, tmp_path: Path) -> None:
    first_hash = sha256((parent / "ckpts" / "last.ckpt").read_bytes()).hexdigest()
    restarted = command("fit", "--run.run_id", parent.name, "--trainer.max_epochs=3")
    assert restarted.code == 0, restarted.err
    assert f"run {parent.name} goes on from last.ckpt, step 8" in restarted.err
    assert "  trainer.max_epochs: 2 -> 3\n" in restarted.err
    assert [p.name for p in (tmp_path / "logs").iterdir()] == [parent.name]
    assert yaml.safe_load((parent / "config.yaml").read_text())["trainer"]["max_epochs"] == 2
    assert yaml.safe_load((parent / "config.1.yaml").read_text())["trainer"]["max_epochs"] == 3
    steps = logged_steps(parent)
    assert steps == sorted(set(steps))
    assert steps[-1] == 11
    told = [(a["number"], a["outcome"], a["from_step"], a["to_step"]) for a in lineage(parent)["attempts"]]
    assert told == [(1, "finished", 0, 8), (2, "finished", 8, 12)]
    assert sha256((parent / "ckpts" / "last.ckpt").read_bytes()).hexdigest() != first_hash

    before = content(parent)
    forked = command("fit", "--run.fork_run_id", parent.name, "--trainer.max_epochs=4")
    assert forked.code == 0, forked.err
    fork = newest(tmp_path, parent)
    assert content(parent) == before, "the fork changed its parent"
    origin = lineage(fork)["parent"]
    assert (lineage(fork)["kind"], origin["run_id"]) == ("fork", parent.name)
    assert origin["sha256"] == before["ckpts/last.ckpt"][0]
    assert state(fork)["global_step"] == 16
    assert min(logged_steps(fork)) >= 12

    before = content(fork)
    warm = ("--run.warm_start.checkpoint", fork.name, "--run.warm_start.exclude=[tasks]")
    warmed = command(*FIT, *warm, "--trainer.max_epochs=1")
    assert warmed.code == 0, warmed.err
    assert content(fork) == before
    last = newest(tmp_path, parent, fork)
    assert (lineage(last)["kind"], lineage(last)["parent"]["run_id"]) == ("warm_start", fork.name)
    (best,) = fork.glob("ckpts/epoch003*")
    assert lineage(last)["parent"]["sha256"] == sha256(best.read_bytes()).hexdigest()
    assert state(last)["global_step"] == 4

    lines = command("runs", "tree").out.splitlines()
    assert lines == [
        f"{parent.name}: new; attempt 1: finished, step 0 to 8; 2: finished, step 8 to 12",
        f"└── {fork.name}: fork of {parent.name} (last.ckpt, step 12); attempt 1: finished, step 12 to 16",
        f"    └── {last.name}: warm start from {fork.name} ({best.name}, step 16); attempt 1: finished, step 0 to 4",
    ]
    assert command("runs", "tree", "--run", last.name).out.splitlines() == lines
    listed = command("runs", "list").out
    assert [line.split()[0] for line in listed.splitlines()[1:]] == [parent.name, fork.name, last.name]
    different = command("runs", "diff", parent.name, fork.name).out.split("\n\n")
    assert different[0].splitlines()[1].split() == ["trainer.max_epochs", "3", "4"]
    assert "val/loss" in different[1]
    assert re.search(r"^val/loss .*[▁▂▃▄▅▆▇█]", different[2], re.MULTILINE)
    command("runs", "diff", parent.name, fork.name, "-o", "both.png")
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")
    assert command("runs", "diff", parent.name, fork.name, "-o", "both.doc").code == 2
    shown = command("runs", "show", str(fork)).out
    assert f"fork of {parent.name}" in shown
    assert re.search(r"^best +val/loss [\d.]+ in epoch \d, after step \d", shown, re.MULTILINE)


def test_a_restarted_training_is_the_one_that_was_not_interrupted(command: Command, tmp_path: Path) -> None:
    short = ("--data.num_train=400", "--data.num_val=200")
    rate = "--model.lrs_config.pct_start=0.5"  # The rates of both cycles would differ: a length is part of a cycle.
    assert command(*FIT, *short, rate, "--trainer.default_root_dir=whole").code == 0
    (tmp_path / "stopping.py").write_text(STOPPING)
    stop = "--trainer.callbacks.Stop.class_path=stopping.StopOnce"
    stopped = command(*FIT, *short, rate, stop)
    assert stopped.code == 143, stopped.err
    run = newest(tmp_path)
    assert lineage(run)["attempts"][0]["outcome"] == "terminated"
    assert f"to continue: main fit --run.run_id {run.relative_to(tmp_path)}" in stopped.err
    assert command("fit", "--run.run_id", str(run)).code == 0
    (whole,) = (tmp_path / "whole").iterdir()
    one, other = state(whole)["state_dict"], state(run)["state_dict"]
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert repeatable(whole / "metrics.csv") == repeatable(run / "metrics.csv")


STOPPING = """\
import signal
from pathlib import Path
from lightning.pytorch import Callback

class StopOnce(Callback):
    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1 and not Path("stopped").exists():
            Path("stopped").touch()
            signal.raise_signal(signal.SIGTERM)
"""


def test_a_job_that_slurm_starts_once_more_goes_on_in_its_run(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stopping.py").write_text(STOPPING)
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    words = (*FIT, "--trainer.callbacks.Stop.class_path=stopping.StopOnce", "--run.warm_start.freeze=[embed]")
    assert command(*words).code == 143
    run = newest(tmp_path)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    again = command(*words)
    assert again.code == 0, again.err
    assert newest(tmp_path) == run
    assert [a["job"] for a in lineage(run)["attempts"]] == ["slurm:77"] * 2
    assert state(run)["global_step"] == 8
    stored = yaml.safe_load((run / "config.1.yaml").read_text())
    assert stored == yaml.safe_load((run / "config.yaml").read_text()), "a named callback was added once more"
    over = command(*words)
    assert over.code == 0
    assert "finished already" in over.err
    assert len(lineage(run)["attempts"]) == 2


def test_going_back_to_an_earlier_checkpoint_of_a_run(parent: Path, command: Command) -> None:
    (first,) = parent.glob("ckpts/epoch000*")
    words = ("fit", "--run.run_id", parent.name, "--run.warm_start", first.name)
    refused = command(*words)
    assert refused.code == 2
    assert "weights_only false" in refused.err
    ended = command(*words, "--run.warm_start.weights_only=false")
    assert ended.code == 0, ended.err
    assert [(a["from_step"], a["to_step"]) for a in lineage(parent)["attempts"]] == [(0, 8), (4, 8)]
    steps = logged_steps(parent)
    assert steps == sorted(set(steps))
    assert yaml.safe_load((parent / "config.1.yaml").read_text())["run"]["warm_start"]["checkpoint"] is None


def test_ckpt_path_begins_a_run_that_knows_its_parent(parent: Path, command: Command, tmp_path: Path) -> None:
    before = content(parent)
    last = parent / "ckpts" / "last.ckpt"
    config = ("--config", str(parent / "config.yaml"))
    assert command("fit", *config, "--ckpt_path", str(last), "--trainer.max_epochs=3").code == 0
    run = newest(tmp_path, parent)
    assert lineage(run)["parent"]["sha256"] == before["ckpts/last.ckpt"][0]
    assert content(parent) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--run.run_id=RUN", "--run.fork_run_id=RUN"], "both given"),
        (["--run.run_id=RUN", "--ckpt_path=x.ckpt"], "both say what to begin from"),
        (["--run.run_id=simple_2"], "unknown run 'simple_2' in logs; nearest: RUN"),
        (["--run.fork_run_id=logs/simple_0"], "unknown run 'logs/simple_0' in logs"),
        (["--run.run_id=RUN"], "nothing was trained: the checkpoint has 2 finished epochs"),
        (["--run.fork_run_id=EMPTY"], "has no ckpts/last.ckpt; it has saved nothing yet"),
        (
            ["--run.warm_start=RUN/best.ckpt"],
            "no checkpoint 'logs/RUN/ckpts/best.ckpt'; nearest: logs/RUN/ckpts/last.c",
        ),
        (["--run.warm_start=broken.ckpt", "--config=simple"], "broken.ckpt is no checkpoint of Salt"),
        (["--run.warm_start=RUN"], "no model is described"),
        (["--run.run_id=OLD"], "has lost its ckpts/last.ckpt\nto go on from another of its checkpoints"),
        (
            ["--run.fork_run_id=RUN", "--data.inputs.jets.variables=[eta, pt]"],
            "those of its weights that fit: run.warm_start",
        ),
        (["--run.forkrunid=RUN"], "unknown option 'run.forkrunid'; nearest: run.fork_run_id"),
        (["--run.run_id=RUN", "--model.embed_dim=16"], "does not fit the checkpoint"),
        (["--run.run_id=RUN", "--trainer.callbacks.Checkpoint.monitor=val/lss", *EARLIER], "nearest: val/loss"),
    ],
)
def test_mistakes_are_named_and_leave_everything_as_it_was(
    words: list[str], message: str, parent: Path, command: Command, tmp_path: Path
) -> None:
    if "EMPTY" in str(words):
        (tmp_path / "logs" / "EMPTY").mkdir()
        (tmp_path / "logs" / "EMPTY" / "config.yaml").write_text("config_format: 1\n")
    (tmp_path / "broken.ckpt").write_bytes(b"nothing")
    shutil.copytree(parent, tmp_path / "logs" / "OLD", ignore=shutil.ignore_patterns("last.ckpt"))
    before = set((tmp_path / "logs").iterdir())
    hashes = {name: digest for name, (digest, _) in content(parent).items()}
    (earlier,) = (path.name for path in (parent / "ckpts").glob("epoch000*"))
    ended = command("fit", *(word.replace("RUN", parent.name).replace("EARLIER", earlier) for word in words))
    assert ended.code == 2, ended.err
    assert message.replace("RUN", parent.name) in ended.err
    assert "Traceback" not in ended.err
    assert set((tmp_path / "logs").iterdir()) == before
    assert {name: digest for name, (digest, _) in content(parent).items()} == hashes


def test_a_run_that_is_alive_elsewhere(parent: Path, command: Command) -> None:
    lock = RunLock(parent)
    assert lock.acquire()
    before = content(parent)
    ended = command("fit", "--run.run_id", parent.name, "--trainer.max_epochs=3")
    lock.release()
    assert ended.code == 2
    assert "is being trained by process" in ended.err
    assert content(parent) == before


def test_a_trial_of_what_would_go_on_changes_nothing(parent: Path, command: Command, tmp_path: Path) -> None:
    before = content(tmp_path)
    tried = command("fit", "--run.run_id", parent.name, "--trainer.fast_dev_run=1")
    assert tried.code == 0, tried.err
    assert "weights of" in tried.err
    refused = command("fit", "--run.run_id", parent.name, "--trainer.fast_dev_run=1", "--model.embed_dim=16")
    assert refused.code == 2
    assert content(tmp_path) == before


def test_a_restarted_run_is_scored_by_its_id(parent: Path, command: Command) -> None:
    assert command("test", "--run.run_id", parent.name).code == 0
    assert list(parent.glob("ckpts/*__test_*.h5"))
