import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salt.data import orders
from salt.data.orders import Blocks, Sequential, Single, Weak, share


@st.composite
def any_order(draw, kinds=(Sequential, Weak, Single, Blocks)):
    size = draw(st.integers(1, 400))
    step = draw(st.integers(1, 450))
    seed = draw(st.integers(0, 2**32))
    kind = draw(st.sampled_from(kinds))
    if kind is Sequential:
        return Sequential(size, step)
    if kind is not Blocks:
        return kind(size, step, seed)
    cuts = draw(st.sets(st.integers(1, size), max_size=30))
    return Blocks.of(sorted({0, size} | cuts), step, seed)


def steps_of(order, epoch):
    return [step for g in range(order.num_groups) for step in order.group(epoch, g)]


@settings(max_examples=200, deadline=None)
@given(any_order(), st.integers(0, 5), st.integers(1, 5), st.integers(1, 100))
def test_each_jet_once_in_full_steps_shared_evenly(order, epoch, world_size, group_jets):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(orders, "GROUP_JETS", group_jets)
        patch.setattr(orders, "GROUP_BLOCKS", 2)
        steps = steps_of(order, epoch)
        assert len(steps) == order.num_steps
        assert all(len(step) == order.step for step in steps[:-1] if not isinstance(order, Weak))
        assert sorted(len(s) for s in steps)[1:] == [order.step] * (len(steps) - 1)
        assert np.array_equal(np.sort(np.concatenate(steps)), np.arange(order.size))
        for step in steps:
            assert (np.diff(step) > 0).all()
            shares = [share(step, rank, world_size) for rank in range(world_size)]
            assert np.array_equal(np.concatenate(shares), step)
            assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_an_order_is_a_function_of_seed_and_epoch():
    edges = np.arange(0, 2001, 10)
    for make in (lambda s: Blocks.of(edges, 32, s), lambda s: Weak(2000, 32, s), lambda s: Single(2000, 32, s)):
        here, again = steps_of(make(1), 3), steps_of(make(1), 3)
        orders._permutation.cache_clear()
        assert all(np.array_equal(a, b) for a, b in zip(here, again, strict=True))
        assert all(np.array_equal(a, b) for a, b in zip(here, steps_of(make(1), 3), strict=True))
        for other in (steps_of(make(1), 4), steps_of(make(2), 3)):
            assert not all(np.array_equal(a, b) for a, b in zip(here, other, strict=True))


def test_weak_keeps_its_batches_and_blocks_do_not(monkeypatch):
    def batches(order, epoch):
        return {tuple(step) for step in steps_of(order, epoch)}

    monkeypatch.setattr(orders, "GROUP_JETS", 128)
    blocks = Blocks.of(np.arange(0, 2001, 10), 32, 0)
    assert batches(Weak(2000, 32, 0), 0) == batches(Weak(2000, 32, 0), 1)
    assert not batches(blocks, 0) & batches(blocks, 1)


def test_a_group_reads_few_blocks_and_a_rank_its_part_of_them():
    size, block, step = 100_000, 500, 1000
    order = Blocks.of(np.arange(0, size + 1, block), step, 0)
    steps = order.group(0, 1)
    jets = np.concatenate(steps)
    assert len(jets) == order.group_steps * step >= 16_000
    assert len(np.unique(jets // block)) <= len(jets) // block + 2
    for step_jets in steps:  # mixed: each step has jets of nearly all blocks of the group
        assert len(np.unique(step_jets // block)) > 0.8 * len(jets) / block
    for rank in range(4):
        part = np.concatenate([share(s, rank, 4) for s in steps])
        assert len(np.unique(part // block)) < 0.4 * len(jets) / block
