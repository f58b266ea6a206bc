"""Who uses a GPU, as a driver's command tells it."""

import os
from pathlib import Path

import pytest
import torch

from salt.cli.gpus import GpuUser, gpu_users, warn_of_other_users, worded

ANSWER = """\
GPU-11111111-aaaa-bbbb-cccc-000000000001, 4711, python, train.py, 2048
GPU-11111111-aaaa-bbbb-cccc-000000000002, 4712, [Not Found], [N/A]
No running processes found
"""


def driver(folder: Path, script: str) -> None:
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}")
    path.chmod(0o755)


def test_processes_are_those_that_the_driver_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "answer").write_text(ANSWER)
    driver(tmp_path, f'case "$*" in *--query-compute-apps=gpu_uuid,pid,*) cat {tmp_path}/answer;; *) exit 2;; esac')
    users = gpu_users()
    assert users == [
        GpuUser("11111111-aaaa-bbbb-cccc-000000000001", 4711, "python, train.py", 2048),
        GpuUser("11111111-aaaa-bbbb-cccc-000000000002", 4712, "[Not Found]", None),
    ]
    assert worded(torch.device("cuda:1"), users) == (
        "cuda:1 is used by process 4711 (python, train.py, 2048 MiB), process 4712 ([Not Found]) already; another one "
        "is chosen with --trainer.devices=[N]"
    )
    driver(tmp_path, "echo NVIDIA-SMI has failed; exit 9")
    assert gpu_users() == []


def test_nobody_is_named_without_a_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_users() == []
    warn_of_other_users(torch.device("cpu"))
