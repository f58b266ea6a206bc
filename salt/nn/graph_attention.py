"""The graph attention encoder."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from salt.graphs import outside_graphs
from salt.nn.buckets import Plan, make_plan
from salt.nn.dense import make_activation, make_dropout
from salt.nn.encoder import Encoder, check_depth
from salt.nn.linear import Linear
from salt.ragged import Ragged


class GraphAttentionLayer(nn.Module):
    """Graph attention among all constituents of a jet, each with itself too: GATv2, arXiv:2105.14491.

    For each head, with ``l_i = W_l x_i``, ``r_j = W_r x_j`` and a learned vector a::

        e_ij = a . LeakyReLU(l_i + r_j)
        y_i = sum_j softmax_j(e_ij) r_j

    The heads' results lie side by side.

    Args:
        embed_dim: D.
        num_heads: H.
        dropout: Probability to drop an attention weight.
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = make_dropout(dropout)
        self.ends = Linear(embed_dim, 2 * embed_dim)
        self.vector = nn.Parameter(torch.empty(num_heads, embed_dim // num_heads))
        nn.init.xavier_uniform_(self.vector)

    def forward(self, x_TD: Tensor, plan: Plan) -> Tensor:
        """[T, D] to [T, D]."""
        return _attend(self.ends(x_TD), self.vector, self.dropout, plan)


@outside_graphs
def _attend(ends_TD: Tensor, vector: Tensor, dropout: nn.Module, plan: Plan) -> Tensor:
    """From [T, 2 D] left and right ends to [T, D]."""
    num_heads = len(vector)
    vector_DH = torch.block_diag(*vector.unbind()).t()
    parts = []
    for x, bucket in zip(plan.split(ends_TD), plan.buckets, strict=True):
        left_bLD, right_bLD = x.chunk(2, dim=-1)
        edge_bLLD = functional.leaky_relu(left_bLD[:, :, None] + right_bLD[:, None, :], 0.2, inplace=True)
        score_bHLL = (edge_bLLD @ vector_DH.to(x.dtype)).permute(0, 3, 1, 2)
        if bucket.mask is not None:
            score_bHLL = score_bHLL + bucket.mask[:, None].to(score_bHLL.dtype)
        weight_bHLL = dropout(score_bHLL.softmax(-1).to(x.dtype))
        right_bHLD = right_bLD.unflatten(-1, (num_heads, -1)).transpose(1, 2)
        parts.append((weight_bHLL @ right_bHLD).transpose(1, 2).flatten(2))
    return plan.join(parts)


class GraphAttentionBlock(nn.Module):
    """Graph attention, activation and a linear map, normalised before and added to its input.

    Args:
        embed_dim: D.
        num_heads: H.
        activation: Name of the activation.
        dropout: Probability to drop an attention weight or a unit of the result.
    """

    def __init__(self, embed_dim: int, num_heads: int, activation: str, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(embed_dim)
        self.attention = GraphAttentionLayer(embed_dim, num_heads, dropout)
        self.activation = make_activation(activation)
        self.out = Linear(embed_dim, embed_dim)
        self.dropout = make_dropout(dropout)

    def forward(self, x_TD: Tensor, plan: Plan) -> Tensor:
        """[T, D] to [T, D]."""
        change: Tensor = self.dropout(self.out(self.activation(self.attention(self.norm(x_TD), plan))))
        return x_TD + change


class GraphAttention(Encoder):
    """A graph network with attention (GATv2) on the fully connected graph of the constituents of each jet.

    Args:
        num_layers: Number of layers.
        num_heads: Number of attention heads; they share the width evenly.
        activation: Activation after each attention: relu, leaky_relu, elu, gelu, silu or tanh.
        dropout: Probability to drop an attention weight or a unit.
        embed_dim: Width, set by the model.
    """

    def __init__(
        self,
        num_layers: int = 4,
        num_heads: int = 8,
        activation: str = "elu",
        dropout: float = 0.0,
        *,
        embed_dim: int,
    ) -> None:
        super().__init__()
        check_depth(num_layers, num_heads, embed_dim)
        self.layers = nn.ModuleList(
            GraphAttentionBlock(embed_dim, num_heads, activation, dropout) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(embed_dim)

    def forward(self, x: Ragged) -> Ragged:
        """[T, D] rows to [T, D] rows."""
        plan = make_plan(x)
        values = x.values
        for layer in self.layers:
            values = layer(values, plan)
        return x.with_values(self.norm(values))
