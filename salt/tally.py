"""What the tasks measure in an epoch, over all batches and devices."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, sqrt
from pathlib import Path

import torch
import torch.distributed
from torch import Tensor

from salt.batch import JetBatch
from salt.inputs import JETS
from salt.metrics import Figure, Metric, Scratch
from salt.ragged import Ragged
from salt.tasks import Embedding, Loss, Share, Task

PARTS = 256
"""Batches after which what they kept is put together."""

ENTRIES = 2**19
"""Entries, of all that is kept, after which it is put together earlier; one metric with so many goes into a file."""


@dataclass(frozen=True)
class Results:
    """What was measured of all jets.

    Args:
        values: Numbers by their names; NaN for what the jets say nothing about.
        metrics: What they come from, by the prefix of the names and a key.
        shares: For each of the values that are shares of independent entries, how many these are.
        empty: The names of means of nothing. A mean that is NaN although it is of something is not among them.
    """

    values: Mapping[str, float]
    metrics: Mapping[tuple[str, str], Metric]
    shares: Mapping[str, float]
    empty: frozenset[str]

    def on_host(self) -> "Results":
        """The same, and not in the memory of a GPU."""
        return replace(self, metrics={key: metric.to("cpu") for key, metric in self.metrics.items()})

    def errors(self) -> dict[str, float]:
        """The statistical errors of some values, by their names: of a share p of n entries √(p(1 - p)/n)."""
        found = {name: sqrt(p * (1 - p) / n) for name, n in self.shares.items() if 0 <= (p := self.values[name]) <= 1}
        for (prefix, _), metric in self.metrics.items():
            found |= {f"{prefix}/{name}": error for name, error in metric.errors().items()}
        return {name: error for name, error in found.items() if isfinite(error)}

    def figures(self) -> dict[str, Figure]:
        """What can be drawn, by names such as ``val/jets_classification/confusion``."""
        return {
            f"{prefix}/{name}": figure
            for (prefix, _), metric in self.metrics.items()
            for name, figure in metric.figures().items()
        }


class Tally:
    """Adds up what is measured of batches, without waiting for the device.

    Args:
        folder: Where metrics of many jets keep what they need, in a file without a name; None for in memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._scratch: Scratch | None = None
        self._sums: dict[str, list[Tensor]] = {}
        self._shares: set[str] = set()
        self._metrics: dict[tuple[str, str], list[Metric]] = {}
        self._entries = 0

    def add(self, prefix: str, measured: Mapping[str, Loss | Metric]) -> None:
        """Adds a batch.

        Args:
            prefix: What stands before the names, such as ``val/jets_classification``.
            measured: Losses and metrics of the batch, always under the same keys.
        """
        crowded = False
        for key, value in measured.items():
            if isinstance(value, Metric):
                parts = self._metrics.setdefault((prefix, key), [])
                parts.append(value)
                self._entries += value.size
                crowded = len(parts) >= PARTS
            else:
                pairs = self._sums.setdefault(f"{prefix}/{key}", [])
                pairs.append(_as_pair(value))
                if len(pairs) >= PARTS:
                    pairs[:] = [torch.stack(pairs).sum(0)]
                if isinstance(value, Share):
                    self._shares.add(f"{prefix}/{key}")
        if crowded or self._entries >= ENTRIES:
            self._metrics = {key: [self._put_together(parts)] for key, parts in self._metrics.items()}
            self._entries = 0

    def _put_together(self, parts: Sequence[Metric]) -> Metric:
        """That of all parts, in a file if it has become large."""
        metric = type(parts[0]).merged(parts)
        if self.folder is None or metric.size < ENTRIES:
            return metric
        self._scratch = self._scratch or Scratch(self.folder)
        return metric.spilt(self._scratch)

    def take(self, world_size: int, reduce: Callable[[Tensor], Tensor]) -> Results:
        """The results of all devices, and begins anew; to be called on all of them.

        Only on the first of them the results have metrics.

        Args:
            world_size: How many devices there are.
            reduce: Sums a tensor over the devices.
        """
        sums, metrics = self._sums, {key: self._put_together(parts) for key, parts in self._metrics.items()}
        if world_size > 1:
            everyone = {key: self._of_all_devices(metric, world_size) for key, metric in metrics.items()}
            metrics = {key: metric for key, metric in everyone.items() if metric is not None}
        self._sums, self._metrics, self._entries, self._scratch = {}, {}, 0, None
        values, counts = {}, {}
        if sums:
            totals = reduce(torch.stack([torch.stack(pairs).sum(0) for pairs in sums.values()])).cpu()
            values = {key: float(s / n) if n > 0 else float("nan") for key, (s, n) in zip(sums, totals, strict=True)}
            counts = dict(zip(sums, totals[:, 1].tolist(), strict=True))
        measured = [{f"{p}/{name}": x for (p, _), metric in metrics.items() for name, x in metric.values().items()}]
        if world_size > 1:
            torch.distributed.broadcast_object_list(measured)
        values |= measured[0]
        shares = {key: n for key, n in counts.items() if key in self._shares}
        return Results(values, metrics, shares, frozenset(key for key, n in counts.items() if n == 0))

    def _of_all_devices(self, metric: Metric, world_size: int) -> Metric | None:
        """That of all devices, in their order; None on all but the first of them."""
        found, pieces = None, metric.to("cpu").pieces()
        while True:
            sent: list[Metric | None] = [None] * world_size
            torch.distributed.all_gather_object(sent, next(pieces, None))
            there = [piece for piece in sent if piece is not None]
            if not there:
                return found
            if torch.distributed.get_rank() == 0:
                found = self._put_together(there if found is None else [found, *there])


def names(task: Task, embed_dim: int, variables: Mapping[str, int]) -> tuple[str, ...]:
    """What a task will measure of any jets, learnt from what it measures of none.

    Args:
        task: The task.
        embed_dim: D.
        variables: The number of variables of each input.
    """
    like = next(task.parameters(), torch.zeros(0))
    inputs = {name: _no_rows(like.new_zeros((0, size))) for name, size in variables.items() if name != JETS}
    labels = {
        target: like.new_zeros(0, dtype=torch.int64 if target.kind in ("class", "index") else torch.float32)
        for target in task.targets
    }
    nothing = torch.zeros(0, dtype=torch.int64)
    batch = JetBatch(like.new_zeros((0, variables[JETS])), inputs, labels, nothing, dict.fromkeys(inputs, nothing))
    rows = {name: _no_rows(like.new_zeros((0, embed_dim))) for name in inputs}
    training = task.training
    task.eval()
    with torch.no_grad():
        embedding = Embedding(like.new_zeros((0, embed_dim)), rows)
        measured = task.metrics(task.outputs(batch, lambda _: embedding), batch)
    task.train(training)
    each = [list(m.values()) if isinstance(m, Metric) else [key] for key, m in measured.items()]
    return tuple(dict.fromkeys(["loss", *(name for found in each for name in found)]))


def _no_rows(values: Tensor) -> Ragged:
    offsets = torch.zeros(1, dtype=torch.int64)
    return Ragged(values, offsets.to(values.device), offsets)


def _as_pair(mean: Loss) -> Tensor:
    return torch.stack([mean.sum.detach().double(), mean.count.detach().double()])
