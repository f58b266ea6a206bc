"""Processes that torchrun or srun started: how many they are, and how they agree before they are connected."""

import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from salt.errors import ConfigError, SaltError

if TYPE_CHECKING:
    from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
    from torch._C._distributed_c10d import Store

log = logging.getLogger(__name__)

PATIENCE = timedelta(minutes=10)
"""How long processes wait for the first of them before training."""


@dataclass(frozen=True)
class Launcher:
    """Who started this process together with others.

    Args:
        name: ``torchrun`` or ``srun``.
        devices: Processes on each node.
        nodes: Number of nodes.
        rank: Number of this process among all.
        more: What to tell it to get more processes on a node.
    """

    name: str
    devices: int
    nodes: int
    rank: int
    more: str

    @property
    def world_size(self) -> int:
        """Number of processes."""
        return self.devices * self.nodes

    def __str__(self) -> str:
        processes = f"{self.devices} process{'es' if self.devices > 1 else ''}"
        return f"{self.name} started {processes} on " + (f"each of {self.nodes} nodes" if self.nodes > 1 else "1 node")


def find_launcher(environ: Mapping[str, str]) -> Launcher | None:
    """Who started this process, or None for a plain start.

    A shell in an allocation counts as plain, and so does one task that srun gave a terminal.

    Raises:
        ConfigError: The nodes have different numbers of processes.
    """
    if "TORCHELASTIC_RUN_ID" in environ:
        devices, nodes = int(environ["LOCAL_WORLD_SIZE"]), int(environ.get("GROUP_WORLD_SIZE", "1"))
        found = Launcher("torchrun", devices, nodes, int(environ["RANK"]), "--nproc-per-node")
        if found.world_size != int(environ["WORLD_SIZE"]):
            raise ConfigError("torchrun started different numbers of processes on the nodes; start as many on each")
        return found
    if "SLURM_STEP_ID" not in environ or "SLURM_PROCID" not in environ:
        return None
    counts = _tasks_per_node(environ.get("SLURM_STEP_TASKS_PER_NODE", "1"))
    if counts == [1] and "SLURM_PTY_PORT" in environ:
        return None
    if len(set(counts)) > 1:
        raise ConfigError(
            f"srun started different numbers of tasks on the nodes ({counts}); ask for --ntasks-per-node, not --ntasks"
        )
    return Launcher("srun", counts[0], len(counts), int(environ["SLURM_PROCID"]), "--ntasks-per-node")


def _tasks_per_node(text: str) -> list[int]:
    """Slurm writes ``2(x3),1`` for 2, 2, 2, 1."""
    found = re.findall(r"(\d+)(?:\(x(\d+)\))?", text)
    return [int(count) for count, times in found for _ in range(int(times or 1))]


def global_rank(environ: Mapping[str, str]) -> int:
    """Number of this process among those that work together, whoever started them."""
    launcher = find_launcher(environ)
    return launcher.rank if launcher else int(environ.get("LOCAL_RANK", "0"))


def settle_devices(tree: Mapping[str, Any], asked: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """The config with the devices and nodes of who started this process; says so where it was asked for others.

    Args:
        tree: The merged config.
        asked: What the command asks for, flags among it.
        environ: The environment.

    Raises:
        ConfigError: Several nodes, and nobody who started processes on them.
    """
    launcher = find_launcher(environ)
    trainer, wanted = dict(tree.get("trainer") or {}), asked.get("trainer") or {}
    if launcher is None:
        _doubt_plain_start(environ)
        nodes = _count(trainer.get("num_nodes"))
        if nodes is not None and nodes > 1:
            raise ConfigError(
                f"trainer.num_nodes is {nodes}, but this process was started alone; start it on all nodes with "
                "torchrun or srun, or give --trainer.num_nodes 1"
            )
        return dict(tree)
    for key, count in (("devices", launcher.devices), ("num_nodes", launcher.nodes)):
        given = _count(trainer.get(key))
        if given == count:
            continue
        if given is not None and (key in wanted or given != 1):
            hint = f"; ask it for more with {launcher.more}" if key == "devices" and given > count else ""
            log.warning("trainer.%s %s is ignored: %s%s", key, trainer[key], launcher, hint)
        trainer[key] = count
    return {**tree, "trainer": trainer}


def _doubt_plain_start(environ: Mapping[str, str]) -> None:
    tasks = environ.get("SLURM_NTASKS", "1")
    if tasks not in ("", "1") and environ.get("SLURM_PROCID") == "0" and "LOCAL_RANK" not in environ:
        log.warning("this job has %s tasks, but one process works: put srun before the command", tasks)


def _count(devices: Any) -> int | None:
    """How many devices are asked for; None where that is left open."""
    if isinstance(devices, list):
        return len(devices)
    try:
        count = int(devices)
    except (TypeError, ValueError):
        return None
    return count if count > 0 else None


def cluster_environment(environ: Mapping[str, str]) -> "list[ClusterEnvironment]":
    """How Lightning shall find the other processes; nothing where it finds that out well by itself."""
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

    launcher = find_launcher(environ)
    if launcher is None:
        return [LightningEnvironment()] if "SLURM_JOB_ID" in environ else []
    if launcher.name == "torchrun":
        return []
    # What srun did counts, where an option of the job says something else or nothing.
    os.environ["SLURM_NTASKS_PER_NODE"] = str(launcher.devices)
    os.environ["SLURM_NTASKS"] = str(launcher.world_size)
    os.environ["SLURM_NNODES"] = str(launcher.nodes)
    return [SLURMEnvironment(auto_requeue=False)]


def from_leader(topic: str, compute: Callable[[], str]) -> str:
    """What the first of several processes computes, in all of them.

    It works before Lightning has connected the processes. Those that Lightning itself starts do not need it, since
    they inherit the environment of the first.

    Args:
        topic: A name for what is agreed on, used once in the life of the processes.
        compute: Called in the first process only.

    Raises:
        SaltError: The first process failed.
    """
    launcher = find_launcher(os.environ)
    if launcher is None or launcher.world_size == 1:
        return compute()
    store = _meeting_point(launcher)
    if launcher.rank == 0:
        try:
            value = compute()
        except BaseException:
            store.set(topic, "failed")
            raise
        store.set(topic, f"done {value}")
        return value
    try:
        state, _, value = store.get(topic).decode().partition(" ")
    except RuntimeError:  # The connection is lost: the first process is gone.
        state, value = "failed", ""
    if state == "failed":
        raise SaltError("the first process of this command failed; it says why")
    return value


@lru_cache(maxsize=1)
def _meeting_point(launcher: Launcher) -> "Store":
    """The store by which the processes are connected later, too. Kept open, as its server may be of this process."""
    from torch.distributed.rendezvous import rendezvous

    if launcher.name == "srun":
        (slurm,) = cluster_environment(os.environ)
        os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = slurm.main_address, str(slurm.main_port)
    try:
        store: Store = next(rendezvous("env://", launcher.rank, launcher.world_size, timeout=PATIENCE))[0]
    except RuntimeError as error:
        raise SaltError(
            f"{launcher}, but they do not find each other at {os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}: "
            f"{str(error).splitlines()[0]}\nset MASTER_ADDR to an address of the first node that the others can reach"
        ) from None
    store.set_timeout(PATIENCE)
    return store
