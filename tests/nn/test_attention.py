"""Each way to compute attention against the sum written out in float64."""

import math
from functools import partial

import contracts
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from salt.errors import ConfigError
from salt.nn import Transformer
from salt.nn.attention import Rows, attention, choose_backend, make_layout
from salt.ragged import Ragged

HEADS = 2
WIDTH = 16


def one_jet_at_a_time(values, x, heads, sink=False):
    """The reference: each jet alone, in float64."""
    out = []
    for jet in values.double().split(x.host_counts.tolist()):
        query, key, value = jet.unflatten(-1, (3, heads, -1)).permute(1, 2, 0, 3)
        if sink:
            key, value = (functional.pad(each, (0, 0, 0, 1)) for each in (key, value))
        score = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        out.append((score.softmax(-1) @ value).transpose(0, 1).flatten(1))
    return torch.cat(out)


def computed(x, backend, dtype, sink):
    """Values and gradients of a backend, and of the reference at the same rounded inputs."""
    values = x.values.to(dtype).requires_grad_()
    direction = torch.randn(len(values), WIDTH).to(dtype)
    layout = make_layout(x, dtype, WIDTH, HEADS, 0.0, backend, sink)
    out = attention(values, layout, HEADS)
    (gradient,) = torch.autograd.grad(out, values, direction)
    exact_values = values.detach().double().requires_grad_()
    exact = one_jet_at_a_time(exact_values, x, HEADS, sink)
    (exact_gradient,) = torch.autograd.grad(exact, exact_values, direction.double())
    return (out, gradient), (exact, exact_gradient)


def random_jets(sizes, seed=0):
    torch.manual_seed(seed)
    return Ragged.from_counts(torch.randn(sum(sizes), 3 * WIDTH), torch.tensor(sizes, dtype=torch.int64))


@pytest.mark.parametrize("sink", [False, True])
def test_the_reference_is_the_sum_written_out(sink):
    x = random_jets((3, 0, 1, 5))
    got = one_jet_at_a_time(x.values, x, HEADS, sink)
    query, key, value = (x.values.double().view(-1, 3, HEADS, WIDTH // HEADS)[:, k] for k in range(3))
    for i in range(len(x.values)):
        mates = [j for j in range(len(x.values)) if x.jet_T[j] == x.jet_T[i]]
        for h in range(HEADS):
            score = [math.exp(float(query[i, h] @ key[j, h]) / (WIDTH // HEADS) ** 0.5) for j in mates]
            expected = sum(s * value[j, h] for s, j in zip(score, mates, strict=True)) / (sum(score) + sink)
            contracts.close(got[i, h * WIDTH // HEADS : (h + 1) * WIDTH // HEADS], expected, 1e-12)


TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 0.06}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("backend", ["rows", "sdpa"])
@pytest.mark.parametrize("sink", [False, True])
def test_values_and_gradients(sink, backend, dtype):
    for sizes in ((3, 0, 7, 1, 20, 40, 5, 2, 2, 9), (4, 4, 4), (15, 15), (70, 2, 1), (1, 0), (3,), tuple(range(18))):
        got, expected = computed(random_jets(sizes), backend, dtype, sink)
        for ours, exact in zip(got, expected, strict=True):
            assert ours.dtype == dtype
            contracts.close(ours.double(), exact, TOLERANCE[dtype])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 24), min_size=1, max_size=30), st.booleans())
def test_any_jets_in_shared_rows(sizes, sink):
    got, expected = computed(random_jets(tuple(sizes)), "rows", torch.float64, sink)
    for ours, exact in zip(got, expected, strict=True):
        contracts.close(ours, exact, 1e-12)


@pytest.mark.parametrize("sink", [False, True])
def test_dropout_drops_weights_and_its_gradient_is_the_one_of_what_was_kept(sink):
    x = random_jets((6, 3, 12))
    layout = make_layout(x, torch.float64, WIDTH, HEADS, 0.5, "rows", sink)
    values = x.values.double().requires_grad_()

    def drawn(v):
        torch.manual_seed(1)
        return attention(v, layout, HEADS, 0.5)

    assert torch.autograd.gradcheck(drawn, (values,), fast_mode=True)
    torch.manual_seed(0)
    mean = torch.stack([attention(values.detach(), layout, HEADS, 0.5) for _ in range(4000)]).mean(0)
    contracts.close(mean, one_jet_at_a_time(values.detach(), x, HEADS, sink), 0.15)


def test_the_rule():
    half, full = torch.bfloat16, torch.float32
    assert choose_backend("cpu", full, 16, 40, 0.0) == "rows"
    assert choose_backend("cpu", full, 16, 1000, 0.0) == "sdpa"
    assert choose_backend("cpu", half, 16, 1000, 0.0) == "rows"
    assert choose_backend("cuda", half, 16, 40, 0.0) == "varlen"
    assert choose_backend("cuda", half, 16, 40, 0.1) == "sdpa"
    assert choose_backend("cuda", half, 12, 40, 0.0) == "sdpa"
    assert choose_backend("cuda", full, 16, 40, 0.0) == "sdpa"


def test_what_was_asked_for_is_taken():
    x = random_jets((3, 2))
    assert isinstance(make_layout(x, torch.float32, WIDTH, HEADS, 0.0, "auto", False), Rows)
    assert not isinstance(make_layout(x, torch.float32, WIDTH, HEADS, 0.0, "sdpa", False), Rows)
    for dtype, problem in ((torch.bfloat16, "runs on CUDA devices only"), (torch.float32, "CUDA")):
        with pytest.raises(ConfigError, match=f"attention: varlen .*{problem}"):
            make_layout(x, dtype, WIDTH, HEADS, 0.0, "varlen", False)
    with pytest.raises(ConfigError, match=r"unknown attention 'flash'; .*rows"):
        Transformer(embed_dim=8, attention="flash")


@pytest.mark.parametrize("sink", [False, True])
def test_flash_attention_runs_through_without_a_gpu(sink):
    """On PyTorch's device without memory: shapes and types of forward and backward; the numbers need a GPU."""
    pytest.importorskip("torch.nn.attention.varlen")
    encoder = Transformer(num_layers=2, num_heads=HEADS, attention="varlen", sink=sink, embed_dim=WIDTH)
    encoder = encoder.to("meta", torch.bfloat16)
    counts = torch.tensor([3, 0, 5])
    offsets = torch.tensor([0, 3, 3, 8])
    values = torch.empty(int(counts.sum()), WIDTH, device="meta", dtype=torch.bfloat16, requires_grad=True)
    out = encoder(Ragged(values, offsets.to("meta"), offsets)).values
    assert out.shape == values.shape
    assert out.dtype == torch.bfloat16
    out.sum().backward()
    assert values.grad is not None
    assert all(p.grad is not None and p.grad.shape == p.shape for p in encoder.parameters())


@pytest.mark.parametrize("sink", [False, True])
@pytest.mark.parametrize("attention", ["rows", "sdpa"])
def test_the_encoder_gives_the_same_with_each(attention, sink):
    torch.manual_seed(0)
    encoder = partial(Transformer, num_layers=2, num_heads=HEADS, sink=sink, embed_dim=WIDTH)
    reference = contracts.randomised(encoder(), torch.float64)
    other = encoder(attention=attention).double()
    other.load_state_dict(reference.state_dict())
    x = contracts.random_rows((3, 0, 9, 1), WIDTH, torch.float64)
    contracts.close(other(x).values, reference(x).values, 1e-12)


def test_half_precision_weights_sum_to_one():
    """Where all values are equal, so is the result, however the scores are rounded."""
    x = random_jets((30, 3))
    values = x.values.bfloat16()
    values[:, 2 * WIDTH :] = 1.0
    out = attention(values, make_layout(x, torch.bfloat16, WIDTH, HEADS, 0.0, "rows", False), HEADS)
    contracts.close(out.float(), functional.normalize(torch.ones_like(out.float()), torch.inf), 0.01)
