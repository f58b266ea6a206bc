"""How much memory a training takes."""

import multiprocessing
import os
import resource
import sys
from pathlib import Path

import torch

GB = 1e9


def memory_in_use(device: torch.device) -> float:
    """GB that this process takes.

    Returns:
        On a CUDA device the most that PyTorch has held of it. Else the memory of this process and of those that read
        for it, where pages that several share count once.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / GB
    pids = [os.getpid(), *(child.pid for child in multiprocessing.active_children() if child.pid is not None)]
    return sum(_proportional(pid) for pid in pids) / GB or _largest() / GB


def _proportional(pid: int) -> int:
    """Bytes of a process, its part of shared pages among them; 0 where the system does not tell."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # Another system, or a process that has ended.
        return 0
    return next((1024 * int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


def _largest() -> int:
    """Bytes that this process held when it held most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
