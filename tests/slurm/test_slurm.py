"""The shipped script in a real Slurm."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from slurm_cluster import Cluster, cluster, missing

from salt.runs.lineage import read_lineage

pytestmark = [pytest.mark.slow, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

SCRIPT = Path(__file__).resolve().parents[2] / "submit" / "submit_slurm.sh"
TRAINING = (
    *("--config", "simple", "--trainer.logger=false", "--trainer.accelerator=cpu", "--trainer.max_epochs=2"),
    *("--data.batch_size=100", "--data.num_train=800", "--data.num_val=400", "--data.num_workers=0"),
)
SAVE = "--trainer.callbacks={SaveWeights: {class_path: each_rank.SaveWeights}}"
EACH_RANK = """\
from lightning.pytorch import Callback
import time, torch

class SaveWeights(Callback):
    def on_fit_end(self, trainer, pl_module):
        torch.save(pl_module.state_dict(), f"rank{trainer.global_rank}.pt")

class Slow(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        time.sleep(0.1 * (1 + trainer.global_rank))

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        time.sleep(0.5 * trainer.global_rank)
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    environ = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        with cluster(tmp_path_factory.mktemp("slurm")) as started:
            yield started


def folder(path: Path) -> Path:
    path.mkdir()
    (path / "each_rank.py").write_text(EACH_RANK)
    return path


def log_of(root: Path, job: str) -> str:
    found = list(root.glob(f"logs/slurm/*-{job}.log"))
    return found[0].read_text() if found else ""


def until(root: Path, job: str, words: str, timeout: float = 300) -> None:
    end = time.monotonic() + timeout
    while words not in log_of(root, job):
        assert time.monotonic() < end, log_of(root, job)
        time.sleep(0.2)


def runs(root: Path) -> list[Path]:
    return sorted(path.parent for path in root.glob("logs/*/config.yaml"))


def weights(root: Path) -> list[dict[str, Any]]:
    return [torch.load(path) for path in sorted(root.glob("rank*.pt"))]


def assert_same(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    assert len(one) == len(other) == 2
    for state in (*one, *other):
        assert all(torch.equal(one[0][key], state[key]) for key in one[0])


def plain(root: Path, *words: str) -> None:
    """Two processes that Lightning starts."""
    command = [sys.executable, "-m", "salt", "fit", *words, "--trainer.devices=2"]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_two_tasks_on_one_node_and_on_two_nodes_train_one_model(slurm: Cluster, tmp_path: Path) -> None:
    one, two, without = (folder(tmp_path / name) for name in ("one", "two", "without"))
    # From submit/ with what stands in the script.
    (one / "submit").mkdir()
    script = SCRIPT.read_text().replace("(--config gnn.yaml)", f"({' '.join(TRAINING)} '{SAVE}')")
    (one / "submit" / SCRIPT.name).write_text(script)
    options = ("--ntasks-per-node=2", "--gpus-per-node=2", "--cpus-per-task=2")
    first = slurm.submit(one / "submit", *options, SCRIPT.name)
    assert slurm.wait(first) == {first: "COMPLETED"}, log_of(one, first)
    # From anywhere with arguments, one of which the allocation contradicts.
    second = slurm.submit(two, "--nodes=2", str(SCRIPT), *TRAINING, SAVE, "--trainer.devices=2")
    assert slurm.wait(second) == {second: "COMPLETED"}, log_of(two, second)
    assert "trainer.devices 2 is ignored: srun started 1 process on each of 2 nodes" in log_of(two, second)
    plain(without, *TRAINING, SAVE)
    assert_same(weights(one), weights(without))
    assert_same(weights(two), weights(without))
    for root, (devices, nodes) in ((one, (2, 1)), (two, (1, 2))):
        (run,) = runs(root)
        trainer = yaml.safe_load((run / "config.yaml").read_text())["trainer"]
        assert (trainer["devices"], trainer["num_nodes"]) == (devices, nodes)
        assert len(re.findall("epoch 2/2", log_of(root, {one: first, two: second}[root]))) == 1
    assert not list((one / "submit").glob("*.out"))


def test_a_container_without_slurm_is_put_back_too(slurm: Cluster, tmp_path: Path) -> None:
    root = folder(tmp_path / "root")
    container = tmp_path / "bin" / "apptainer"  # Stands in for the real one: the command follows the image.
    container.parent.mkdir()
    container.write_text('#!/bin/sh\nshift 5\nPATH="$APPTAINERENV_PREPEND_PATH:$PATH" exec "$@"\n')
    container.chmod(0o755)
    words = [*TRAINING, "--trainer.max_epochs=4", "--trainer.callbacks={Slow: {class_path: each_rank.Slow}}"]
    path = f"{container.parent}:{slurm.environ['PATH']}"
    job = slurm.submit(root, "--gpus-per-node=0", str(SCRIPT), *words, PATH=path, IMAGE="salt.sif")
    until(root, job, "epoch 1/")
    slurm.call("scancel", "--signal=USR1", job)
    until(root, job, "start 1")
    assert slurm.wait(job) == {job: "COMPLETED"}, log_of(root, job)
    (run,) = runs(root)
    assert [attempt.outcome for attempt in read_lineage(run).attempts] == ["requeued", "finished"]
    assert not list((root / "logs" / "slurm").glob(".requests*"))


def test_an_array_of_seeds_gives_as_many_runs(slurm: Cluster, tmp_path: Path) -> None:
    root = folder(tmp_path / "root")
    job = slurm.submit(root, "--array=1-3", "--cpus-per-task=1", "--gpus-per-node=0", str(SCRIPT), *TRAINING)
    assert set(slurm.wait(job).values()) == {"COMPLETED"}
    seeds = [yaml.safe_load((run / "config.yaml").read_text())["seed_everything"] for run in runs(root)]
    assert sorted(seeds) == [1, 2, 3]
    assert len(list(root.glob("logs/slurm/*.log"))) == 3


def test_a_cancelled_job_leaves_no_process_and_no_staged_file(slurm: Cluster, tmp_path: Path) -> None:
    root = folder(tmp_path / "root")
    stage = tmp_path / "stage"
    words = [*TRAINING, "--trainer.max_epochs=10000", "--data.num_workers=2", f"--data.move_files_temp={stage}"]
    job = slurm.submit(root, "--ntasks-per-node=2", "--gpus-per-node=2", str(SCRIPT), *words)
    until(root, job, "epoch 3/")
    assert sum(path.stat().st_size for path in stage.rglob("*") if path.is_file()) > 100_000
    slurm.call("scancel", job)
    assert slurm.wait(job) == {job: "CANCELLED"}
    end = time.monotonic() + 20
    while left := subprocess.run(["pgrep", "-f", str(stage)], capture_output=True, text=True, check=False).stdout:
        assert time.monotonic() < end, subprocess.run(["ps", "-fp", *left.split()], capture_output=True, check=False)
        time.sleep(0.2)
    assert sum(path.stat().st_size for path in stage.rglob("*") if path.is_file()) == 0
    (run,) = runs(root)
    torch.load(run / "ckpts" / "last.ckpt", weights_only=True)


def test_the_signal_before_the_time_limit_leads_to_a_second_start_that_goes_on(slurm: Cluster, tmp_path: Path) -> None:
    root, whole = folder(tmp_path / "root"), folder(tmp_path / "whole")
    callbacks = "{SaveWeights: {class_path: each_rank.SaveWeights}, Slow: {class_path: each_rank.Slow}}"
    words = [*TRAINING, "--trainer.max_epochs=6", "--data.num_workers=2", f"--trainer.callbacks={callbacks}"]
    job = slurm.submit(root, "--nodes=2", str(SCRIPT), *words)
    until(root, job, "epoch 2/")
    time.sleep(0.4)  # Into an epoch, the ranks at different places of it.
    slurm.call("scancel", "--signal=USR1", job)
    until(root, job, "start 1")
    assert slurm.wait(job) == {job: "COMPLETED"}, log_of(root, job)
    (run,) = runs(root)
    first, second = read_lineage(run).attempts
    assert (first.outcome, second.outcome) == ("requeued", "finished"), log_of(root, job)
    assert first.job == second.job == f"slurm:{job}"
    assert second.from_step == first.to_step
    assert second.to_step == 6 * 4
    assert len(re.findall("epoch 2/6", log_of(root, job))) == 1
    plain(whole, *words)
    assert_same(weights(root), weights(whole))
