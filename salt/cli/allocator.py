"""How the C library keeps memory that a step has freed."""

import ctypes
import os
from collections.abc import Mapping

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""Names of options in glibc's malloc.h."""

KEPT_AHEAD = 2**26
"""Bytes by which an arena grows at least, the most that glibc takes for one of a thread."""

LARGEST = 2**25
"""Bytes up to which memory comes from what is kept; glibc takes no larger number."""


def keep_freed_memory(environ: Mapping[str, str] = os.environ) -> None:
    """Lets the next step have the pages that the last one freed, instead of the system.

    A step frees and asks for the same hundreds of MB again and again. A page that went back to the system in between is
    cleared and mapped anew. Does nothing where the user has set up glibc's allocator, or where there is none.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in environ):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, musl, Windows
        return
    mallopt(TRIM_THRESHOLD, -1)
    mallopt(TOP_PAD, KEPT_AHEAD)
    mallopt(MMAP_THRESHOLD, LARGEST)
