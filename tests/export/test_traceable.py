"""What stands in for work on the host gives the same results."""

import contracts
import numpy as np
import pytest
import torch
from export_models import model_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components as by_scipy

from salt.batch import JetBatch
from salt.export.components import connected
from salt.export.traceable import of_many_jets, of_one_jet, repeated
from salt.graphs import replaced
from salt.ragged import Ragged, pairs

COUNTS = [0, 3, 1, 0, 17, 2, 2, 40, 5, 0, 9, 1, 1, 1, 4, 0]


def jets(counts, others):
    def rows(some, width):
        return Ragged.from_counts(torch.randn(sum(some), width), torch.tensor(some))

    constituents = {"tracks": rows(counts, 3), "flows": rows(others, 2)}
    return JetBatch(torch.randn(len(counts), 2), constituents, {}, torch.arange(len(counts)), {})


@torch.no_grad()
def predicted(model, batch):
    raw = model(batch)
    return {(n, k): v for n, task in model.named_tasks.items() for k, v in task.predict(raw[n]).items()}


def same(model, batch, functions):
    expected = predicted(model, batch)
    with replaced(functions):
        found = predicted(model, batch)
    for key, value in expected.items():
        assert found[key].dtype == value.dtype
        torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["transformer", "graph", "sets"])
def test_many_jets(kind, monkeypatch):
    monkeypatch.setattr(torch, "_check", lambda *_: None)  # What is said to a tracer is not always true.
    torch.manual_seed(1)
    model = model_of(kind)
    for counts in (COUNTS, [0], [1], [0, 0], [6], COUNTS[::-1]):
        same(model, jets(counts, counts[::-1]), of_many_jets())


@pytest.mark.parametrize("kind", ["transformer", "graph", "sets"])
def test_one_jet(kind):
    torch.manual_seed(1)
    model = model_of(kind)
    for count in (0, 1, 2, 7, 40):
        same(model, jets([count], [40 - count]), of_one_jet())


def test_afterwards_nothing_is_replaced():
    def other(_):
        raise RuntimeError("stop")

    x = contracts.random_rows((2, 3), 1, torch.float32)
    before = pairs(x)
    with pytest.raises(RuntimeError, match="stop"), replaced({pairs: other}):
        pairs(x)
    assert torch.equal(pairs(x).first, before.first)


@given(st.lists(st.integers(0, 5), max_size=12))
@settings(deadline=None, max_examples=50)
def test_rows_are_repeated_as_their_counts_say(counts):
    expected = np.repeat(np.arange(len(counts)), counts)
    found = repeated(torch.tensor(counts, dtype=torch.int64), sum(counts))
    np.testing.assert_array_equal(found.numpy(), expected)


def graphs():
    """Random links, a chain in which each round of the loop comes only so far, no links, no rows."""
    rng = np.random.default_rng(5)
    yield 0, np.empty((0, 2), int)
    yield 5, np.empty((0, 2), int)
    chain = rng.permutation(300)
    yield 300, np.stack([chain[:-1], chain[1:]], 1)
    for size in (2, 10, 60):
        for _ in range(5):
            yield (
                size,
                np.array(
                    [(i, j) for i in range(size) for j in range(i + 1, size) if rng.random() < 1.2 / size]
                ).reshape(-1, 2),
            )


def first_of_component(size, links):
    _, label = by_scipy(coo_array((np.ones(len(links)), links.T), shape=(size, size)), directed=False)
    return np.array([np.flatnonzero(label == each)[0] for each in label], dtype=np.int64)


def test_connected_components_in_both():
    onnxruntime = pytest.importorskip("onnxruntime")
    from salt.export.components_onnx import connected_components

    session = onnxruntime.InferenceSession(connected_components.to_model_proto().SerializeToString())
    for size, links in graphs():
        expected = first_of_component(size, links) if size else np.empty(0, np.int64)
        logits = np.r_[np.ones(len(links)), -np.ones(len(links))].astype("f4")
        # Pairs below the cut link nothing.
        first = np.r_[links[:, 0], np.zeros(len(links))].astype("i8")
        second = np.r_[links[:, 1], np.arange(len(links)) % max(size, 1)].astype("i8")
        rows = np.arange(size)
        ours = connected(*(torch.from_numpy(x) for x in (logits, first, second, rows)))
        np.testing.assert_array_equal(ours.numpy(), expected)
        values = dict(zip([i.name for i in session.get_inputs()], (logits, first, second, rows), strict=True))
        np.testing.assert_array_equal(session.run(None, values)[0], expected)
