"""Processes that this one starts: of further devices of this node, and readers."""

import os
import signal
import subprocess
import threading
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


def forget_readers() -> None:
    """Lets no death of a process that reads be told any more, which PyTorch does by an exception wherever this one is.

    To be called when the command is about to end: an error in one reader, or a signal, ends the others too.
    """
    from torch.utils.data._utils import signal_handling  # Not at the start, which begins without PyTorch.

    if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal_handling._SIGCHLD_handler_set = False  # A training that is begun later in this process sets it again.


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
