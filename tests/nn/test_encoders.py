import math
from functools import partial

import contracts
import pytest
import torch

from salt.errors import ConfigError
from salt.nn import GraphAttention, Transformer
from salt.nn.attention import _attend, attention
from salt.nn.buckets import make_plan
from salt.nn.graph_attention import GraphAttentionLayer

ENCODERS = {
    "graph": partial(GraphAttention, num_layers=2, num_heads=4, dropout=0.1),
    "transformer": partial(Transformer, num_layers=2, num_heads=4, dropout=0.1),
    "gated": partial(Transformer, num_layers=2, num_heads=2, gated=True, activation="silu", feed_forward=24),
    "registers": partial(Transformer, num_layers=2, num_heads=4, registers=3),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_contract(name):
    contracts.check_encoder(ENCODERS[name])


@pytest.mark.parametrize("name", ENCODERS)
def test_gradients(name):
    encoder = contracts.randomised(ENCODERS[name](embed_dim=4), torch.float64)
    x = contracts.random_rows((2, 0, 1, 3), 4, torch.float64)
    assert torch.autograd.gradcheck(
        lambda values: encoder(x.with_values(values)).values, (x.values.requires_grad_(),), fast_mode=True
    )


def test_attention_is_the_sum_written_out():
    heads, width = 2, 3
    x = contracts.random_rows((3, 0, 1, 5), 3 * heads * width, torch.float64)
    got = attention(x.values, make_plan(x), heads)
    expected = torch.zeros_like(got)
    query, key, value = (x.values.view(-1, 3, heads, width)[:, k] for k in range(3))
    for i in range(len(x.values)):
        mates = [j for j in range(len(x.values)) if x.jet_T[j] == x.jet_T[i]]
        for h in range(heads):
            score = [math.exp(sum(query[i, h, d] * key[j, h, d] for d in range(width)) / width**0.5) for j in mates]
            for d in range(width):
                result = sum(s * value[j, h, d] for s, j in zip(score, mates, strict=True)) / sum(score)
                expected[i, h * width + d] = result
    contracts.close(got, expected, 1e-12)


def test_half_precision_attention_agrees_with_full():
    q, k, v = torch.randn(3, 5, 2, 4, 8)
    mask = (torch.arange(4) < torch.tensor([4, 1, 2, 3, 4])[:, None])[:, None, None, :]
    half = _attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), mask, 0.0)
    contracts.close(half.float(), _attend(q, k, v, mask, 0.0), 0.05)


def test_graph_attention_is_the_paper_written_out():
    heads, width = 2, 8
    layer = contracts.randomised(GraphAttentionLayer(width, heads), torch.float64)
    x = contracts.random_rows((3, 0, 1, 5), width, torch.float64)
    got = layer(x.values, make_plan(x))
    left, right = layer.ends(x.values).chunk(2, dim=-1)
    for i in range(len(x.values)):
        mates = (x.jet_T == x.jet_T[i]).nonzero().flatten()
        for h in range(heads):
            part = slice(h * width // heads, (h + 1) * width // heads)
            edge = left[i, part] + right[mates, part]
            score = torch.where(edge > 0, edge, 0.2 * edge) @ layer.vector[h]
            contracts.close(got[i, part], score.softmax(0) @ right[mates, part], 1e-12)


def test_registers_change_what_constituents_see_and_are_gone_after():
    encoder = contracts.randomised(ENCODERS["registers"](embed_dim=8), torch.float64)
    x = contracts.random_rows((2, 0, 3), 8, torch.float64)
    before = encoder(x).values
    with torch.no_grad():
        encoder.registers[1] *= -1
    after = encoder(x).values
    assert before.shape == after.shape == x.values.shape
    assert not torch.isclose(before, after).all(-1).any()


@pytest.mark.parametrize("kind", [GraphAttention, Transformer])
def test_sizes_that_do_not_fit(kind):
    with pytest.raises(ConfigError, match="embed_dim 10 cannot be shared evenly by num_heads 4"):
        kind(num_heads=4, embed_dim=10)
    with pytest.raises(ConfigError, match="num_layers 0"):
        kind(num_layers=0, embed_dim=8)
    with pytest.raises(ConfigError, match="unknown activation 'rleu'; nearest: relu"):
        kind(activation="rleu", embed_dim=8)
    with pytest.raises(ConfigError, match=r"dropout is 1\.5"):
        kind(dropout=1.5, embed_dim=8)
