"""How much a command says."""

import logging

RESULT = "salt.result"
"""The logger of what is said also when the user wants it quiet: the line with which a command ends."""


def set_level(rank: int, quiet: bool = False) -> None:
    """Chooses which of our messages are shown.

    Args:
        rank: Number of this process; all but the first show errors only.
        quiet: Whether the first shows nothing but warnings, errors and the last line.
    """
    first = logging.WARNING if quiet else logging.INFO
    logging.getLogger("salt").setLevel(first if rank == 0 else logging.ERROR)
    logging.getLogger(RESULT).setLevel(logging.INFO if rank == 0 else logging.ERROR)
