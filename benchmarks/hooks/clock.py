"""Callbacks that measure a training from inside; both sides of a comparison run them."""

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count


class Clock(Callback):
    """Notes when each epoch, step and validation begins and ends, and writes that down when the training ends.

    Args:
        out: JSON file to write.
    """

    def __init__(self, out: str) -> None:
        self.out = Path(out)
        self.epochs: list[dict[str, Any]] = []
        self.parameters = 0

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Counts the parameters."""
        self.parameters = sum(p.numel() for p in module.parameters() if p.requires_grad)

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        """Begins an epoch."""
        self.epochs.append({"begin": time.perf_counter(), "cpu": -time.process_time(), "steps": [], "end": None})

    def on_train_batch_start(self, *_: Any) -> None:
        """Begins a step."""
        self.epochs[-1]["steps"].append([time.perf_counter(), None])

    def on_train_batch_end(self, *_: Any) -> None:
        """Ends a step."""
        self.epochs[-1]["steps"][-1][1] = time.perf_counter()

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """Ends an epoch, its validation included."""
        self.epochs[-1]["end"] = time.perf_counter()
        self.epochs[-1]["cpu"] += time.process_time()

    def on_train_end(self, trainer: Any, module: Any) -> None:
        """Writes everything."""
        found = {"parameters": self.parameters, "threads": torch.get_num_threads(), "epochs": self.epochs}
        self.out.write_text(json.dumps(found))


class Arithmetic(Callback):
    """Counts the floating-point operations of matrix products in every step, forward and backward.

    Args:
        out: JSON file to write: the operations of each step.
    """

    def __init__(self, out: str) -> None:
        self.out = Path(out)
        self.flops: list[int] = []
        self._running = contextlib.ExitStack()
        self._counter: FlopCounterMode | None = None

    def on_train_batch_start(self, *_: Any) -> None:
        """Begins to count."""
        self._counter = self._running.enter_context(FlopCounterMode(display=False, custom_mapping=_on_cpu()))

    def on_train_batch_end(self, *_: Any) -> None:
        """Ends to count."""
        self._running.close()
        if self._counter is not None:
            self.flops.append(self._counter.get_total_flops())

    def on_train_end(self, *_: Any) -> None:
        """Writes everything."""
        self.out.write_text(json.dumps(self.flops))


class Profile(Callback):
    """Writes a table of the operators that take most of the time, over the steps after the first ones.

    Args:
        out: Text file to write.
        skip: Steps before it begins.
    """

    def __init__(self, out: str, skip: int = 10) -> None:
        self.out = Path(out)
        self.skip = skip
        self._profile: torch.profiler.profile | None = None

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        """Begins after the first steps."""
        if trainer.global_step == self.skip:
            self._profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
            self._profile.__enter__()

    def on_train_end(self, *_: Any) -> None:
        """Ends, and writes the table."""
        if self._profile is not None:
            self._profile.__exit__(None, None, None)
            table = self._profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=25)
            self.out.write_text(table)


def _on_cpu() -> dict[Any, Any]:
    """The fused attention of the CPU, which PyTorch's counter does not know."""
    aten = torch.ops.aten

    def forward(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return int(sdpa_flop_count(query, key, value))

    def backward(_: Any, query: Any, key: Any, value: Any, *__: Any, **___: Any) -> int:
        # Five products of the size of the two of the forward pass: the scores again, and four gradients.
        return int(sdpa_flop_count(query, key, value)) * 5 // 2

    return {
        aten._scaled_dot_product_flash_attention_for_cpu: forward,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: backward,
    }
