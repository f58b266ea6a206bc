"""Which class is taken for which."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from salt.metrics.base import Metric
from salt.metrics.figures import Confusion, Figure


@dataclass(frozen=True, eq=False)
class ConfusionMatrix(Metric):
    """Entries by their true class and the one they are taken for.

    Args:
        counts: [C, C] int64, true classes times classes they were taken for.
        classes: [C] names.
    """

    counts: Tensor
    classes: tuple[str, ...]

    @classmethod
    def of(cls, guess: Tensor, label: Tensor, classes: tuple[str, ...]) -> Self:
        """From [R] classes that were guessed and [R] true ones, -1 for no label."""
        size = len(classes)
        cell = label.clamp(min=0) * size + guess
        counts = torch.zeros(size * size, dtype=torch.int64, device=label.device)
        return cls(counts.index_add_(0, cell, (label >= 0).long()).view(size, size), classes)

    @classmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """The sum."""
        return replace(parts[0], counts=torch.stack([part.counts for part in parts]).sum(0))

    def values(self) -> Mapping[str, float]:
        """None; it is to be looked at."""
        return {}

    def figures(self) -> Mapping[str, Figure]:
        """``confusion``, if anything has a label."""
        counts = self.counts.cpu().numpy()
        return {"confusion": Confusion(counts, self.classes)} if counts.any() else {}
