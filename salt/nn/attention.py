"""Attention among the constituents of a jet, on packed rows."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from salt.nn.buckets import Plan


def attention(query_key_value: Tensor, plan: Plan, num_heads: int, dropout: float = 0.0) -> Tensor:
    """Scaled dot-product attention within each jet (Vaswani et al. 2017, arXiv:1706.03762).

    Row i of a jet becomes ``sum_j softmax_j(q_i k_j / sqrt(D / H)) v_j`` over all rows j of the same jet, for each
    head on its own slice of the width.

    Args:
        query_key_value: [T, 3 D] queries, keys and values side by side.
        plan: The buckets of the jets.
        num_heads: H.
        dropout: Probability to drop an attention weight.

    Returns:
        [T, D].
    """
    parts = []
    for x, bucket in zip(plan.split(query_key_value), plan.buckets, strict=True):
        q_bHLD, k_bHLD, v_bHLD = x.unflatten(-1, (3, num_heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        mask = None if bucket.mask is None else bucket.mask[:, None]
        parts.append(_attend(q_bHLD, k_bHLD, v_bHLD, mask, dropout).transpose(1, 2).flatten(2))
    return plan.join(parts)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """[b, H, L, D / H] each, with a mask that broadcasts to [b, H, L, L].

    PyTorch's kernel for half precision on CPUs is slower with a mask than the two products written out.
    """
    if mask is None or q.device.type != "cpu" or q.dtype.itemsize > 2:
        return functional.scaled_dot_product_attention(q, k, v, mask, dropout)
    score = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    weight = score.masked_fill(~mask, -torch.inf).softmax(-1, dtype=torch.float32).to(v.dtype)
    return functional.dropout(weight, dropout) @ v


class SelfAttention(nn.Module):
    """Multi-head self-attention within each jet, with linear maps before and after.

    Args:
        embed_dim: D.
        num_heads: H.
        dropout: Probability to drop an attention weight.
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.query_key_value = nn.Linear(embed_dim, 3 * embed_dim)
        self.out = nn.Linear(embed_dim, embed_dim)

    def forward(self, x_TD: Tensor, plan: Plan) -> Tensor:
        """[T, D] to [T, D]."""
        dropout = self.dropout if self.training else 0.0
        out: Tensor = self.out(attention(self.query_key_value(x_TD), plan, self.num_heads, dropout))
        return out
