import math

import contracts
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from salt.batch import JetBatch
from salt.errors import ConfigError
from salt.ragged import Ragged, pairs
from salt.tasks import Embedding, Vertexing
from salt.tasks.vertexing import PairLogits

TASK = Vertexing("tracks", name="vertices", embed_dim=4, hidden=[5])


def raw_of(counts, logits):
    x = Ragged.from_counts(torch.zeros(sum(counts), 1), torch.tensor(counts, dtype=torch.int64))
    return PairLogits(torch.tensor(logits, dtype=torch.float32), pairs(x), x.offsets, x.jet_T)


def batch_of(labels, counts=(3, 1, 0, 2)):
    rows = contracts.random_rows(counts, 1, torch.float32)
    return JetBatch(
        torch.zeros(len(counts), 1), {"tracks": rows}, {TASK.target: torch.tensor(labels)}, torch.arange(0), {}
    )


def test_loss_by_hand():
    """Pairs 01, 02, 12 of one jet of three, none of a jet of one, none of an empty jet, 45 of the last."""
    third = math.log(3)
    raw = raw_of([3, 1, 0, 2], [third, -third, 0, third])
    loss = TASK.loss(raw, batch_of([1, 1, 2, 0, 5, 5]))
    assert float(loss.sum) == pytest.approx(math.log(4 / 3) + math.log(4 / 3) + math.log(2) + math.log(4 / 3))
    assert float(loss.count) == 4


def test_pairs_without_a_label_do_not_count():
    third = math.log(3)
    raw = raw_of([3, 1, 0, 2], [third, -third, 0, third])
    loss = TASK.loss(raw, batch_of([1, -1, 2, 0, -2, -2]))
    assert float(loss.sum) == pytest.approx(math.log(4 / 3))
    assert float(loss.count) == 1
    found = TASK.metrics(raw, batch_of([1, 1, 2, 0, 5, 4]))
    assert (float(found["pair_efficiency"].sum), float(found["pair_efficiency"].count)) == (1, 1)
    assert (float(found["pair_purity"].sum), float(found["pair_purity"].count)) == (1, 2)


def test_no_pair_in_the_batch():
    x = contracts.random_rows((1, 0, 1), 4, torch.float32)
    raw = TASK(Embedding(torch.randn(3, 4), {"tracks": x}))
    loss = TASK.loss(raw, batch_of([0, 0], (1, 0, 1)))
    contracts.trains(TASK, loss.sum)
    assert (float(loss.sum.detach()), float(loss.count)) == (0, 0)
    assert TASK.predict(raw)["VertexIndex"].tolist() == [0, 0]


def test_first_layer_is_that_of_the_docstring_and_symmetric():
    task = contracts.randomised(Vertexing("tracks", name="vertices", embed_dim=4, hidden=[]), torch.float64)
    x = contracts.random_rows((2,), 4, torch.float64)
    jets = torch.randn(1, 4, dtype=torch.float64)
    logit = task(Embedding(jets, {"tracks": x})).logits
    both, difference = task.both, task.difference
    a = x.values @ both.rows.weight.T + both.rows.bias + jets @ both.context.weight.T
    c = x.values @ difference.weight.T
    contracts.close(logit, (a[0] + a[1] + (c[0] - c[1]).abs()), 1e-12)
    swapped = task(Embedding(jets, {"tracks": x.with_values(x.values.flip(0))})).logits
    contracts.close(swapped, logit, 1e-12)


def test_groups_are_connected_components():
    """In the first jet 0-2 and 2-3 are linked and 1 is alone; in the last both are."""
    raw = raw_of([4, 0, 1, 2], [-1, 1, -1, -1, -1, 1, 1])
    assert TASK.predict(raw)["VertexIndex"].tolist() == [0, 1, 0, 0, 0, 0, 0]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 12), max_size=5), st.integers(0, 2**31), st.floats(0, 1))
def test_groups_are_those_of_a_search(counts, seed, share):
    generator = torch.Generator().manual_seed(seed)
    number = sum(n * (n - 1) // 2 for n in counts)
    raw = raw_of(counts, (torch.rand(number, generator=generator) < share).float().mul(2).sub(1).tolist())
    links = [
        {int(a), int(b)} for a, b, logit in zip(raw.pairs.first, raw.pairs.second, raw.logits, strict=True) if logit > 0
    ]
    expected, start = [], 0
    for count in counts:
        groups = {}
        for row in range(start, start + count):
            if row not in groups:
                index, reached = len(set(groups.values())), {row}
                while more := {b for link in links if link & reached for b in link} - reached:
                    reached |= more
                groups.update(dict.fromkeys(reached, index))
        expected += [groups[row] for row in range(start, start + count)]
        start += count
    assert TASK.predict(raw)["VertexIndex"].tolist() == expected


def test_a_long_chain_is_one_group():
    """500 constituents, each linked with the next one alone."""
    count = 500
    x = Ragged.from_counts(torch.zeros(count, 1), torch.tensor([count]))
    found = pairs(x)
    logits = torch.where(found.second - found.first == 1, 1.0, -1.0)
    assert not TASK.predict(PairLogits(logits, found, x.offsets, x.jet_T))["VertexIndex"].any()


def test_jets_have_no_vertices():
    with pytest.raises(ConfigError, match="its input cannot be 'jets'"):
        Vertexing("jets", name="vertices", embed_dim=4)
