"""How far predicted numbers are off, and how much that varies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from salt.metrics.base import Metric
from salt.metrics.sample import BOUND, Sample

QUANTILES = (0.16, 0.5, 0.84)
"""Between the outer ones lie 68%, as within one standard deviation of a normal distribution."""


@dataclass(frozen=True, eq=False)
class Residuals(Metric):
    """Bias and resolution: the median of deviations, and half the width of the range of the central 68% of them.

    Quantiles are interpolated linearly between neighbours, as NumPy does it.

    Args:
        sample: [R, K] deviations.
        names: [K] what they are deviations of.
    """

    sample: Sample
    names: tuple[str, ...]

    @classmethod
    def of(cls, deviation: Tensor, valid: Tensor, names: tuple[str, ...], bounded: bool = False) -> Self:
        """From [R, K] deviations, and whether they count.

        Args:
            deviation: The deviations.
            valid: Whether they count.
            names: [K] names.
            bounded: Whether memory is bounded, by values in groups beyond `BOUND` entries.
        """
        kind = torch.where(valid, 0, -1).to(torch.int8)
        return cls(Sample(deviation.detach().float(), kind, 1, BOUND if bounded else None), names)

    @classmethod
    def merged(cls, parts: Sequence[Self]) -> Self:
        """The entries of all."""
        return replace(parts[0], sample=Sample.merged([part.sample for part in parts]))

    @property
    def size(self) -> int:
        """R."""
        return len(self.sample.values)

    def values(self) -> Mapping[str, float]:
        """``<name>_bias`` and ``<name>_resolution``."""
        points = self.sample.points()
        found = {}
        for k, name in enumerate(self.names):
            low, median, high = _quantiles(*points.sorted(k))
            found[f"{name}_bias"] = median
            found[f"{name}_resolution"] = (high - low) / 2
        return found


def _quantiles(value: Tensor, weight: Tensor) -> tuple[float, ...]:
    """The values at the `QUANTILES`, each of which stands for entries of consecutive ranks."""
    if not len(value) or value.isnan().any():
        return (float("nan"),) * len(QUANTILES)
    last = weight[:, 0].cumsum(0).cpu().numpy() - 1
    first = last - weight[:, 0].cpu().numpy() + 1
    ranks = np.stack([first, last], 1).reshape(-1)
    values = value.double().cpu().numpy().repeat(2)
    return tuple(float(q) for q in np.interp(np.array(QUANTILES) * last[-1], ranks, values))
