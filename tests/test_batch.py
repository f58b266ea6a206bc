import contracts
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from salt.inputs import Target

ORIGIN = Target("tracks", "origin", "class", ("a", "b"))
FLAVOUR = Target("jets", "flavour", "class", ("b", "c"))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.integers(1, 30))
def test_parts_are_the_batch_in_pieces_of_about_one_size(counts, number):
    batch = contracts.random_batch({"jets": 2, "tracks": 3, "flows": 1}, [ORIGIN, FLAVOUR], counts)
    parts = batch.parts(number)
    assert 1 <= len(parts) <= number
    assert all(len(part) for part in parts)
    sizes = [sum(len(x.values) for x in part.constituents.values()) for part in parts]
    largest_jet = int(sum(x.counts for x in batch.constituents.values()).max())
    assert max(sizes) <= sum(sizes) / number + largest_jet
    assert torch.equal(torch.cat([part.jets for part in parts]), batch.jets)
    assert torch.equal(torch.cat([part.rows for part in parts]), batch.rows)
    for target, label in batch.labels.items():
        assert torch.equal(torch.cat([part.labels[target] for part in parts]), label)
    for name, rows in batch.constituents.items():
        assert torch.equal(torch.cat([part.constituents[name].values for part in parts]), rows.values)
        assert torch.equal(torch.cat([part.constituents[name].counts for part in parts]), rows.counts)
        assert torch.equal(torch.cat([part.slots[name] for part in parts]), batch.slots[name])
        for part in parts:
            assert part.constituents[name].offsets[0] == 0
            assert torch.equal(part.constituents[name].offsets, part.constituents[name].host_offsets)


def test_jets_without_inputs_of_constituents_are_cut_too():
    batch = contracts.random_batch({"jets": 2}, [FLAVOUR], [0] * 10)
    assert [len(part) for part in batch.parts(4)] == [3, 2, 3, 2]
    assert torch.equal(torch.cat([part.jets for part in batch.parts(4)]), batch.jets)
