"""How far predicted numbers are off, and how much that varies."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from salt.metrics.base import Metric
from salt.metrics.lists import AnyList, Scratch, sweep, totals
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
        """Entries in memory."""
        return self.sample.size

    def spilt(self, scratch: Scratch) -> Self:
        """The same with its entries in a file."""
        return replace(self, sample=self.sample.spilt(scratch))

    def pieces(self) -> Iterator[Self]:
        """The same in parts."""
        return (replace(self, sample=piece) for piece in self.sample.pieces())

    def values(self) -> Mapping[str, float]:
        """``<name>_bias`` and ``<name>_resolution``."""
        found = {}
        for k, name in enumerate(self.names):
            low, median, high = _quantiles(self.sample.lists(k))
            found[f"{name}_bias"] = median
            found[f"{name}_resolution"] = (high - low) / 2
        return found


def _quantiles(lists: Sequence[AnyList]) -> list[float]:
    """The values at the `QUANTILES`, each of which stands for entries of consecutive ranks."""
    place = np.array(QUANTILES) * (totals(lists)[0] - 1)
    ranks = np.concatenate([np.floor(place), np.ceil(place)])
    found, below = np.full(len(ranks), np.nan), 0.0
    for piece in sweep(lists):
        if np.isnan(piece.value[-1]):
            return [float("nan")] * len(QUANTILES)
        up_to = below + piece.weight[:, 0].cumsum()
        here = (ranks >= below) & (ranks < up_to[-1])
        found[here] = piece.value[np.searchsorted(up_to, ranks[here], side="right")]
        below = up_to[-1]
    low, high = found.reshape(2, -1)
    values: list[float] = (low + (high - low) * (place % 1)).tolist()
    return values
