"""What to say when a disk is full."""

import errno

from salt.cli.memory import chain
from salt.errors import SaltError

FULL = (errno.ENOSPC, errno.EDQUOT)


def said(error: BaseException) -> SaltError | None:
    """What has been said already, if something else went wrong because of it."""
    return next((e for e in chain(error) if isinstance(e, SaltError)), None)


def disk_advice(error: BaseException) -> str | None:
    """Names the file that found no room; None if the error is about something else."""
    for each in chain(error):
        if isinstance(each, OSError) and each.errno in FULL:
            what = f"cannot write {each.filename}" if each.filename else "cannot write a file of the run"
            return f"{what}: {each.strerror}; make room and go on from the last checkpoint"
    return None
