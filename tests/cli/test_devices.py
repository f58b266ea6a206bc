"""Several processes: started by torchrun, srun or Lightning, they do what one does."""

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import pytest
import torch
from conftest import SMALL
from files import make_jets, write_structured

from salt.cli.devices import find_launcher, settle_devices
from salt.data.workers import advised_workers, usable_cores
from salt.errors import ConfigError

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
TORCHRUN["GROUP_WORLD_SIZE"] = "2"
SRUN = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_PROCID": "3", "SLURM_NTASKS": "4"}

EACH_RANK = """\
from lightning.pytorch import Callback
import os, signal, torch

class SaveWeights(Callback):
    def on_fit_end(self, trainer, pl_module):
        torch.save(pl_module.state_dict(), f"rank{trainer.global_rank}.pt")

class Die(Callback):
    def on_test_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_rank == 1 and batch_idx == 1:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, None),
        (TORCHRUN, ("torchrun", 2, 2, 3)),
        ({**SRUN, "SLURM_STEP_TASKS_PER_NODE": "2(x2)"}, ("srun", 2, 2, 3)),
        ({**SRUN, "SLURM_STEP_TASKS_PER_NODE": "1(x3),1"}, ("srun", 1, 4, 3)),
        ({**SRUN, **TORCHRUN, "SLURM_STEP_TASKS_PER_NODE": "1(x2)"}, ("torchrun", 2, 2, 3)),
        ({**SRUN, "SLURM_STEP_TASKS_PER_NODE": "1", "SLURM_PTY_PORT": "5"}, None),
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, None),
    ],
)
def test_who_started_a_process(environ: dict[str, str], found: tuple[Any, ...] | None) -> None:
    launcher = find_launcher(environ)
    assert (launcher and (launcher.name, launcher.devices, launcher.nodes, launcher.rank)) == found


def test_nodes_with_different_numbers_of_processes_are_refused() -> None:
    with pytest.raises(ConfigError, match="--ntasks-per-node"):
        find_launcher({**SRUN, "SLURM_STEP_TASKS_PER_NODE": "2,1"})
    with pytest.raises(ConfigError, match="different numbers of processes"):
        find_launcher({**TORCHRUN, "WORLD_SIZE": "3"})


def test_several_nodes_need_somebody_who_starts_processes_on_them() -> None:
    with pytest.raises(ConfigError, match="torchrun or srun"):
        settle_devices({"trainer": {"num_nodes": 2}}, {}, {})
    assert settle_devices({"trainer": {"num_nodes": 1}}, {}, {}) == {"trainer": {"num_nodes": 1}}


@pytest.mark.parametrize(
    ("configured", "flags", "ignored"),
    [
        ({"devices": 1}, {}, []),
        ({"devices": "auto", "num_nodes": "2"}, {"num_nodes": "2"}, []),
        ({"devices": [2, 3]}, {"devices": [2, 3]}, []),
        ({"devices": "1"}, {"devices": "1"}, ["trainer.devices 1 is ignored: torchrun started 2 processes on each of"]),
        ({"devices": 8, "num_nodes": 3}, {}, ["trainer.devices 8 is ignored", "trainer.num_nodes 3 is ignored"]),
    ],
)
def test_a_flag_that_contradicts_the_launcher_is_said_to_be_ignored(
    configured: dict[str, Any], flags: dict[str, Any], ignored: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "salt"):
        tree = settle_devices({"name": "x", "trainer": {"max_epochs": 2, **configured}}, {"trainer": flags}, TORCHRUN)
    devices = [2, 3] if configured["devices"] == [2, 3] else 2
    assert tree == {
        "name": "x",
        "trainer": {"max_epochs": 2, "devices": devices, "num_nodes": tree["trainer"]["num_nodes"]},
    }
    assert int(tree["trainer"]["num_nodes"]) == 2
    assert [message[: len(start)] for message, start in zip(caplog.messages, ignored, strict=True)] == ignored


def run(root: Path, *words: str, start: tuple[str, ...] = ("-m", "salt"), check: bool = True) -> Any:
    root.mkdir(exist_ok=True)
    (root / "each_rank.py").write_text(EACH_RANK)
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *start, *words],
        cwd=root,
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0 or not check, done.stderr
    return done


TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "salt")


def test_torchrun_trains_one_model_like_two_devices_do(tmp_path: Path) -> None:
    words = ["fit", "--config", "simple", *SMALL, "--data.batch_size=100", "--trainer.max_epochs=2"]
    words.append("--trainer.callbacks={SaveWeights: {class_path: each_rank.SaveWeights}}")
    done = run(tmp_path / "torchrun", *words, "--trainer.devices=3", start=TWO)
    assert done.stderr.count("trainer.devices 3 is ignored: torchrun started 2 processes on 1 node") == 1
    assert done.stderr.count("epoch 2/2") == 1
    run(tmp_path / "lightning", *words, "--trainer.devices=2")
    weights = [torch.load(tmp_path / way / f"rank{r}.pt") for way in ("torchrun", "lightning") for r in (0, 1)]
    for other in weights[1:]:
        assert all(torch.equal(weights[0][key], other[key]) for key in weights[0])
    (config,) = (tmp_path / "torchrun").glob("logs/*/config.yaml")
    assert "devices: 2" in config.read_text()
    assert len(list((tmp_path / "torchrun" / "logs").iterdir())) == 1


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run of a model of all kinds of tasks, and a test file. Do not write into it; copy it."""
    root = tmp_path_factory.mktemp("trained")
    write_structured(root / "test.h5", make_jets(430, seed=3, scattered=True))
    for i, name in enumerate(("train", "val")):
        write_structured(root / f"{name}.h5", make_jets(100, seed=i, first_event=1000 * (i + 1)))
    words = [
        "--data.train_file=train.h5",
        "--data.val_file=val.h5",
        "--data.test_file=test.h5",
        "--data.batch_size=100",
    ]
    words += ["--data.inputs.tracks.variables=[d0,z0,dphi]", "--data.num_workers=0", "--trainer.accelerator=cpu"]
    run(root, "fit", "--config", "gn2", *words, "--trainer.logger=false", "--trainer.max_epochs=1")
    return root


def score(root: Path, verb: str, *words: str, start: tuple[str, ...] = ("-m", "salt"), check: bool = True) -> Any:
    (config,) = root.glob("logs/*/config.yaml")
    return run(root, verb, "--config", str(config), *words, start=start, check=check)


def predictions(root: Path) -> bytes:
    (path,) = root.glob("logs/*/ckpts/*__test_test.h5")
    assert not list(root.rglob("*.part"))
    return path.read_bytes()


def test_any_number_of_devices_writes_the_file_of_one(trained: Path, tmp_path: Path) -> None:
    found = {}
    root = Path(shutil.copytree(trained, tmp_path / "root"))
    for devices in (1, 3):  # 5 batches, so that one of three devices has nothing in the second step
        done = score(root, "test", f"--trainer.devices={devices}", "--overwrite")
        found[devices] = (done.stdout, predictions(root))
    assert found[1] == found[3], "metrics or columns differ"
    with h5py.File(next(root.glob("logs/*/ckpts/*.h5")), locking=False) as file:
        assert set(file) == {"jets", "tracks"}
        assert file["jets"]["eventNumber"].tolist() == [i // 2 for i in range(430)]


@pytest.mark.slow
def test_torchrun_predicts_what_one_device_does(trained: Path, tmp_path: Path) -> None:
    found = []
    root = Path(shutil.copytree(trained, tmp_path / "root"))
    for start in (("-m", "salt"), TWO):
        score(root, "predict", "--data.inputs.jets.selection=[pt > 60]", "--overwrite", start=start)
        found.append(predictions(root))
    assert found[0] == found[1]


@pytest.mark.slow
def test_no_file_is_left_when_a_process_dies(trained: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(trained, tmp_path / "root"))
    dying = "--trainer.callbacks={PredictionWriter: {}, Die: {class_path: each_rank.Die}}"
    assert score(root, "test", "--trainer.devices=2", dying, check=False).returncode != 0
    assert not list(root.glob("logs/*/ckpts/*.h5"))
    (last,) = root.glob("logs/*/ckpts/epoch*.ckpt")
    killed = last.with_name(f".{last.stem}__test_test.h5.1.part")
    killed.write_bytes(b"what a killed process left")
    score(root, "test", "--trainer.devices=2")
    assert predictions(root)


@pytest.mark.slow
def test_what_stops_the_writing_stops_all_processes(trained: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(trained, tmp_path / "root"))
    (config,) = root.glob("logs/*/config.yaml")
    words = [sys.executable, "-m", "salt", "test", "--config", str(config), "--trainer.devices=2"]
    ended = subprocess.run(
        ["bash", "-c", 'ulimit -f 40 && exec "$@"', "limited", *words],
        cwd=root,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 1
    assert "cannot write" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not [p for p in root.glob("logs/*/ckpts/*") if p.suffix != ".ckpt"]


def test_the_cores_of_an_allocation_are_those_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "12")
    assert usable_cores() == 12
    assert advised_workers(usable_cores(), local_ranks=4) == 2
