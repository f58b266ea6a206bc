"""A step in parts, side by side or not, is the step as a whole."""

from functools import partial

import contracts
import pytest
import torch
from torch import nn

from salt.inputs import Input
from salt.model import JetTagger
from salt.nn import AttentionPooling, Transformer
from salt.parts import how_many, losses_in_parts, sums_in_parts
from salt.tasks import Classification, Vertexing

INPUTS = {"jets": Input(["pt", "eta"]), "tracks": Input(["d0", "z0"])}


def model(dropout: float = 0.0, dtype: torch.dtype = torch.float64) -> JetTagger:
    tasks = {
        "flavour": partial(Classification, input="jets", label="flavour", classes=["a", "b"], hidden=[8]),
        "vertex": partial(Vertexing, input="tracks", label="vertex", hidden=[8], dropout=dropout),
    }
    encoder = partial(Transformer, 1, 2, dropout=dropout)
    return contracts.randomised(JetTagger(INPUTS, 16, encoder, AttentionPooling, tasks, registers=1), dtype)


def in_parts(tagger: JetTagger, batch, number: int, threads: int, factor: float = 1.0):
    """Sums, loss and gradients of a step."""

    def sums(part):
        raw = tagger(part)
        return torch.stack([task.loss(raw[name], part).sum for name, task in tagger.named_tasks.items()])

    scale = 1 / torch.stack([task.count(batch) for task in tagger.named_tasks.values()]).double()
    parameters = list(tagger.parameters())
    tagger.zero_grad()
    if number == 1:
        each = sums(batch)
        found, loss = each.detach(), (each * scale).sum()
    else:
        found, loss = losses_in_parts(batch.parts(number), sums, scale, parameters, threads, factor)
    (3 * loss).backward()
    return found, loss.detach(), [p.grad for p in parameters]


@pytest.fixture
def batch():
    torch.manual_seed(0)
    counts = torch.randint(0, 12, (40,)).tolist()
    return contracts.random_batch({"jets": 2, "tracks": 2}, model().targets, counts)


@pytest.mark.parametrize(("number", "threads"), [(2, 1), (7, 1), (2, 2), (6, 3)])
def test_parts_give_the_loss_and_the_gradients_of_the_whole(batch, number, threads):
    tagger = model()
    before = torch.get_num_threads()
    whole = in_parts(tagger, batch, 1, 1)
    parts = in_parts(tagger, batch, number, threads, factor=1024.0)
    assert torch.get_num_threads() == before
    for one, other in zip(whole[:2], parts[:2], strict=True):
        contracts.close(one, other, 1e-10)
    for one, other in zip(whole[2], parts[2], strict=True):
        contracts.close(one, other, 1e-10)


def test_dropout_in_threads_follows_the_seed_and_no_more(batch):
    tagger = model(dropout=0.5).train()
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append((in_parts(tagger, batch, 4, 2), torch.get_rng_state()))
    (first, state), (same, same_state), (other, _) = found
    assert torch.equal(first[1], same[1])
    assert all(torch.equal(a, b) for a, b in zip(first[2], same[2], strict=True))
    assert torch.equal(state, same_state), "the next step would not draw the same"
    assert not torch.equal(first[1], other[1])


@pytest.mark.parametrize(("number", "threads"), [(3, 1), (4, 2)])
def test_sums_alone_are_those_of_the_pass_with_gradients(batch, number, threads):
    """With dropout: both passes draw the same numbers, and the next step draws others."""
    tagger = model(dropout=0.5).train()
    parts = batch.parts(number)

    def sums(part):
        raw = tagger(part)
        return torch.stack([task.loss(raw[name], part).sum for name, task in tagger.named_tasks.items()])

    def step():
        return losses_in_parts(parts, sums, torch.ones(2, dtype=torch.float64), list(tagger.parameters()), threads)[0]

    alone = sums_in_parts(parts, sums, threads)
    assert not alone.requires_grad
    contracts.close(step(), alone, 1e-12)
    assert not torch.allclose(step(), alone)
    assert sums_in_parts(parts[:1], sums, threads).shape == (2,)


def test_threads_are_in_the_precision_of_the_one_that_asks(batch):
    tagger = model(dtype=torch.float32)
    full = in_parts(tagger, batch, 2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        half, whole = in_parts(tagger, batch, 2, 2), in_parts(tagger, batch, 1, 1)
    assert not torch.equal(half[1], full[1])
    contracts.close(half[1], whole[1], 0.02)
    assert all(g.dtype == torch.float32 for g in half[2])


def test_an_error_in_a_thread_is_that_of_the_step(batch):
    def fail(part):
        raise MemoryError("no more")

    with pytest.raises(MemoryError, match="no more"):
        losses_in_parts(batch.parts(2), fail, torch.ones(2), [], 2)


def test_how_a_batch_is_cut(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    batch = contracts.random_batch({"jets": 2, "tracks": 2}, model().targets, [30] * 100)
    assert how_many(batch, 10_000, 1, model(), in_threads=True) == (3, 3)  # 1000 constituents for each
    assert how_many(batch, 10_000, 1, model(), in_threads=False) == (1, 1)
    assert how_many(batch, 700, 1, model(), in_threads=True) == (3, 6)
    assert how_many(batch, 700, 1, model(), in_threads=False) == (1, 5)
    assert how_many(batch, 10_000, 8, model(), in_threads=True) == (3, 9)
    for layer in (nn.Dropout(0.1), nn.BatchNorm1d(2)):
        assert how_many(batch, 10_000, 1, nn.Sequential(model(), layer), in_threads=True) == (1, 1)
