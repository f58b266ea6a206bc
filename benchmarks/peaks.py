"""What this machine can do at most: matrix products in float32 and bfloat16, and copying memory. Prints JSON."""

import json
import time

import torch

SIZES = ((1024, 1024, 1024), (2048, 2048, 2048), (8192, 512, 512))
BEST_OF = 5
COPY = 1 << 28
"""Bytes to copy, more than any cache holds."""


def product_peak(dtype: torch.dtype) -> float:
    """Operations per second of the fastest of some matrix products."""
    best = 0.0
    for m, k, n in SIZES:
        a, b = torch.randn(m, k).to(dtype), torch.randn(k, n).to(dtype)
        out = torch.empty(m, n, dtype=dtype)
        torch.mm(a, b, out=out)
        repeats = max(1, int(4e9 / (2 * m * k * n)))
        for _ in range(BEST_OF):
            begun = time.perf_counter()
            for _ in range(repeats):
                torch.mm(a, b, out=out)
            best = max(best, repeats * 2 * m * k * n / (time.perf_counter() - begun))
    return best


def copy_peak() -> float:
    """Bytes per second that are read and written, both counted."""
    source = torch.ones(COPY, dtype=torch.uint8)
    target = torch.empty_like(source)
    best = 0.0
    for _ in range(BEST_OF + 1):
        begun = time.perf_counter()
        target.copy_(source)
        best = max(best, 2 * COPY / (time.perf_counter() - begun))
    return best


if __name__ == "__main__":
    print(
        json.dumps(
            {
                "fp32": product_peak(torch.float32),
                "bf16": product_peak(torch.bfloat16),
                "copy": copy_peak(),
                "threads": torch.get_num_threads(),
            }
        )
    )
