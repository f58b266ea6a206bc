"""Weighted losses are those of a loop in NumPy, for every kind of weight and all of them together."""

from functools import partial
from itertools import product
from math import exp, log, log1p

import contracts
import numpy as np
import pytest
import torch
from torch.nn import functional

from salt.batch import JetBatch
from salt.errors import ConfigError, DataError
from salt.inputs import Target
from salt.ragged import Ragged, pairs
from salt.tasks import Classification, Level, LossWeights, Regression, Vertexing
from salt.tasks.vertexing import PairLogits
from salt.tasks.weights import measure_weights

COUNTS = (3, 0, 1, 6, 2)
LEVELS = {
    "none": (None, lambda rank, pt, jet: 1.0),
    "rank": (Level(slope=-0.3, minimum=0.2), lambda rank, pt, jet: max(0.2, 1 - 0.3 * rank)),
    "share": (Level("share", scaler="relu", slope=2, minimum=0.1), lambda rank, pt, jet: max(0.1, 2 * pt / jet)),
    "value": (
        Level("value", "pt", "polynomial", coefficients=[0.5, -1, 1]),
        lambda rank, pt, jet: max(0.0, 0.5 - pt + pt**2),
    ),
    "other line": (Level(slope=0.5, start=-0.4), lambda rank, pt, jet: max(0.0, -0.4 + 0.5 * rank)),
}
CLASS_WEIGHTS, LABEL_WEIGHTS = [0.5, 2, 1], {"pt": 3.0, "length": 0.25}
MAKE = {
    "jets": partial(Classification, "jets", "flavour", ["a", "b", "c"], class_weights=CLASS_WEIGHTS),
    "tracks": partial(Classification, "tracks", "origin", ["a", "b", "c"], class_weights=CLASS_WEIGHTS),
    "numbers": partial(Regression, "jets", ["pt", "length"], "none", label_weights=LABEL_WEIGHTS),
    "huber": partial(Regression, "tracks", ["length", "pt"], "none", "huber", label_weights=LABEL_WEIGHTS),
    "pairs": partial(Vertexing, "tracks"),
}
RANDOM_WEIGHT, TRACK_PT, JET_PT = (
    Target("jets", "w", "weight"),
    Target("tracks", "pt", "level"),
    Target("jets", "pt", "level"),
)


def make(kind, jet=None, level=None, normalise="batch", **kwargs):
    spec = LossWeights(jet, level, normalise)
    return MAKE[kind](loss_weights=spec, name="task", embed_dim=4, hidden=[], **kwargs)


def batch_for(task, seed):
    torch.manual_seed(seed)
    batch = contracts.random_batch({"jets": 1, "tracks": 1}, task.targets, COUNTS)
    weights = {t: torch.rand(len(COUNTS)) + 0.5 for t in (RANDOM_WEIGHT, JET_PT)}
    return JetBatch(
        batch.jets, batch.constituents, {**batch.labels, **weights, TRACK_PT: torch.rand(sum(COUNTS))}, batch.rows, {}
    )


def raw_for(task, batch):
    rows = len(COUNTS) if task.input == "jets" else sum(COUNTS)
    if isinstance(task, Vertexing):
        x = batch.constituents["tracks"]
        found = pairs(x)
        return PairLogits(torch.randn(len(found.first), dtype=torch.float64), found, x.offsets, x.jet_T)
    return torch.randn(rows, 2 if isinstance(task, Regression) else 3, dtype=torch.float64)


def by_hand(kind, task, raw, batch, jet, level):
    """The sum of weighted losses, the sum of weights and the number of targets, one target after the other."""
    label = [np.asarray(batch.labels[t]) for t in task.targets if t.learnt]
    of_jet = np.asarray(batch.labels[RANDOM_WEIGHT], dtype=np.float64) if jet else np.ones(len(COUNTS))
    pt, jet_pt = (np.asarray(batch.labels[t], dtype=np.float64) for t in (TRACK_PT, JET_PT))
    entries = [(b, None) for b in range(len(COUNTS))]
    if task.input == "tracks":
        entries = [(b, rank) for b, count in enumerate(COUNTS) for rank in range(count)]
    weight = [
        of_jet[b] * (1.0 if rank is None else level(rank, pt[i], jet_pt[b])) for i, (b, rank) in enumerate(entries)
    ]
    total = weights = number = 0.0
    if kind == "pairs":
        for p, (i, k) in enumerate(zip(raw.pairs.first.tolist(), raw.pairs.second.tolist(), strict=True)):
            if label[0][i] >= 0 and label[0][k] >= 0:
                logit = float(raw.logits[p])
                w = weight[i] * weight[k] / of_jet[entries[i][0]]
                total += w * log1p(exp(-logit if label[0][i] == label[0][k] else logit))
                weights, number = weights + w, number + 1
        return total, weights, number
    for i in range(len(entries)):
        row = np.asarray(raw[i])
        if kind in ("jets", "tracks"):
            if (y := label[0][i]) >= 0:
                w = weight[i] * CLASS_WEIGHTS[y]
                total += w * (log(np.exp(row).sum()) - row[y])
                weights, number = weights + w, number + 1
            continue
        for k, name in enumerate(t.variable for t in task.targets if t.learnt):
            if np.isfinite(y := float(label[k][i])):
                w, error = weight[i] * LABEL_WEIGHTS[name], abs(row[k] - y)
                each = error**2 if kind == "numbers" else error**2 / 2 if error < 1 else error - 0.5
                total, weights, number = total + w * each, weights + w, number + 1
    return total, weights, number


@pytest.mark.parametrize("normalise", ["batch", "training", "none"])
@pytest.mark.parametrize("kind", MAKE)
def test_loss_by_hand(kind, normalise):
    levels = LEVELS if make(kind).input == "tracks" else ("none",)
    for jet, name in product((None, "w"), levels):
        if kind == "pairs" and jet is None and name == "none" and normalise != "batch":
            continue  # Nothing is weighted.
        spec, level = LEVELS[name]
        task = make(kind, jet, spec, normalise).double()
        batches = [batch_for(task, seed) for seed in (0, 1)]
        found = [by_hand(kind, task, raw_for(task, b), b, jet, level) for b in batches]
        measure_weights([task], lambda used=batches: used)
        raw = raw_for(task, batches[0])
        total, weights, number = by_hand(kind, task, raw, batches[0], jet, level)
        mean = sum(w for _, w, _ in found) / sum(n for _, _, n in found)
        divisor = {"batch": weights, "training": number * mean, "none": number}[normalise]
        loss = task.loss(raw, batches[0])
        assert float(loss.sum) == pytest.approx(total, rel=1e-12), (jet, name)
        assert float(loss.count) == pytest.approx(divisor, rel=1e-12), (jet, name)
        assert float(task.count(batches[0])) == pytest.approx(divisor, rel=1e-12), (jet, name)


def test_the_mean_weight_of_the_training_files_makes_no_batch_special():
    """Normalised by the training, a heavy batch counts more than a light one; by the batch both count the same."""
    for normalise, ratio in (("training", 4.0), ("none", 4.0), ("batch", 1.0)):
        task = make("jets", "w", None, normalise).double()
        batch = batch_for(task, 0)
        heavy = JetBatch(batch.jets, batch.constituents, {**batch.labels}, batch.rows, {})
        heavy.labels[RANDOM_WEIGHT] = 4 * batch.labels[RANDOM_WEIGHT]
        measure_weights([task], lambda one=batch, other=heavy: [one, other])
        raw = raw_for(task, batch)
        means = [float(x.sum / x.count) for x in (task.loss(raw, batch), task.loss(raw, heavy))]
        assert means[1] / means[0] == pytest.approx(ratio)


def test_the_mean_weight_is_part_of_the_state():
    task = make("tracks", "w", LEVELS["rank"][0], "training")
    measure_weights([task], lambda: [batch_for(task, 0)])
    again = make("tracks", "w", LEVELS["rank"][0], "training")
    again.load_state_dict(task.state_dict())
    assert again.weighing.mean == task.weighing.mean != 1
    assert not make("tracks", "w").weighing.state_dict()


def test_nothing_is_read_where_no_mean_is_needed():
    measure_weights([make("jets", "w"), make("jets", "w", None, "none")], lambda: pytest.fail("read"))
    zero = make("jets", "w", None, "training")
    batch = batch_for(zero, 0)
    batch.labels[RANDOM_WEIGHT].zero_()
    with pytest.raises(DataError, match="all its targets in the training files have weight 0"):
        measure_weights([zero], lambda: [batch])


def test_gradient_of_a_weighted_loss_is_that_of_torch():
    """A classification with weights of jets alone is torch's cross-entropy with each row repeated."""
    task = make("jets", "w").double()
    batch = batch_for(task, 0)
    batch.labels[RANDOM_WEIGHT].copy_(torch.tensor([1, 3, 2, 1, 4]))
    raw = raw_for(task, batch).requires_grad_()
    loss = task.loss(raw, batch)
    (loss.sum / loss.count).backward()
    repeated = raw.detach().clone().requires_grad_()
    labels = batch.labels[task.target].repeat_interleave(torch.tensor([1, 3, 2, 1, 4]))
    rows = repeated.repeat_interleave(torch.tensor([1, 3, 2, 1, 4]), dim=0)
    functional.cross_entropy(rows, labels, torch.tensor(CLASS_WEIGHTS).double(), ignore_index=-1).backward()
    contracts.close(raw.grad, repeated.grad, 1e-12)


def test_a_jet_without_momentum_has_no_share():
    task = make("tracks", None, LEVELS["share"][0])
    batch = batch_for(task, 0)
    batch.labels[JET_PT].zero_()
    assert set(task.weighing.levels(batch).tolist()) == {0.1}


def test_what_is_said_of_weights():
    task = make("tracks", "w", Level("share", slope=-0.5, minimum=0.2), "training")
    task.weighing.mean.fill_(0.25)
    assert task.weights() == {
        "task": 1.0,
        "classes": {"a": 0.5, "b": 2.0, "c": 1.0},
        "jet": "w",
        "level": "max(0.2, 1 - 0.5 (pt / pt of the jet))",
        "normalise": "training (mean 0.25)",
    }
    assert str(Level("value", "d0", "polynomial", coefficients=[0, 1, -2])) == "max(0, 1 d0 - 2 d0^2)"
    assert make("huber").weights() == {"task": 1.0, "labels": {"length": 0.25, "pt": 3.0}, "normalise": "batch"}
    assert make("pairs").weights() == {"task": 1.0, "normalise": "batch"}


def test_a_ragged_batch_in_parts_has_the_weights_of_the_whole():
    """Ranks count from the start of each jet, wherever a part begins."""
    task = make("pairs", "w", LEVELS["rank"][0]).double()
    batch = batch_for(task, 3)
    parts = batch.parts(3)
    assert len(parts) > 1
    whole = task.weighing.entries(batch)
    contracts.close(torch.cat([task.weighing.entries(part) for part in parts]), whole, 0)
    contracts.close(torch.stack([task.count(part) for part in parts]).sum(), task.count(batch), 1e-12)
    assert isinstance(batch.constituents["tracks"], Ragged)


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        ("jets", {"level": Level(slope=-1)}, "loss_weights.level is about constituents; the input of the task is 'jet"),
        ("pairs", {"normalise": "none"}, "loss_weights.normalise is none, but nothing is weighted"),
        ("jets", {"jet": "w", "normalise": "mean"}, "unknown normalisation 'mean'; known: batch, training, none"),
        ("tracks", {"level": Level("ranks", slope=1)}, "loss_weights.level.by: unknown by 'ranks'; nearest: rank"),
        ("tracks", {"level": Level(scaler="line", slope=1)}, "unknown scaler 'line'; nearest: linear"),
        ("tracks", {"level": Level()}, "level.slope is needed with scaler: linear"),
        ("tracks", {"level": Level(scaler="polynomial", slope=1)}, "level.slope has no effect with scaler: polynomial"),
        ("tracks", {"level": Level(scaler="relu", slope=1, start=2)}, "level.start has no effect with scaler: relu"),
        ("tracks", {"level": Level(slope=1, variable="pt")}, "level.variable has no effect with by: rank"),
        ("tracks", {"level": Level("value", slope=1)}, "level.variable is needed with by: value"),
        ("tracks", {"level": Level(slope=1, minimum=-1)}, "level.minimum is -1"),
        ("tracks", {"level": Level(slope=float("nan"))}, "slope must be finite"),
    ],
)
def test_what_cannot_be(kind, arguments, message):
    with pytest.raises(ConfigError, match=message):
        make(kind, **arguments)


def test_label_weights_that_cannot_be():
    for weights, message in (
        ({"ptt": 1}, "task 'task': label_weights: unknown label 'ptt'; nearest: pt"),
        ({"pt": -1}, r"task 'task': label_weights is \[-1.0, 1.0\]"),
    ):
        with pytest.raises(ConfigError, match=message):
            Regression("jets", ["pt", "length"], label_weights=weights, name="task", embed_dim=4)
