"""Freed memory is used again without new pages, in the main thread and in others; the user's own settings stay."""

import os
import subprocess
import sys

import pytest

FAULTS = """
import resource, threading, ctypes
from salt.cli.allocator import keep_freed_memory
keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def step():
    blocks = [libc.malloc(size << 20) for size in (1, 8, 20, 24)]
    for block, size in zip(blocks, (1, 8, 20, 24)):
        ctypes.memset(block, 1, size << 20)
    for block in blocks:
        libc.free(block)
def steps(found):
    step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        step()
    found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
found = []
steps(found)
thread = threading.Thread(target=steps, args=(found,))
thread.start()
thread.join()
print(*found)
"""


def faults(**environ: str) -> list[int]:
    own = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], env={**own, **environ}, capture_output=True, text=True, check=True, timeout=300
    )
    return [int(word) for word in done.stdout.split()]


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(os, "confstr"), reason="glibc's allocator")
def test_freed_memory_is_used_again() -> None:
    pages = 10 * (53 << 20) // os.sysconf("SC_PAGE_SIZE")
    assert all(number < pages / 100 for number in faults())
    assert faults(MALLOC_TRIM_THRESHOLD_="131072")[0] > pages / 4
