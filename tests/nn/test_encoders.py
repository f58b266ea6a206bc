from functools import partial

import contracts
import pytest
import torch

from salt.errors import ConfigError
from salt.nn import GraphAttention, Transformer
from salt.nn.buckets import make_plan
from salt.nn.graph_attention import GraphAttentionLayer

ENCODERS = {
    "graph": partial(GraphAttention, num_layers=2, num_heads=4, dropout=0.1),
    "transformer": partial(Transformer, num_layers=2, num_heads=4, dropout=0.1),
    "gated": partial(Transformer, num_layers=2, num_heads=2, gated=True, activation="silu", feed_forward=24),
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
