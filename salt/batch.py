"""The one batch type of the package."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from salt.inputs import JETS, Target
from salt.ragged import Ragged


@dataclass(frozen=True, eq=False)
class JetBatch:
    """B jets with their constituents, as read: not normalised, nothing padded.

    Args:
        jets: [B, F] float32, the variables of the input ``jets`` in the order of the config.
        constituents: For each other input its [T, F] float32 variables.
        labels: For each target that the files hold: [B] for jets, [T] for constituents. int64 for the kinds
            ``class`` (index into the classes, -1 for none) and ``index``, float32 for the others. Absent where a file
            that is only to be scored does not have the variable.
        rows: [B] int64, the row of each jet in the files one after the other.
        slots: For each constituent input [T] int64: the place of each constituent on the padded axis of the file.
    """

    jets: Tensor
    constituents: Mapping[str, Ragged]
    labels: Mapping[Target, Tensor]
    rows: Tensor
    slots: Mapping[str, Tensor]

    def __len__(self) -> int:
        return self.jets.shape[0]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "JetBatch":
        """On another device. Rows and slots stay on the host, which is where they are used."""
        return JetBatch(
            self.jets.to(device, non_blocking=non_blocking),
            {k: v.to(device, non_blocking) for k, v in self.constituents.items()},
            {k: v.to(device, non_blocking=non_blocking) for k, v in self.labels.items()},
            self.rows,
            self.slots,
        )

    def parts(self, number: int) -> list["JetBatch"]:
        """Consecutive jets in at most `number` parts of about as many constituents, of all inputs together.

        Without inputs of constituents they have about as many jets.
        """
        each = [x.host_counts for x in self.constituents.values()] or [torch.ones(len(self), dtype=torch.int64)]
        counts = torch.stack(each).sum(0)
        wanted = torch.arange(1, number) * (int(counts.sum()) / number)
        cuts = torch.searchsorted(counts.cumsum(0).double(), wanted.double()) + 1
        edges = sorted({0, *cuts.clamp(max=len(self) - 1).tolist(), len(self)})
        return [self._jets(*span) for span in pairwise(edges)]

    def _jets(self, start: int, stop: int) -> "JetBatch":
        spans = {JETS: slice(start, stop)}
        constituents = {}
        for name, x in self.constituents.items():
            first, last = int(x.host_offsets[start]), int(x.host_offsets[stop])
            spans[name] = slice(first, last)
            offsets, host = x.offsets[start : stop + 1] - first, x.host_offsets[start : stop + 1] - first
            constituents[name] = Ragged(x.values[first:last], offsets, host)
        return JetBatch(
            self.jets[start:stop],
            constituents,
            {target: label[spans[target.input]] for target, label in self.labels.items()},
            self.rows[start:stop],
            {name: slots[spans[name]] for name, slots in self.slots.items()},
        )

    def pin_memory(self) -> "JetBatch":
        """In page-locked memory; PyTorch's loader calls this."""
        return JetBatch(
            self.jets.pin_memory(),
            {k: v.pin_memory() for k, v in self.constituents.items()},
            {k: v.pin_memory() for k, v in self.labels.items()},
            self.rows,
            self.slots,
        )
