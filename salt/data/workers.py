"""How many processes should read."""

import os

MOST_ADVISED = 4


def usable_cores() -> int:
    """Cores of this machine that this process, and others that train with it, may use.

    Slurm may give each process its own ones, or tell them apart by nothing but these numbers.
    """
    if "SLURM_CPUS_ON_NODE" in os.environ:
        return int(os.environ["SLURM_CPUS_ON_NODE"])
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def advised_workers(cores: int, local_ranks: int) -> int:
    """Workers for each training process: its share of the cores but one for itself, and no more than 4."""
    return max(0, min(cores // local_ranks - 1, MOST_ADVISED))


def reading_threads(cores: int, local_ranks: int, num_workers: int) -> int:
    """Threads for each process that reads: its share of the cores but one to train, at least 1 and no more than 4."""
    return max(1, min((cores // local_ranks - 1) // max(1, num_workers), MOST_ADVISED))


def worker_doubts(num_workers: int, cores: int, local_ranks: int) -> list[str]:
    """At most one sentence, with the number to try, where the number of workers looks wrong."""
    advised = advised_workers(cores, local_ranks)
    each = f" for each of {local_ranks} training processes" if local_ranks > 1 else ""
    if num_workers * local_ranks > cores:
        return [f"data.num_workers is {num_workers}{each}, more than the {cores} cores here; try {advised}"]
    if num_workers < advised:
        return [f"data.num_workers is {num_workers}{each} on {cores} cores; training may wait for data; try {advised}"]
    return []
