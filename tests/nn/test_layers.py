"""Dense networks, normalisation, embedding and pooling."""

import copy
from functools import partial

import contracts
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from salt.errors import ConfigError, DataError
from salt.nn import AttentionPooling, Embed, MeanPooling, Normalise, SumPooling
from salt.nn.dense import ContextDense, Dense
from salt.nn.linear import Linear
from salt.statistics import Scale

SINK = partial(AttentionPooling, sink=True)


@pytest.mark.parametrize("kind", [AttentionPooling, SINK, MeanPooling, SumPooling])
def test_pooling_contract(kind):
    contracts.check_pooling(kind)


@pytest.mark.parametrize("kind", [AttentionPooling, SINK, MeanPooling, SumPooling])
def test_pooling_is_the_sum_written_out(kind):
    pooling = contracts.randomised(kind(embed_dim=4), torch.float64)
    x = contracts.random_rows((3, 0, 1, 5), 4, torch.float64)
    got = pooling(x)
    assert torch.equal(got[1], torch.zeros(4, dtype=torch.float64))
    for b in (0, 2, 3):
        rows = contracts.jets_of(x)[b].values
        if isinstance(pooling, AttentionPooling):
            weight = pooling.score(rows)[:, 0].exp()
            expected = weight / (weight.sum() + (kind is SINK)) @ rows
        else:
            expected = rows.sum(0) / (len(rows) if kind is MeanPooling else 1)
        contracts.close(got[b], expected, 1e-12)


@pytest.mark.parametrize("kind", [AttentionPooling, SINK, MeanPooling, SumPooling])
def test_pooling_gradients(kind):
    pooling = contracts.randomised(kind(embed_dim=3), torch.float64)
    x = contracts.random_rows((2, 0, 1, 3), 3, torch.float64)
    assert torch.autograd.gradcheck(lambda v: pooling(x.with_values(v)), (x.values.requires_grad_(),))


@pytest.mark.parametrize("hidden", [(), (5,), (6, 4)])
def test_context_enters_as_if_concatenated(hidden):
    split = ContextDense(3, 2, hidden, 4).double()
    whole = Dense(5, hidden, 4).double()
    x = contracts.random_rows((2, 0, 3), 3, torch.float64)
    context = torch.randn(3, 2, dtype=torch.float64)
    first = split.first
    parameters = [torch.cat([first.rows.weight, first.context.weight], 1), first.rows.bias, *split.rest.parameters()]
    with torch.no_grad():
        for mine, theirs in zip(whole.parameters(), parameters, strict=True):
            mine.copy_(theirs)
    together = whole(torch.cat([x.values, context[x.jet_T]], 1))
    contracts.close(split(x.values, context, x.jet_T), together, 1e-12)


def test_embed_attaches_the_jet():
    embed = Embed(3, 2, 4, hidden=[5]).double()
    x = contracts.random_rows((2, 0, 3), 3, torch.float64)
    jets = torch.randn(3, 2, dtype=torch.float64)
    moved = jets.clone()
    moved[2] += 1
    same = (embed(x, jets).values == embed(x, moved).values).all(-1)
    assert same.tolist() == [True, True, False, False, False]


def test_sizes_of_layers():
    with pytest.raises(ConfigError, match=r"hidden is \[4, 0\]"):
        Dense(3, [4, 0], 2)


def test_normalise():
    module = Normalise("jets", ["pt", "eta"])
    x = torch.tensor([[1e6, 1.0], [3e6, -1.0]])
    assert not module.fitted
    assert torch.equal(module(x), x)
    module.adopt({"eta": Scale(0.5, 0.5), "pt": Scale(2e6, 1e6), "phi": Scale(0, 1)})
    assert module.fitted
    expected = torch.tensor([[-1.0, 1.0], [1.0, -3.0]])
    assert torch.equal(module(x), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module(x), expected)
    assert module.double()(x).dtype == torch.float64
    again = Normalise("jets", ["pt", "eta"])
    again.load_state_dict(module.state_dict())
    assert again.fitted
    assert torch.equal(again(x), expected)


def test_scales_that_cannot_be():
    module = Normalise("tracks", ["d0", "z0"])
    with pytest.raises(DataError, match="unknown variable 'z0' in the normalisation of 'tracks'; nearest: z00"):
        module.adopt({"d0": Scale(0, 1), "z00": Scale(0, 1)})
    for bad in (Scale(0, 0), Scale(0, float("nan")), Scale(float("inf"), 1)):
        with pytest.raises(DataError, match="variable 'z0' of input 'tracks'"):
            module.adopt({"d0": Scale(0, 1), "z0": bad})
    assert not module.fitted


@pytest.mark.parametrize("rows", [1, 255, 256, 257, 1000, 5121])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers_in_half_precision(rows, bias):
    """Forward and gradients as in float64, but for the rounding to 8 bits."""
    torch.manual_seed(rows)
    layer = Linear(24, 8, bias=bias)
    exact = copy.deepcopy(layer).double()
    x = torch.randn(rows, 24, requires_grad=True)
    exact_x = x.detach().double().requires_grad_()
    gradient = torch.randn(rows, 8)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
    assert out.dtype == torch.bfloat16
    out.backward(gradient.bfloat16())
    exact(exact_x).backward(gradient.double())
    pairs = [(out, exact(exact_x)), (x.grad, exact_x.grad)]
    pairs += [(p.grad, q.grad) for p, q in zip(layer.parameters(), exact.parameters(), strict=True)]
    for ours, true in pairs:
        assert ours.shape == true.shape
        assert (ours.double() - true).norm() < 0.01 * true.norm()


def test_linear_layers_in_half_precision_have_few_shapes():
    """Whatever the number of rows, the products have few, since code is made for each."""
    shapes = set()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function._overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm):
                shapes.add(tuple(x.shape for x in args))
            return function(*args, **(kwargs or {}))

    layer = Linear(8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        for rows in range(3000, 3500, 7):
            out = layer(torch.randn(rows, 8, requires_grad=True))
            with Watch():
                layer(torch.randn(rows, 8))
                out.sum().backward()
    assert 0 < len(shapes) <= 12
