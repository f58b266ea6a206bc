"""The scores of one step, whose batch may be computed in parts."""

import torch
from torch import Tensor

from salt.batch import JetBatch


class Turn:
    """Collects the scores of the parts of a batch, in threads too.

    Args:
        batch: The whole batch.
        bins: [B] of the nuisance.

    Attributes:
        bins: [B] of the nuisance.
        loss: The adversary's, times the number of jets that count, once it has looked at all scores.
        gradient: [B, C] of that by the scores.
        totals: [2] sum and count of the adversary's losses, once they are known.
    """

    def __init__(self, batch: JetBatch, bins: Tensor) -> None:
        self.bins = bins
        self.loss = torch.zeros(())
        self.gradient: Tensor | None = None
        self.totals: Tensor | None = None
        self._first = batch.rows.storage_offset()
        self._found: dict[int, Tensor] = {}

    def keep(self, part: JetBatch, scores: Tensor) -> None:
        """Adds the [b, C] scores of a part, or replaces them."""
        self._found[self._place(part)] = scores.detach()

    @property
    def scores(self) -> Tensor:
        """[B, C] of all parts, in the order of the batch."""
        found = torch.cat([scores for _, scores in sorted(self._found.items())])
        assert len(found) == len(self.bins)
        return found

    def of(self, part: JetBatch, values: Tensor) -> Tensor:
        """The rows of a part, of [B, ...] values."""
        start = self._place(part)
        return values[start : start + len(part)]

    def _place(self, part: JetBatch) -> int:
        """The first jet of a part, whose rows are a slice of those of the batch."""
        return (part.rows.storage_offset() - self._first) // max(1, part.rows.stride(0))
