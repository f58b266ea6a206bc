"""Processes that Lightning starts for further devices of this node."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from salt.data.family import end_with

PARENT_VARIABLE = "SALT_FIRST_PROCESS"
"""They find the number of the first process here."""
PATIENCE = 30.0
"""Seconds that they have to end after the first process."""

Children = Sequence["subprocess.Popen[bytes]"]


def join_family(environ: Mapping[str, str]) -> bool:
    """Binds this process to the one that started it for a further device, if it is such a process.

    Returns:
        Whether it is.
    """
    parent = environ.get(PARENT_VARIABLE)
    if parent is None or int(environ.get("LOCAL_RANK", "0")) == 0:
        return False
    end_with(int(parent))
    return True


def announce() -> None:
    """Lets processes that are started from here know this one."""
    os.environ[PARENT_VARIABLE] = str(os.getpid())


def kill(children: Children) -> None:
    """Ends them at once."""
    for child in children:
        child.send_signal(signal.SIGKILL)
    for child in children:
        child.wait()


def wait_for(children: Children) -> None:
    """Lets them end, so that they can tidy up what is theirs."""
    try:
        for child in children:
            child.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        kill(children)
