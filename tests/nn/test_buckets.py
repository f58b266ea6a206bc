from itertools import combinations, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from salt.nn.buckets import BUCKET_COST, MAX_BUCKETS, make_plan
from salt.ragged import Ragged

counts = st.lists(st.one_of(st.integers(0, 12), st.just(60)), max_size=40)


@settings(deadline=None, max_examples=60)
@given(counts, st.sampled_from([1, 8, 32]), st.sampled_from([1, 4]))
def test_each_jet_goes_into_a_rectangle_and_comes_back(sizes, unit, multiple):
    x = Ragged.from_counts(torch.arange(sum(sizes)), torch.tensor(sizes, dtype=torch.int64))
    plan = make_plan(x, unit, multiple)
    parts = plan.split(x.values)
    assert torch.equal(plan.join(parts), x.values)
    assert len(plan.buckets) <= MAX_BUCKETS
    slot = plan.join([torch.arange(p.numel()).view(p.shape) + 100_000 * k for k, p in enumerate(parts)])
    for k, (part, bucket) in enumerate(zip(parts, plan.buckets, strict=True)):
        assert part.shape == (bucket.num_rows, bucket.length)
        assert not sizes or bucket.num_rows % multiple == 0 or bucket.num_rows in (0, 1, 2)
        lies_here = torch.isin(torch.arange(part.numel()) + 100_000 * k, slot).view(part.shape)
        mates = torch.ones(*part.shape, bucket.length, dtype=torch.bool) if bucket.mask is None else bucket.mask == 0
        assert mates.any(-1).all()
        for b in range(bucket.num_rows):
            shown = part[b][lies_here[b]]
            jet = x.jet_T[shown]
            assert torch.equal(mates[b][lies_here[b]][:, lies_here[b]], jet[:, None] == jet)
            assert not mates[b][lies_here[b]][:, ~lies_here[b]].any()
            for one in jet.unique():
                assert (jet == one).sum() == sizes[one], "a jet was cut"
            assert unit > 1 or len(jet.unique()) <= 1


def test_one_jet_and_equal_jets_need_neither_mask_nor_padding():
    for sizes in ([0], [7], [4, 4, 4]):
        plan = make_plan(Ragged.from_counts(torch.zeros(sum(sizes), 1), torch.tensor(sizes)))
        (bucket,) = plan.buckets
        assert bucket.mask is None
        assert (bucket.num_rows, bucket.length) == (len(sizes), sizes[0])


@pytest.mark.parametrize(
    ("mean", "unit", "share"),
    [
        (3.0, 1, 0.12),
        (6.4, 1, 0.12),
        (30.0, 1, 0.12),
        (3.0, 16, 0.02),
        (6.4, 16, 0.02),
        (6.4, 32, 0.02),
        (30.0, 16, 0.25),
    ],
)
def test_padding_is_little(mean, unit, share):
    torch.manual_seed(0)
    sizes = torch.poisson(torch.full((1000,), mean)).long()
    plan = make_plan(Ragged.from_counts(torch.zeros(int(sizes.sum()), 1), sizes), unit)
    assert sum(b.num_rows * b.length for b in plan.buckets) < (1 + share) * sizes.sum()


def test_cuts_are_the_cheapest():
    """Against all ways to cut six distinct lengths into buckets."""
    sizes = torch.tensor([1] * 90 + [2] * 3 + [5] * 40 + [6] * 2 + [20] * 9 + [60])
    plan = make_plan(Ragged.from_counts(torch.zeros(int(sizes.sum()), 1), sizes))
    got = sum(b.num_rows * b.length + BUCKET_COST for b in plan.buckets)
    edges = [0, 90, 93, 133, 135, 144, 145]
    ways = ([0, *inner, 145] for k in range(len(edges) - 1) for inner in combinations(edges[1:-1], k))
    costs = [sum((b - a) * int(sizes[b - 1]) + BUCKET_COST for a, b in pairwise(way)) for way in ways]
    assert got == min(costs)
