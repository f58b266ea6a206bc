"""Networks on packed rows: what embeds, encodes and pools the constituents of jets."""

from salt.nn.dense import Dense
from salt.nn.embed import Embed
from salt.nn.encoder import Encoder, EncoderFactory, Pooling, PoolingFactory
from salt.nn.graph_attention import GraphAttention
from salt.nn.normalise import Normalise
from salt.nn.pooling import AttentionPooling, MeanPooling, SumPooling
from salt.nn.transformer import Transformer

__all__ = [
    "AttentionPooling",
    "Dense",
    "Embed",
    "Encoder",
    "EncoderFactory",
    "GraphAttention",
    "MeanPooling",
    "Normalise",
    "Pooling",
    "PoolingFactory",
    "SumPooling",
    "Transformer",
]
