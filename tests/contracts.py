"""What every encoder, pooling and task must keep; run a class of your own through these from a test.

from functools import partial
import contracts

def test_mine():
    contracts.check_encoder(partial(MyEncoder, num_layers=2))
"""

import pickle
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from salt.batch import JetBatch
from salt.inputs import JETS, Input, Target
from salt.metrics import Metric
from salt.nn import EncoderFactory, PoolingFactory
from salt.ragged import Ragged
from salt.statistics import Scale, Statistics
from salt.tasks import Embedding, TaskFactory

COUNTS = (3, 0, 1, 9, 2, 1, 0, 14, 5, 5, 2)
"""Constituents of the jets that the checks use, none and one among them."""

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
"""How far packed jets may be from the same jets one at a time."""

WIDTH = 16
"""The width of the embedding in the checks."""


def check_encoder(make: EncoderFactory) -> None:
    """Packed equals one jet at a time, a permutation commutes, empty jets and batches work, inputs stay."""
    for dtype, tolerance in TOLERANCE.items():
        encoder = randomised(make(embed_dim=WIDTH), dtype)
        x = random_rows(COUNTS, WIDTH, dtype)
        before = x.values.clone()
        packed = encoder(x)
        assert packed.values.shape == x.values.shape
        assert packed.values.dtype == dtype
        assert torch.equal(packed.host_offsets, x.host_offsets)
        assert torch.equal(x.values, before), "forward changed its input"
        close(packed.values, torch.cat([encoder(jet).values for jet in jets_of(x)]), tolerance)
        order = permutation(x)
        close(encoder(x.with_values(x.values[order])).values, packed.values[order], tolerance)
    for counts in ((), (0,), (0, 0), (1,), (2, 0)):
        x = random_rows(counts, WIDTH, torch.float32)
        encoder = make(embed_dim=WIDTH)
        trains(encoder, encoder(x).values.square().sum())
    with torch.autocast("cpu", torch.bfloat16):
        assert encoder(random_rows(COUNTS, WIDTH, torch.float32)).values.isfinite().all()


def check_pooling(make: PoolingFactory) -> None:
    """Packed equals one jet at a time, order does not matter, empty jets are finite."""
    for dtype, tolerance in TOLERANCE.items():
        pooling = randomised(make(embed_dim=WIDTH), dtype)
        x = random_rows(COUNTS, WIDTH, dtype)
        before = x.values.clone()
        packed = pooling(x)
        assert packed.shape == (len(COUNTS), WIDTH)
        assert packed.dtype == dtype
        assert packed.isfinite().all()
        assert torch.equal(x.values, before), "forward changed its input"
        close(packed, torch.cat([pooling(jet) for jet in jets_of(x)]), tolerance)
        close(pooling(x.with_values(x.values[permutation(x)])), packed, tolerance)
    for counts in ((), (0,), (0, 0), (1,)):
        x = random_rows(counts, WIDTH, torch.float32)
        x.values.requires_grad_()
        pooling = make(embed_dim=WIDTH)
        pooled = pooling(x)
        assert pooled.shape == (len(counts), WIDTH)
        trains(pooling, pooled.square().sum())
    with torch.autocast("cpu", torch.bfloat16):
        pooled = pooling(random_rows(COUNTS, WIDTH, torch.float32))
        assert pooled.dtype == torch.float32
        assert pooled.isfinite().all()


def check_task(make: TaskFactory) -> None:
    """Packed equals one jet at a time in every verb, permuting permutes, columns are what `predict` returns."""
    for dtype, tolerance in TOLERANCE.items():
        task = randomised(make(name="task", embed_dim=WIDTH), dtype)
        task.adopt(random_statistics({}, task.targets))
        batch = random_batch({JETS: 1, task.input: 1}, task.targets, COUNTS)
        rows = None if task.input == JETS else random_rows(COUNTS, WIDTH, dtype)
        embedding = _embedding(task.input, torch.randn(len(COUNTS), WIDTH, dtype=dtype), rows)
        raw = task(embedding)
        predicted = task.predict(raw)
        assert tuple(predicted) == tuple(column.name for column in task.columns())
        size = len(COUNTS) if rows is None else sum(COUNTS)
        for column in task.columns():
            values = predicted[column.name]
            assert values.shape == (size,)
            assert values.is_floating_point() == column.dtype.startswith("f")
            assert values.isfinite().all()
        loss, metrics = task.loss(raw, batch), task.metrics(raw, batch)
        assert loss.sum.shape == loss.count.shape == ()
        assert loss.sum.dtype == dtype
        assert loss.sum.requires_grad
        assert not loss.count.requires_grad
        assert loss.count > 0, "the labels of the check are no targets of this task"
        assert torch.equal(task.count(batch).to(loss.count.dtype), loss.count)

        singles = [
            (task(_embedding(task.input, embedding.jets[b : b + 1], None if rows is None else jets_of(rows)[b])), one)
            for b, one in enumerate(singles_of(batch))
        ]
        for name, values in predicted.items():
            close(torch.cat([task.predict(one)[name] for one, _ in singles]), values, tolerance)
        losses = [task.loss(one, jet) for one, jet in singles]
        scale = max(1.0, abs(float(loss.sum.detach())))
        close(torch.stack([x.sum for x in losses]).sum(), loss.sum, tolerance * scale)
        close(torch.stack([x.count for x in losses]).sum(), loss.count, tolerance * scale)
        for name, metric in metrics.items():
            alone = [task.metrics(one, jet)[name] for one, jet in singles]
            if isinstance(metric, Metric):
                _check_metric(metric, alone, tolerance)
                continue
            size_of_sum = max(1.0, float(metric.sum.detach().abs()))
            close(torch.stack([x.sum for x in alone]).sum(), metric.sum, tolerance * size_of_sum)
            assert torch.stack([x.count for x in alone]).sum() == metric.count
        if rows is not None:
            order = permutation(rows)
            moved = task.predict(task(_embedding(task.input, embedding.jets, rows.with_values(rows.values[order]))))
            for name, values in predicted.items():
                if values.is_floating_point():
                    close(moved[name], values[order], tolerance)
                else:
                    assert torch.equal(_same(moved[name], rows), _same(values[order], rows))
    for counts in ((), (0,), (0, 0), (1,)):
        task = make(name="task", embed_dim=WIDTH)
        task.adopt(random_statistics({}, task.targets))
        batch = random_batch({JETS: 1, task.input: 1}, task.targets, counts)
        rows = None if task.input == JETS else random_rows(counts, WIDTH, torch.float32)
        raw = task(_embedding(task.input, torch.randn(len(counts), WIDTH), rows))
        loss = task.loss(raw, batch)
        trains(task, loss.sum)
        assert list(task.metrics(raw, batch)) == list(metrics), "the keys of metrics differ between batches"
        for name, metric in task.metrics(raw, batch).items():
            if isinstance(metric, Metric):
                assert list(metric.values()) == list(metrics[name].values())
            else:
                assert metric.sum.isfinite()
    with torch.autocast("cpu", torch.bfloat16):
        raw = task(_embedding(task.input, torch.randn(len(counts), WIDTH), rows))
        assert task.loss(raw, batch).sum.dtype == torch.float32


def random_rows(counts: Sequence[int], width: int, dtype: torch.dtype) -> Ragged:
    """Rows of jets with these numbers of constituents."""
    values = torch.randn(sum(counts), width, dtype=dtype)
    return Ragged.from_counts(values, torch.tensor(counts, dtype=torch.int64))


def random_batch(widths: Mapping[str, int], targets: Sequence[Target], counts: Sequence[int]) -> JetBatch:
    """Jets with inputs of these widths and labels, about a quarter of which are missing."""
    sizes = {name: len(counts) if name == JETS else sum(counts) for name in widths}
    rows = {name: random_rows(counts, width, torch.float32) for name, width in widths.items() if name != JETS}
    labels = {target: _random_label(target, sizes[target.input]) for target in targets}
    slots = {name: torch.arange(x.values.shape[0]) - x.offsets[:-1][x.jet_T] for name, x in rows.items()}
    return JetBatch(torch.randn(len(counts), widths[JETS]), rows, labels, torch.arange(len(counts)), slots)


def random_statistics(inputs: Mapping[str, Input], targets: Sequence[Target]) -> Statistics:
    """Statistics of such inputs and targets."""
    classes = [target for target in targets if target.kind == "class"]
    return Statistics(
        inputs={name: {v: Scale(0.1, 1.5) for v in x.variables} for name, x in inputs.items()},
        class_counts={target: tuple(range(5, 5 + len(target.classes))) for target in classes},
        class_weights={target: tuple(float(k + 1) for k in range(len(target.classes))) for target in classes},
        numbers={target: Scale(0.5, 2.0) for target in targets if target.kind == "number"},
    )


def jets_of(x: Ragged) -> list[Ragged]:
    """Each jet as a batch of its own."""
    offsets = x.host_offsets.tolist()
    return [Ragged.from_counts(x.values[start:stop], torch.tensor([stop - start])) for start, stop in pairwise(offsets)]


def singles_of(batch: JetBatch) -> list[JetBatch]:
    """Each jet as a batch of its own."""
    rows = {name: jets_of(x) for name, x in batch.constituents.items()}

    def cut(values: Tensor, name: str, jet: int) -> Tensor:
        if name == JETS:
            return values[jet : jet + 1]
        start, stop = batch.constituents[name].host_offsets[jet : jet + 2].tolist()
        return values[start:stop]

    return [
        JetBatch(
            batch.jets[b : b + 1],
            {name: x[b] for name, x in rows.items()},
            {target: cut(values, target.input, b) for target, values in batch.labels.items()},
            batch.rows[b : b + 1],
            {name: cut(values, name, b) for name, values in batch.slots.items()},
        )
        for b in range(len(batch))
    ]


def permutation(x: Ragged) -> Tensor:
    """[T] a random order of the constituents within each jet."""
    offsets = x.host_offsets.tolist()
    parts = [a + torch.randperm(b - a) for a, b in pairwise(offsets)]
    return torch.cat(parts)


def randomised(module: Any, dtype: torch.dtype) -> Any:
    """In evaluation, in this type, with every parameter random, so that none hides behind a zero or a one."""
    module = module.to(dtype).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * max(parameter.shape[-1], 4) ** -0.5)
    return module


def trains(module: nn.Module, loss: Tensor) -> None:
    """Asserts that backward reaches every parameter, with finite gradients."""
    assert loss.isfinite()
    loss.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, f"{name} has no gradient"
        assert parameter.grad.isfinite().all(), f"the gradient of {name} is not finite"


def close(a: Tensor, b: Tensor, tolerance: float) -> None:
    """Asserts that all values agree."""
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def _check_metric(whole: Metric, parts: Sequence[Metric], tolerance: float) -> None:
    """Asserts that one of all jets is that of its parts, put together in any way, and survives being sent."""
    halves = [type(whole).merged(parts[:5]), type(whole).merged(parts[5:])]
    for other in (type(whole).merged(parts), type(whole).merged(pickle.loads(pickle.dumps(halves)))):
        assert list(other.values()) == list(whole.values())
        for name, value in whole.values().items():
            assert other.values()[name] == pytest.approx(value, rel=tolerance, abs=tolerance, nan_ok=True), name
        assert list(other.figures()) == list(whole.figures())


def _embedding(name: str, jets: Tensor, rows: Ragged | None) -> Embedding:
    return Embedding(jets, {} if rows is None else {name: rows})


def _random_label(target: Target, size: int) -> Tensor:
    if not target.learnt:
        return torch.rand(size) * 2
    missing = torch.rand(size) < 0.25
    if target.kind == "number":
        return torch.where(missing, torch.nan, torch.rand(size) * 3 + 0.1)
    values = torch.randint(0, len(target.classes) or 3, (size,))
    return torch.where(missing, -1, values)


def _same(index_T: Tensor, x: Ragged) -> Tensor:
    """[T, T] which constituents of one jet share an index."""
    return (index_T[:, None] == index_T) & (x.jet_T[:, None] == x.jet_T)
