"""A Slurm cluster of two nodes on this machine, of the real daemons."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

DAEMONS = ("slurmctld", "slurmd")
FINISHED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}

CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
FirstJobId={first_job}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
KillWait=15
ReturnToService=2
SlurmUser=root
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool.%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/%n.log
SchedulerParameters=sched_interval=2,batch_sched_delay=0,sched_min_interval=0
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=8 Gres=gpu:2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=8 Gres=gpu:2
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


def missing() -> str | None:
    """Why no cluster can be started here."""
    absent = [name for name in (*DAEMONS, "sbatch", "srun") if shutil.which(name, path=_path()) is None]
    if absent:
        return f"no {', '.join(absent)}: apt-get install -y --no-install-recommends slurmctld slurmd slurm-client"
    return None if os.geteuid() == 0 else "Slurm's daemons are started by root only"


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Args:
        environ: In which its commands work.
    """

    environ: dict[str, str]

    def call(self, *words: str, cwd: Path | None = None, check: bool = True) -> str:
        """The output of a command of Slurm."""
        done = subprocess.run(words, env=self.environ, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0 or not check, f"{words}: {done.stderr}"
        return done.stdout

    def submit(self, cwd: Path, *words: str, **environ: str) -> str:
        """Hands a script in; the number of its job."""
        done = subprocess.run(
            ["sbatch", "--parsable", *words],
            env={**self.environ, **environ},
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def states(self, job: str) -> dict[str, str]:
        """The state of each task of an array, or of the one job."""
        found = re.findall(
            r"JobId=(\d+).*?JobState=(\w+)", self.call("scontrol", "show", "job", job, check=False), flags=re.DOTALL
        )
        return dict(found)

    def wait(self, job: str, wanted: Iterable[str] = FINISHED, timeout: float = 600) -> dict[str, str]:
        """Waits until all tasks of a job are in one of the states."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            states = self.states(job)
            if states and set(states.values()) <= set(wanted):
                return states
            time.sleep(0.3)
        raise AssertionError(f"job {job} is still {self.states(job)}")


@contextmanager
def cluster(root: Path) -> Iterator[Cluster]:
    """Starts the daemons, and stops them by their pid files."""
    for name in ("state", "spool.n1", "spool.n2"):
        (root / name).mkdir()
    for gpu in range(2):
        (root / f"gpu{gpu}").touch()
    host = socket.gethostname().partition(".")[0]
    # Ranks meet at a port that follows from the number of the job; clusters of other tests have jobs, too.
    (root / "slurm.conf").write_text(
        CONF.format(root=root, host=host, ports=_free_ports(3), first_job=os.getpid() % 9000 + 1)
    )
    (root / "gres.conf").write_text(f"NodeName=n[1-2] Name=gpu File={root}/gpu[0-1]\n")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SALT_", "PYTEST_"))}
    environ = {**kept, "PATH": _path(), "SLURM_CONF": str(root / "slurm.conf"), "MASTER_ADDR": "127.0.0.1"}
    started = Cluster(environ)
    try:
        started.call("slurmctld")
        for node in ("n1", "n2"):
            started.call("slurmd", "-N", node)
        end = time.monotonic() + 60
        while started.call("sinfo", "-h", "-N", "-o", "%t", check=False).split() != ["idle", "idle"]:
            assert time.monotonic() < end, (root / "slurmctld.log").read_text()[-3000:]
            time.sleep(0.2)
        yield started
    finally:
        started.call("scancel", "-u", "root", check=False)
        end = time.monotonic() + 60  # Steps outlive the daemon that began them.
        while started.call("squeue", "-h", check=False) and time.monotonic() < end:
            time.sleep(0.2)
        _stop([root / "n1.pid", root / "n2.pid", root / "slurmctld.pid"])


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _stop(pid_files: Iterable[Path]) -> None:
    pids = [int(path.read_text()) for path in pid_files if path.is_file() and path.read_text().strip()]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < end:
        time.sleep(0.1)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
