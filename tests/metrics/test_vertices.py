"""Which vertices are found, by hand and by a search."""

from collections import Counter

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from salt.metrics import match_vertices


def numbers(jet: list[int], vertex: list[int], group: list[int], share: float = 0.5) -> dict[str, list[int]]:
    found = match_vertices(*(torch.tensor(x, dtype=torch.int64) for x in (jet, vertex, group)), share)
    return {"true": found.true.tolist(), "groups": found.groups.tolist(), "matched": found.matched.tolist()}


def test_by_hand() -> None:
    """The primary is found; of two secondary vertices one is, the other is cut in halves; single ones do not count."""
    vertex = [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 3, -1]
    group_ = [0, 0, 0, 3, 3, 0, 6, 6, 8, 8, 10, 3]
    expected = {"true": [1, 2], "groups": [1, 3], "matched": [1, 1]}
    assert numbers([0] * 12, vertex, group_) == expected
    assert numbers([0] * 12, vertex, group_, share=0.7) == {**expected, "matched": [1, 0]}


def test_the_same_number_in_two_jets_is_two_vertices() -> None:
    assert numbers([0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 2, 2]) == {"true": [0, 2], "groups": [0, 2], "matched": [0, 2]}


def test_nothing() -> None:
    assert numbers([], [], []) == {"true": [0, 0], "groups": [0, 0], "matched": [0, 0]}
    assert numbers([0], [-1], [0]) == {"true": [0, 0], "groups": [0, 0], "matched": [0, 0]}


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.lists(st.tuples(st.integers(-2, 3), st.integers(0, 3)), max_size=12), max_size=4),
    st.sampled_from([0.5, 0.65, 0.9]),
)
def test_as_a_search_finds_them(jets: list[list[tuple[int, int]]], share: float) -> None:
    rows = [(j, v, (j, g)) for j, jet in enumerate(jets) for v, g in jet]
    first = {g: i for i, (_, _, g) in reversed(list(enumerate(rows)))}
    labelled = [(j, v, g) for j, v, g in rows if v >= 0]
    true = {k: n for k, n in Counter((j, v) for j, v, _ in labelled).items() if n > 1}
    found = {g: n for g, n in Counter(g for _, _, g in labelled).items() if n > 1}
    shared = Counter(((j, v), g) for j, v, g in labelled)
    matched = [k for (k, g), n in shared.items() if n > share * true.get(k, 99) and n > share * found.get(g, 99)]
    primary = [2 * sum(n for (k, h), n in shared.items() if h == g and k[1] == 0) >= size for g, size in found.items()]
    assert numbers([j for j, _, _ in rows], [v for _, v, _ in rows], [first[g] for _, _, g in rows], share) == {
        "true": [sum(v == 0 for _, v in true), sum(v > 0 for _, v in true)],
        "groups": [sum(primary), len(primary) - sum(primary)],
        "matched": [sum(v == 0 for _, v in matched), sum(v > 0 for _, v in matched)],
    }
