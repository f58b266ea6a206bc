"""Features of pairs of constituents."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from salt.graphs import outside_graphs
from salt.ragged import Pairs

PIECE = 2048
"""Pairs that a CPU does at a time, so that they stay in its cache; a GPU does all at once."""


@outside_graphs
def pair_features(both_TD: Tensor, difference_TD: Tensor, pairs: Pairs) -> Tensor:
    """``b_i + b_j + |d_i - d_j|`` for each pair (i, j).

    Args:
        both_TD: [T, D] b.
        difference_TD: [T, D] d.
        pairs: The P pairs.

    Returns:
        [P, D].
    """
    out: Tensor = _PairFeatures.apply(both_TD, difference_TD, pairs.first, pairs.second)
    return out


class _PairFeatures(torch.autograd.Function):
    """Keeps nothing of the size of the pairs for the backward pass; autograd would keep the differences."""

    @staticmethod
    def forward(ctx: Any, both: Tensor, difference: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """[T, D] twice and [P] twice to [P, D]."""
        ctx.save_for_backward(difference, first, second)
        members_P2 = torch.stack([first, second], dim=1)
        sign_P2 = difference.new_tensor([1.0, -1.0]).repeat(len(first), 1)
        # A bag is a pair: both of its rows are fetched and added in one pass.
        sum_PD = functional.embedding_bag(members_P2, both, mode="sum")
        difference_PD = functional.embedding_bag(members_P2, difference, mode="sum", per_sample_weights=sign_P2)
        return sum_PD.add_(difference_PD.abs_())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """[P, D] to [T, D] twice, summed in float32 or better."""
        difference, first, second = ctx.saved_tensors
        dtype = torch.promote_types(difference.dtype, torch.float32)
        to_both, to_difference = (torch.zeros_like(difference, dtype=dtype) for _ in range(2))
        for part, i, j in _pieces(gradient, first, second):
            part = part.to(dtype)
            to_both.index_add_(0, i, part).index_add_(0, j, part)
            sign = difference.index_select(0, i).sub_(difference.index_select(0, j)).sign_() * part
            to_difference.index_add_(0, i, sign).index_add_(0, j, sign, alpha=-1)
        return to_both.to(difference.dtype), to_difference.to(difference.dtype), None, None


def _pieces(values: Tensor, first: Tensor, second: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Views of the pairs and their [P, D] values, a few at a time."""
    size = PIECE if values.device.type == "cpu" else max(len(first), 1)
    return list(zip(values.split(size), first.split(size), second.split(size), strict=True))
