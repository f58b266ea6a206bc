"""The submit description for HTCondor, read by HTCondor's own bindings, and the script that it runs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from salt.runs.lineage import read_lineage

SUBMIT = Path(__file__).resolve().parents[2] / "submit"
htcondor2 = pytest.importorskip("htcondor2", reason="no HTCondor bindings: pip install htcondor")
classad2 = pytest.importorskip("classad2")


@pytest.fixture
def description() -> Any:
    return htcondor2.Submit((SUBMIT / "submit_condor.sub").read_text())


def value(description: Any, key: str, **job: Any) -> Any:
    return classad2.ExprTree(description.expand(key)).eval(classad2.ClassAd(job))


@pytest.mark.parametrize(
    ("end", "leaves"),
    [
        ({"ExitBySignal": False, "ExitCode": 0}, True),
        ({"ExitBySignal": False, "ExitCode": 1}, True),
        ({"ExitBySignal": False, "ExitCode": 143}, False),
        ({"ExitBySignal": True, "ExitSignal": 15}, False),
        ({"ExitBySignal": True, "ExitSignal": 9}, True),
    ],
)
def test_a_training_that_was_told_to_stop_stays_in_the_queue(
    description: Any, end: dict[str, Any], leaves: bool
) -> None:
    assert value(description, "on_exit_remove", **end) is leaves


def test_a_job_whose_time_is_up_is_released_and_no_other(description: Any) -> None:
    assert value(description, "periodic_release", HoldReasonCode=47, NumJobStarts=3) is True
    assert value(description, "periodic_release", HoldReasonCode=1, NumJobStarts=3) is False
    assert value(description, "periodic_release", NumJobStarts=3) is False
    assert int(description["allowed_execute_duration"]) > int(description["job_max_vacate_time"])
    assert description["kill_sig"] == "SIGTERM"


def test_flags_and_runs_reach_the_script(description: Any) -> None:
    description["flags"] = "--config gn2.yaml --data.batch_size 100"
    description["runs"] = "3"
    assert description.expand("arguments") == "--config gn2.yaml --data.batch_size 100"
    assert "SALT_RUNS=3" in description.expand("environment")
    assert description.getQArgs() == "$(runs)"
    assert description["executable"] == "$Fp(SUBMIT_FILE)submit_condor.sh"
    assert os.access(SUBMIT / "submit_condor.sh", os.X_OK)


def start(root: Path, job: str, *flags: str, runs: int = 1) -> "subprocess.Popen[bytes]":
    """What HTCondor does when it starts a job."""
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    environ |= {"SALT_JOB": f"condor:{job}", "SALT_RUNS": str(runs), "SALT_GPUS": "1"}
    environ |= dict.fromkeys(("VENV", "CONDA", "IMAGE"), "")
    return subprocess.Popen([SUBMIT / "submit_condor.sh", *flags], cwd=root, env=environ)


def log_of(root: Path, job: str) -> str:
    path = root / "logs" / "condor" / f"salt-{job}.log"
    return path.read_text() if path.is_file() else ""


@pytest.mark.slow
def test_a_job_that_is_started_again_goes_on_in_its_run(tmp_path: Path) -> None:
    flags = ["--config", "simple", "--trainer.logger=false", "--trainer.accelerator=cpu", "--data.batch_size=20"]
    flags += ["--trainer.max_epochs=12", "--data.num_train=1000", "--data.num_val=100", "--data.num_workers=0"]
    first = start(tmp_path, "7.2", *flags, runs=3)
    end = time.monotonic() + 120
    while "epoch 2/" not in log_of(tmp_path, "7.2"):
        assert time.monotonic() < end, log_of(tmp_path, "7.2")
        time.sleep(0.1)
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 143, log_of(tmp_path, "7.2")
    assert start(tmp_path, "7.2", *flags, runs=3).wait(300) == 0, log_of(tmp_path, "7.2")
    assert start(tmp_path, "8.2", *flags, runs=3).wait(300) == 0, "another job"
    interrupted, whole = sorted(path.parent for path in tmp_path.glob("logs/*/config.yaml"))
    assert [each.outcome for each in read_lineage(interrupted).attempts] == ["terminated", "finished"]
    weights = [torch.load(run / "ckpts/last.ckpt", weights_only=True)["state_dict"] for run in (interrupted, whole)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert "seed_everything: 3\n" in (whole / "config.yaml").read_text()
