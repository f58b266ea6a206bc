from itertools import combinations, pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from salt.nn.buckets import BUCKET_COST, MAX_BUCKETS, make_plan
from salt.ragged import Ragged

counts = st.lists(st.one_of(st.integers(0, 12), st.just(60)), max_size=40)


@given(counts)
def test_rows_go_into_rectangles_and_come_back(sizes):
    x = Ragged.from_counts(torch.arange(1, sum(sizes) + 1)[:, None], torch.tensor(sizes, dtype=torch.int64))
    plan = make_plan(x)
    parts = plan.split(x.values)
    assert torch.equal(plan.join(parts), x.values)
    assert len(plan.buckets) <= MAX_BUCKETS
    jets = {tuple(range(a + 1, b + 1)) for a, b in zip(x.offsets[:-1].tolist(), x.offsets[1:].tolist(), strict=True)}
    seen = []
    for part, bucket in zip(parts, plan.buckets, strict=True):
        assert part.shape == (bucket.num_jets, bucket.length, 1)
        for b in range(bucket.num_jets):
            row = part[b, :, 0]
            if bucket.mask is not None:
                assert bucket.mask[b].any()
                row = row[bucket.mask[b]]
            seen.append(tuple(row.tolist()))
    assert {s for s in seen if s} == {j for j in jets if j}
    assert len([s for s in seen if s]) == len([n for n in sizes if n])


def test_one_jet_and_equal_jets_need_neither_mask_nor_padding():
    for sizes in ([0], [7], [4, 4, 4]):
        plan = make_plan(Ragged.from_counts(torch.zeros(sum(sizes), 1), torch.tensor(sizes)))
        (bucket,) = plan.buckets
        assert bucket.mask is None
        assert (bucket.num_jets, bucket.length) == (len(sizes), sizes[0])


@pytest.mark.parametrize("mean", [3.0, 6.4, 30.0])
def test_padding_is_little(mean):
    torch.manual_seed(0)
    sizes = torch.poisson(torch.full((1000,), mean)).long()
    plan = make_plan(Ragged.from_counts(torch.zeros(int(sizes.sum()), 1), sizes))
    assert sum(b.num_jets * b.length for b in plan.buckets) < 1.12 * sizes.sum()


def test_cuts_are_the_cheapest():
    """Against all ways to cut six distinct lengths into buckets."""
    sizes = torch.tensor([1] * 90 + [2] * 3 + [5] * 40 + [6] * 2 + [20] * 9 + [60])
    plan = make_plan(Ragged.from_counts(torch.zeros(int(sizes.sum()), 1), sizes))
    got = sum(b.num_jets * b.length + BUCKET_COST for b in plan.buckets)
    edges = [0, 90, 93, 133, 135, 144, 145]
    ways = ([0, *inner, 145] for k in range(len(edges) - 1) for inner in combinations(edges[1:-1], k))
    costs = [sum((b - a) * int(sizes[b - 1]) + BUCKET_COST for a, b in pairwise(way)) for way in ways]
    assert got == min(costs)
