"""Lineage, lock and attempts of run folders."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from salt.errors import ConfigError, DataError
from salt.runs.attempt import RunningAttempt, slurm_job
from salt.runs.configs import differences
from salt.runs.folder import config_name, copy_with_hash, find_run, hash_of, run_of, run_of_job, stored_config
from salt.runs.lineage import Parent, read_lineage
from salt.runs.lock import RunLock, is_alive

WORDS = ("main", "fit", "--config", "gnn")


def content(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        str(p.relative_to(folder)): (sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns)
        for p in folder.rglob("*")
        if p.is_file()
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with one finished attempt."""
    folder = tmp_path / "gnn_1"
    folder.mkdir()
    attempt = RunningAttempt(folder, WORDS, "slurm:7", "fork", Parent("gnn_0", "ckpts/last.ckpt", "ab", 3))
    attempt.config_path.write_text("name: gnn\n")
    attempt.trains_from(3)
    attempt.end("interrupted", 130, 9, trained=True)
    return folder


def test_attempts_follow_each_other_in_the_lineage(run: Path) -> None:
    second = RunningAttempt(run, WORDS, None, new=False)
    assert second.config_path.name == "config.1.yaml"
    second.trains_from(9)
    second.end("finished", 0, 20, trained=True)
    tree = json.loads((run / "lineage.json").read_text())
    assert (tree["run_id"], tree["kind"]) == ("gnn_1", "fork")
    assert tree["parent"] == {"run_id": "gnn_0", "checkpoint": "ckpts/last.ckpt", "sha256": "ab", "step": 3}
    told = [
        (a["number"], a["outcome"], a["exit_code"], a["from_step"], a["to_step"], a["job"]) for a in tree["attempts"]
    ]
    assert told == [(1, "interrupted", 130, 3, 9, "slurm:7"), (2, "finished", 0, 9, 20, None)]


def test_an_attempt_that_trains_nothing_leaves_no_trace(run: Path, tmp_path: Path) -> None:
    before = {name: digest for name, (digest, _) in content(run).items()}
    attempt = RunningAttempt(run, WORDS, None, new=False)
    attempt.config_path.write_text("name: other\n")
    attempt.end("failed", 2, None, trained=False)
    assert {name: digest for name, (digest, _) in content(run).items()} == before
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    RunningAttempt(fresh, WORDS, None).end("failed", 1, None, trained=False)
    assert not fresh.exists()


def test_a_run_belongs_to_one_process_until_that_dies(run: Path) -> None:
    script = (
        "import os, sys, time\nfrom pathlib import Path\nfrom salt.runs.attempt import RunningAttempt\n"
        f"attempt = RunningAttempt(Path({str(run)!r}), ['main'], None, new=False)\n"
        "worker = os.fork()\n"
        "if not worker:\n    time.sleep(60)\n"
        "print(worker, flush=True)\nsys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    worker = int(holder.stdout.readline())
    try:
        before = content(run)
        assert is_alive(run)
        with pytest.raises(ConfigError, match=rf"process {holder.pid} on .*\n.*fork_run_id"):
            RunningAttempt(run, WORDS, None, new=False)
        assert content(run) == before
        holder.kill()
        holder.wait(10)
        assert not is_alive(run), "a forked worker keeps the lock"
        RunningAttempt(run, WORDS, None, new=False).end("finished", 0, 20, trained=True)
        assert [a.outcome for a in read_lineage(run).attempts] == ["interrupted", "killed", "finished"]
    finally:
        os.kill(worker, 9)
        holder.stdin.close()
        holder.stdout.close()


def test_looking_whether_a_run_is_alive_does_not_stop_it_from_beginning(run: Path) -> None:
    locks = [RunLock(run), RunLock(run)]
    assert locks[0].acquire()
    assert is_alive(run)
    assert not locks[1].acquire()
    locks[0].release()
    assert not is_alive(run)
    assert locks[1].acquire()
    locks[1].release()


def test_runs_are_found_by_id_by_path_and_by_job(run: Path, tmp_path: Path) -> None:
    assert find_run(tmp_path, "gnn_1") == run == find_run(tmp_path / "elsewhere", str(run))
    assert run_of(run / "ckpts" / "x.ckpt") == run
    assert run_of(run / "gnn.ckpt") == run
    assert run_of(tmp_path / "x.ckpt") is None
    assert run_of_job(tmp_path, "slurm:7", WORDS) == run
    assert run_of_job(tmp_path, "slurm:7", (*WORDS, "more")) is None
    assert run_of_job(tmp_path, "slurm:8", WORDS) is None
    with pytest.raises(ConfigError, match=r"unknown run 'gnn_2' in .*; nearest: gnn_1"):
        find_run(tmp_path, "gnn_2")
    with pytest.raises(ConfigError, match=r"no runs in elsewhere\n.*trainer.default_root_dir"):
        find_run(Path("elsewhere"), "gnn_2")


def test_the_stored_config_is_that_of_the_newest_attempt(tmp_path: Path) -> None:
    assert stored_config(tmp_path) is None
    for number in (1, 2, 3, 12):
        (tmp_path / config_name(number)).write_text("")
    (tmp_path / "config.old.yaml").write_text("")
    assert stored_config(tmp_path) == tmp_path / "config.11.yaml"


def test_jobs_of_slurm() -> None:
    assert slurm_job({}) is None
    assert slurm_job({"SLURM_JOB_ID": "5"}) == "slurm:5"
    array = {"SLURM_JOB_ID": "6", "SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "2"}
    assert slurm_job(array) == "slurm:5_2"


def test_broken_and_newer_lineages(run: Path) -> None:
    path = run / "lineage.json"
    tree = json.loads(path.read_text())
    tree["attempts"][0]["added"] = tree["added"] = "by a newer version"
    path.write_text(json.dumps(tree))
    assert read_lineage(run).attempts[0].to_step == 9
    path.write_text(path.read_text()[:-20])
    with pytest.raises(DataError, match=r"lineage.json cannot be read"):
        read_lineage(run)


def test_copies_have_the_hash_of_what_was_copied(tmp_path: Path) -> None:
    source = tmp_path / "a.ckpt"
    source.write_bytes(os.urandom(3_000_000))
    assert (
        copy_with_hash(source, tmp_path / "new" / "b.ckpt") == hash_of(source) == hash_of(tmp_path / "new" / "b.ckpt")
    )


def test_configs_are_compared_value_by_value() -> None:
    checkpoint = {"class_path": "salt.callbacks.Checkpoint", "init_args": {"save_top_k": 3}}
    old = {"trainer": {"max_epochs": 2, "callbacks": [checkpoint]}, "seed_everything": 42, "gone": True}
    new = {"trainer": {"max_epochs": 4, "callbacks": [{**checkpoint, "init_args": {"save_top_k": 5}}]}, "added": [1, 2]}
    found = [(d.key, d.old, d.new) for d in differences(old, new)]
    assert found == [
        ("trainer.max_epochs", "2", "4"),
        ("trainer.callbacks.Checkpoint.save_top_k", "3", "5"),
        ("added", "", "[1, 2]"),
        ("seed_everything", "42", ""),
        ("gone", "true", ""),
    ]
    assert differences(old, old) == []
    assert [d.key for d in differences({}, {"name": "a", "data": {}})] == ["name", "data"]
