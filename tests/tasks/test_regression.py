import math

import contracts
import pytest
import torch

from salt.batch import JetBatch
from salt.errors import ConfigError, DataError
from salt.statistics import Scale, Statistics
from salt.tasks import Regression

NAN = math.nan


def make(labels=("pt", "length"), scale="standard", scales=((10, 2), (0, 4)), **kwargs):
    task = Regression("jets", list(labels), scale, name="numbers", embed_dim=4, hidden=[], **kwargs)
    task.adopt(Statistics({}, numbers={t: Scale(*s) for t, s in zip(task.targets, scales, strict=False)}))
    return task


def batch_of(task, *labels):
    values = {t: torch.tensor(y) for t, y in zip(task.targets, labels, strict=True)}
    return JetBatch(torch.zeros(len(labels[0]), 1), {}, values, torch.arange(0), {})


def test_loss_by_hand():
    """Scaled truths are 1, none, -1 of the first label, and 2, 0, none of the second."""
    task = make()
    raw = torch.tensor([[0.5, 0.0], [9.0, 3.0], [1.0, 9.0]])
    batch = batch_of(task, [12.0, NAN, 8.0], [8.0, 0.0, math.inf])
    loss = task.loss(raw, batch)
    assert float(loss.sum) == pytest.approx(0.25 + 4 + 4 + 9)
    assert float(loss.count) == 4
    huber = make(loss="huber").loss(raw, batch)
    assert float(huber.sum) == pytest.approx(0.125 + 1.5 + 1.5 + 2.5)


def test_gradient_where_there_is_no_target():
    task = make()
    raw = torch.ones(2, 2, requires_grad=True)
    loss = task.loss(raw, batch_of(task, [NAN, NAN], [NAN, NAN]))
    loss.sum.backward()
    assert (float(loss.sum.detach()), float(loss.count)) == (0, 0)
    assert torch.equal(raw.grad, torch.zeros(2, 2))


def test_logarithm():
    """The mean logarithm is 2, its spread 0.5; 0 and negative numbers have none and are no targets."""
    task = make(["pt"], "log", [(2, 0.5)])
    assert task.targets[0].log
    raw = torch.tensor([[1.0], [0.0], [0.0]])
    batch = batch_of(task, [math.exp(3.0), 0.0, -1.0])
    loss = task.loss(raw, batch)
    assert (float(loss.sum), float(loss.count)) == (pytest.approx(1.0), 1)
    assert float(task.predict(raw)["pt"][0]) == pytest.approx(math.exp(2.5))
    found = task.metrics(raw, batch)["deviations"].values()
    assert found["pt_bias"] == pytest.approx(math.exp(2.5) - math.exp(3), rel=1e-6)
    assert found["pt_relative_bias"] == pytest.approx(math.exp(-0.5) - 1, rel=1e-6)


def test_predictions_and_metrics_are_in_the_unit_of_the_label():
    task = make()
    raw = torch.tensor([[0.5, 0.0], [-1.0, 3.0]])
    predicted = task.predict(raw)
    assert predicted["pt"].tolist() == [11, 8]
    assert predicted["length"].tolist() == [0, 12]
    metrics = dict(task.metrics(raw, batch_of(task, [10.0, 10.0], [NAN, 11.0])))
    found = metrics.pop("deviations").values()
    assert found == {"pt_bias": -0.5, "pt_resolution": pytest.approx(1.02), "length_bias": 1, "length_resolution": 0}
    assert {n: (float(m.sum), float(m.count)) for n, m in metrics.items()} == {"pt_mae": (3, 2), "length_mae": (1, 1)}


def test_as_they_are():
    task = make(["pt"], "none", [])
    assert float(task.loss(torch.tensor([[3.0]]), batch_of(task, [5.0])).sum) == 4


def test_scales_are_part_of_the_state():
    task = make()
    again = Regression("jets", ["pt", "length"], name="numbers", embed_dim=4, hidden=[])
    again.load_state_dict(task.state_dict())
    raw = torch.randn(3, 2)
    contracts.close(again.predict(raw)["length"], task.predict(raw)["length"], 0)


def test_what_cannot_be():
    with pytest.raises(ConfigError, match="labels is empty"):
        make([])
    with pytest.raises(ConfigError, match="labels names pt more than once"):
        make(["pt", "pt"])
    with pytest.raises(DataError, match="label 'length' of 'jets' was not measured"):
        make(scales=[(10, 2)])
    with pytest.raises(DataError, match="label 'length' of input 'jets' has mean 0 and std 0"):
        make(scales=[(10, 2), (0, 0)])
