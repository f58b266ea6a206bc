"""A GPU that another process is using, said before anything is computed on it."""

import logging
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

import torch

log = logging.getLogger(__name__)

QUERY = "--query-compute-apps=gpu_uuid,pid,process_name,used_memory"

PATIENCE = 5.0
"""Seconds that the driver has to answer."""

NAMED = 3
"""Processes that a warning names."""


@dataclass(frozen=True)
class GpuUser:
    """A process that uses a GPU.

    Args:
        gpu: The UUID of the GPU, without the letters before it.
        pid: The number of the process.
        name: What it runs.
        memory: MiB of the GPU that it holds; None where the driver does not tell.
    """

    gpu: str
    pid: int
    name: str
    memory: int | None


def warn_of_other_users(device: torch.device) -> None:
    """Warns if another process uses the GPU that this one was given; to be called before this one uses it."""
    if device.type != "cuda":
        return
    users = gpu_users()  # Before PyTorch is asked for the UUID, and may thereby become a user itself.
    uuid = str(torch.cuda.get_device_properties(device).uuid)
    if found := [user for user in users if user.gpu == uuid and user.pid != os.getpid()]:
        log.warning("%s", worded(device, found))


def gpu_users() -> list[GpuUser]:
    """The processes that compute on the GPUs of this machine; none where there is no ``nvidia-smi`` to ask."""
    command = ["nvidia-smi", QUERY, "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [user for line in done.stdout.splitlines() if (user := _user(line)) is not None]


def _user(line: str) -> GpuUser | None:
    """One line of the answer; the name of a process may have commas in it."""
    gpu, _, rest = line.partition(", ")
    pid, _, rest = rest.partition(", ")
    name, _, memory = rest.rpartition(", ")
    if not pid.isdigit():
        return None
    return GpuUser(gpu.removeprefix("GPU-"), int(pid), name, int(memory) if memory.strip().isdigit() else None)


def worded(device: torch.device, users: Sequence[GpuUser]) -> str:
    """The warning."""
    each = [f"process {u.pid} ({u.name}{'' if u.memory is None else f', {u.memory} MiB'})" for u in users[:NAMED]]
    more = f" and {len(users) - NAMED} more" if len(users) > NAMED else ""
    return f"{device} is used by {', '.join(each)}{more} already; another one is chosen with --trainer.devices=[N]"
