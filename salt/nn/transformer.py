"""The transformer encoder."""

from typing import Literal

import torch
from torch import Tensor, nn

from salt.errors import ConfigError
from salt.nn.attention import Layout, SelfAttention, check_backend, make_layout
from salt.nn.dense import make_activation, make_dropout
from salt.nn.encoder import Encoder, check_depth
from salt.nn.linear import Linear
from salt.ragged import Ragged


class FeedForward(nn.Module):
    """Two linear layers with an activation between, or the gated form of Shazeer 2020, arXiv:2002.05202.

    Gated, the activation of one linear map multiplies another one: with ``silu`` this is SwiGLU. There are no biases,
    as in the attention.

    Args:
        embed_dim: D.
        hidden_dim: Width between the layers.
        activation: Name of the activation.
        gated: Use the gated form.
        dropout: Probability to drop a hidden unit.
    """

    def __init__(self, embed_dim: int, hidden_dim: int, activation: str, gated: bool, dropout: float) -> None:
        super().__init__()
        self.gated = gated
        self.expand = Linear(embed_dim, 2 * hidden_dim if gated else hidden_dim, bias=False)
        self.activation = make_activation(activation)
        self.dropout = make_dropout(dropout)
        self.reduce = Linear(hidden_dim, embed_dim, bias=False)

    def forward(self, x_TD: Tensor) -> Tensor:
        """[T, D] to [T, D]."""
        hidden = self.expand(x_TD)
        if self.gated:
            gate, value = hidden.chunk(2, dim=-1)
            hidden = self.activation(gate) * value
        else:
            hidden = self.activation(hidden)
        out: Tensor = self.reduce(self.dropout(hidden))
        return out


class TransformerLayer(nn.Module):
    """Attention and feed-forward, each normalised before and added to its input (pre-norm).

    Args:
        embed_dim: D.
        num_heads: H.
        feed_forward: The feed-forward network.
        dropout: Probability to drop an attention weight or a unit of either result.
    """

    def __init__(self, embed_dim: int, num_heads: int, feed_forward: FeedForward, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(embed_dim)
        self.attention = SelfAttention(embed_dim, num_heads, dropout)
        self.feed_forward_norm = nn.LayerNorm(embed_dim)
        self.feed_forward = feed_forward
        self.dropout = make_dropout(dropout)

    def forward(self, x_TD: Tensor, layout: Layout) -> Tensor:
        """[T, D] to [T, D]."""
        x_TD = x_TD + self.dropout(self.attention(self.attention_norm(x_TD), layout))
        change: Tensor = self.dropout(self.feed_forward(self.feed_forward_norm(x_TD)))
        return x_TD + change


class Transformer(Encoder):
    """A pre-norm transformer over the constituents of each jet (Xiong et al. 2020, arXiv:2002.04745).

    Args:
        num_layers: Number of layers.
        num_heads: Number of attention heads; they share the width evenly.
        feed_forward: Width of the feed-forward network; twice the width of the model if not given.
        gated: Use the gated feed-forward network (SwiGLU with the activation `silu`).
        activation: Activation of the feed-forward network: relu, leaky_relu, elu, gelu, silu or tanh.
        dropout: Probability to drop an attention weight or a unit.
        attention: How attention is computed: auto for what is fastest on the device, rows for short jets side by side,
            sdpa for PyTorch's attention on padded jets, varlen for flash attention (CUDA, half precision).
        sink: Let each constituent attend to one more, of zeros, too. Its weights need not add up to one then, so that
            how many constituents there are is not lost (attention sinks, arXiv:2309.17453).
        embed_dim: Width, set by the model.
    """

    def __init__(
        self,
        num_layers: int = 4,
        num_heads: int = 8,
        feed_forward: int | None = None,
        gated: bool = False,
        activation: str = "relu",
        dropout: float = 0.0,
        attention: Literal["auto", "rows", "sdpa", "varlen"] = "auto",
        sink: bool = False,
        *,
        embed_dim: int,
    ) -> None:
        super().__init__()
        check_depth(num_layers, num_heads, embed_dim)
        hidden_dim = 2 * embed_dim if feed_forward is None else feed_forward
        if hidden_dim < 1:
            raise ConfigError(f"a Transformer with feed_forward {hidden_dim}; it is at least 1")
        check_backend(attention)
        self.num_heads = num_heads
        self.dropout = dropout
        self.attention = attention
        self.sink = sink
        self.layers = nn.ModuleList(
            TransformerLayer(
                embed_dim, num_heads, FeedForward(embed_dim, hidden_dim, activation, gated, dropout), dropout
            )
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(embed_dim)

    def forward(self, x: Ragged) -> Ragged:
        """[T, D] rows to [T, D] rows."""
        device = x.values.device.type
        mixed = device in ("cpu", "cuda") and torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if mixed else x.values.dtype
        dropout = self.dropout if self.training else 0.0
        layout = make_layout(x, dtype, x.values.shape[1], self.num_heads, dropout, self.attention, self.sink)
        values = x.values
        for layer in self.layers:
            values = layer(values, layout)
        return x.with_values(self.norm(values))
