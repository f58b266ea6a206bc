import threading

import numpy as np
import pytest
import torch
from files import INPUTS, TARGETS, make_jets, write_structured

from salt.data import orders
from salt.data.formats import open_reader
from salt.data.loader import StepLoader
from salt.data.orders import Blocks, Sequential, Single, Weak
from salt.data.source import Source
from salt.errors import DataError

NUM = 250


@pytest.fixture
def source(tmp_path):
    path = write_structured(tmp_path / "a.h5", make_jets(NUM))
    return Source("data.train_file", [open_reader(path, {})], INPUTS, TARGETS)


@pytest.fixture(autouse=True)
def small_groups(monkeypatch):
    monkeypatch.setattr(orders, "GROUP_JETS", 64)


def make_orders():
    edges = np.append(np.arange(0, NUM, 10), NUM)
    return {
        "blocks": Blocks.of(edges, 16, 7),
        "weak": Weak(NUM, 16, 7),
        "single": Single(NUM, 16, 7),
        "sequential": Sequential(NUM, 16),
    }


def tensors(batch):
    tracks = batch.constituents["tracks"]
    return [
        batch.jets,
        tracks.values,
        tracks.offsets,
        batch.rows,
        batch.slots["tracks"],
        *(batch.labels[t] for t in TARGETS),
    ]


def same(one, other):
    return len(one) == len(other) and all(
        torch.equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(tensors(x), tensors(y), strict=True)
    )


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_change_nothing_and_epochs_do(source, context):
    epoch = [0]
    alone = {name: StepLoader(source, order, lambda: epoch[0]) for name, order in make_orders().items()}
    kinds = ["blocks", "single"] if context == "fork" else ["blocks"]
    for name in kinds:
        helped = StepLoader(source, make_orders()[name], lambda: epoch[0], num_workers=3, context=context)
        seen = []
        for epoch[0] in (0, 1):
            seen.append(list(alone[name]))
            assert same(seen[-1], list(helped))
            assert len(seen[-1]) == len(helped)
            assert sorted(torch.cat([b.rows for b in seen[-1]]).tolist()) == list(range(NUM))
        assert not same(*seen)
        assert helped.waited > 0


@pytest.mark.parametrize("name", ["blocks", "weak", "single", "sequential"])
@pytest.mark.parametrize("world_size", [2, 20])
def test_ranks_together_make_the_steps_of_one(source, name, world_size):
    order = make_orders()[name]
    whole = list(StepLoader(source, order, lambda: 2))
    ranks = [list(StepLoader(source, order, lambda: 2, rank, world_size)) for rank in range(world_size)]
    for i, step in enumerate(whole):
        assert torch.equal(torch.cat([rank[i].rows for rank in ranks]), step.rows)
        assert torch.equal(torch.cat([rank[i].jets for rank in ranks]), step.jets)
        assert sum(len(rank[i].constituents["tracks"].values) for rank in ranks) == len(
            step.constituents["tracks"].values
        )
        sizes = [len(rank[i]) for rank in ranks]
        assert max(sizes) - min(sizes) <= 1


def test_an_iteration_can_begin_at_any_step_and_be_left(source):
    loader = StepLoader(source, make_orders()["blocks"], lambda: 0, num_workers=1)
    whole = list(loader)
    for first in (1, 4, 7):
        loader.first_step = first
        assert same(list(loader), whole[first:])
    for _ in loader:
        break
    assert same(list(loader), whole)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_reading_the_next_epoch_ahead_changes_nothing(source, num_workers):
    epoch = [0]
    plain = StepLoader(source, make_orders()["blocks"], lambda: epoch[0])
    ahead = StepLoader(source, make_orders()["blocks"], lambda: epoch[0], num_workers=num_workers, repeated=True)
    for epoch[0] in (0, 1, 5, 5, 6):
        assert same(list(plain), list(ahead))
    for _ in ahead:
        break
    epoch[0] = 7
    whole = list(plain)
    assert same(whole, list(ahead))
    epoch[0] = 8
    plain.first_step = ahead.first_step = 5
    assert same(list(plain), list(ahead))


def test_the_next_epoch_is_begun_before_it_is_asked_for(source):
    begun = threading.Event()

    def epoch_order():
        order = make_orders()["blocks"]

        class Watched(Blocks):
            def group(self, epoch, index):
                if epoch == 1:
                    begun.set()
                return super().group(epoch, index)

        return Watched(order.size, order.step, order.seed, order.edges)

    list(StepLoader(source, epoch_order(), lambda: 0, repeated=True))
    assert begun.wait(30)


def test_the_global_generators_are_left_alone(source):
    torch.manual_seed(0)
    np.random.seed(0)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(0)
    np.random.seed(0)
    list(StepLoader(source, make_orders()["blocks"], lambda: 0))
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])


def test_an_error_of_a_worker_keeps_its_words(tmp_path):
    tables = make_jets(NUM)
    tables["jets"]["pt"][123] = np.inf
    path = write_structured(tmp_path / "a.h5", tables)
    source = Source("data.train_file", [open_reader(path, {})], INPUTS, ())
    with pytest.raises(DataError) as error:
        list(StepLoader(source, Sequential(NUM, 16), lambda: 0, num_workers=1))
    text = str(error.value)
    assert "Traceback" not in text
    assert len(text.splitlines()) <= 3
    assert all(word in text for word in (str(path), "'jets'", "'pt'", "row 123"))
