"""Losses, causality and feedback against loops that look at one jet at a time."""

from dataclasses import replace
from functools import partial

import contracts
import pytest
import torch
from torch.nn import functional

from salt.batch import JetBatch
from salt.errors import ConfigError
from salt.inputs import Input, Target
from salt.model import JetTagger
from salt.nn import AttentionPooling, GraphAttention, Transformer
from salt.ragged import Ragged
from salt.tasks import NextConstituent, Rollout
from salt.tasks.contexts import draw
from salt.tasks.density import Bins
from salt.tasks.next_constituent import EVALUATION

INPUTS = {"jets": Input(["pt", "eta"]), "tracks": Input(["d0", "pt", "phi"], max_count=20), "flows": Input(["pt"])}
MEAN = float(torch.tensor(0.1))
"""As the buffers hold it."""

VARIABLES = [1, 0]
"""Of pt and d0, which are predicted, among those of tracks; phi is only read."""

KIND = Target("tracks", "kind", "class", ("a", "b"))


ENCODER = partial(Transformer, 2, 2)


def make(encoder=ENCODER, inputs=INPUTS, dtype=torch.float64, **options):
    """A model in which everything is random, and its task."""
    torch.manual_seed(1)
    options = {"prognostic": ["pt", "d0"], "hidden": [8], "components": 3, **options}
    tasks = {"next": partial(NextConstituent, "tracks", **options)}
    model = JetTagger(inputs, 16, encoder, AttentionPooling, tasks, embed_hidden=[8])
    model.adopt(contracts.random_statistics(inputs, model.targets))
    contracts.randomised(model, dtype)
    return model, model.tasks["next"]


def batch_of(counts=contracts.COUNTS, targets=(), dtype=torch.float64):
    torch.manual_seed(2)
    batch = contracts.random_batch({"jets": 2, "tracks": 3, "flows": 1}, targets, counts)
    values = {name: x.with_values(x.values.to(dtype)) for name, x in batch.constituents.items()}
    return replace(batch, jets=batch.jets.to(dtype), constituents=values)


def contexts(batch, task, number):
    """For each jet s and the rows of its tracks in their order, found by sorting in Python."""
    x = batch.constituents["tracks"]
    uniform = draw(batch.rows, task.epoch if task.training else EVALUATION).tolist()
    for jet, (start, stop) in enumerate(zip(x.host_offsets[:-1].tolist(), x.host_offsets[1:].tolist(), strict=True)):
        rows = sorted(range(start, stop), key=lambda row: -float(x.values[row, 1]))
        if rows:
            yield jet, 1 + int(uniform[jet] * len(rows)), x.values[rows], rows


def alone(model, batch, jet, tracks):
    """The parts of the prediction for one jet that has these tracks."""
    flows = contracts.jets_of(batch.constituents["flows"])[jet]
    rows = {"tracks": Ragged.from_counts(tracks, torch.tensor([len(tracks)])), "flows": flows}
    task = model.tasks["next"]
    return task(model.embedding(JetBatch(batch.jets[jet : jet + 1], rows, {}, batch.rows[jet : jet + 1], {})))[0]


def normalised(track):
    """As in `contracts.random_statistics`."""
    return [(float(track[v]) - MEAN) / 1.5 for v in VARIABLES]


def surprise(raw, truth, kind=None):
    """Minus the logarithm of the likelihood of a track, None for no further one, written out component by component."""
    goes_on = raw[15].sigmoid()
    if truth is None:
        return -(1 - goes_on).log()
    density = 0.0
    for k in range(3):
        weight = raw[k].exp() / raw[:3].exp().sum()
        for p, y in enumerate(normalised(truth)):
            width = functional.softplus(raw[9 + 2 * k + p]) + 1e-3
            z = (y - raw[3 + 2 * k + p]) / width
            weight = weight * (-z).exp() / (width * (1 + (-z).exp()) ** 2)
        density = density + weight
    total = -goes_on.log() - density.log()
    return total if kind in (None, -1) else total - raw[16:].log_softmax(0)[kind]


def fed_back(raw):
    """The track that stands for a prediction: the centre of the most probable component, and the mean of phi."""
    k = int(raw[:3].argmax())
    pt, d0 = (MEAN + 1.5 * raw[3 + 2 * k + p] for p in range(2))
    return torch.stack([d0, pt, raw.new_tensor(MEAN)])[None]


def loss_of(model, batch):
    task = model.tasks["next"]
    return task.loss(model(batch)["next"], batch)


@pytest.mark.parametrize("encoder", [None, partial(Transformer, 2, 2, sink=True), partial(GraphAttention, 1, 2)])
def test_one_step_is_teacher_forcing(encoder):
    model, task = make(encoder, diagnostic={"kind": ["a", "b"]})
    batch = batch_of(targets=(KIND,))
    expected, number = 0.0, 0
    for jet, s, tracks, rows in contexts(batch, task, 1):
        raw = alone(model, batch, jet, tracks[:s])
        kind = int(batch.labels[KIND][rows[s]]) if s < len(rows) else None
        expected += surprise(raw, tracks[s] if s < len(rows) else None, kind)
        number += 1
    loss = loss_of(model, batch)
    assert loss.count == task.count(batch) == number == 9
    contracts.close(loss.sum, expected, 1e-10)


@pytest.mark.parametrize("detach", [False, True])
def test_two_steps_are_a_formula_and_the_gradient_flows_through_the_feedback(detach):
    model, task = make(rollout=Rollout(max=2, validation=2), detach=detach)
    batch = batch_of()
    expected, number = 0.0, 0
    for jet, s, tracks, rows in contexts(batch, task, 2):
        first = alone(model, batch, jet, tracks[:s])
        expected += surprise(first, tracks[s] if s < len(rows) else None)
        number += 1
        if s < len(rows):
            fed = fed_back(first).detach() if detach else fed_back(first)
            second = alone(model, batch, jet, torch.cat([tracks[:s], fed]))
            expected += surprise(second, tracks[s + 1] if s + 1 < len(rows) else None)
            number += 1
    loss = loss_of(model, batch)
    assert loss.count == number == task.count(batch)
    contracts.close(loss.sum, expected, 1e-10)
    parameters = list(model.parameters())
    ours, theirs = (torch.autograd.grad(x, parameters, retain_graph=True) for x in (loss.sum, expected))
    for one, other in zip(ours, theirs, strict=True):
        contracts.close(one, other, 1e-9)
    raw = model(batch)["next"]
    through = torch.autograd.grad(raw[1].sum(), raw[0], allow_unused=True)[0]
    assert (through is None) if detach else bool(through.abs().sum() > 0)


def test_steps_begin_as_teacher_forcing_and_the_epoch_sets_their_number():
    model, task = make(rollout=Rollout(max=3, validation=1))
    batch = batch_of()
    (alone_raw,) = model(batch)["next"]
    model.train()
    numbers = [task.rollout.steps(epoch, 0) for epoch in range(4)]
    assert numbers == [1, 2, 3, 3]
    assert [Rollout(2, 3, 5).steps(epoch, 4) for epoch in (0, 4, 6, 7, 12, 13, 90)] == [2, 2, 2, 3, 4, 5, 5]
    for number in numbers:
        task.begin_epoch(EVALUATION, number)
        raw = model(batch)["next"]
        assert len(raw) == number
        assert torch.equal(raw[0], alone_raw)


def test_what_comes_later_changes_nothing():
    model, _ = make(rollout=Rollout(validation=3), dtype=torch.float32)
    batch = batch_of([6] * 60, dtype=torch.float32)
    for x in batch.constituents.values():
        x.values[:] = x.values[: len(x.values) // 60].repeat(60, 1)
    batch = replace(batch, jets=batch.jets[:1].repeat(60, 1))
    tracks = batch.constituents["tracks"]
    uniform = draw(batch.rows, EVALUATION)
    given = 1 + (uniform * 6).long()
    assert set(given.tolist()) == {1, 2, 3, 4, 5, 6}
    before = model(batch)["next"]
    for place in range(6):
        row = int(tracks.values[:6, 1].argsort(descending=True)[place])
        values = tracks.values.clone()
        values[row::6, [0, 2]] += 3
        after = model(replace(batch, constituents={**batch.constituents, "tracks": tracks.with_values(values)}))["next"]
        for i, (one, other) in enumerate(zip(before, after, strict=True)):
            s = given[given + i <= 6]
            assert torch.equal(one[s <= place], other[s <= place])
            assert not (one[s > place] == other[s > place]).all(1).any()


def test_parts_of_a_batch_add_up_and_epochs_differ():
    model, task = make(rollout=Rollout(start=2, max=2))
    batch = batch_of()
    model.train()
    task.begin_epoch(3, 2)
    whole = loss_of(model, batch)
    parts = [loss_of(model, part) for part in batch.parts(3)]
    contracts.close(sum(p.sum for p in parts), whole.sum, 1e-10)
    assert sum(p.count for p in parts) == whole.count
    task.begin_epoch(4, 2)
    assert loss_of(model, batch).sum != whole.sum


def test_numbers_drawn_are_uniform_over_jets_and_epochs():
    drawn = torch.stack([draw(torch.arange(2000), epoch) for epoch in range(10)])
    assert (drawn >= 0).all()
    assert (drawn < 1).all()
    assert abs(float(drawn.mean()) - 0.5) < 0.01
    assert abs(float(torch.corrcoef(drawn)[0, 1:].abs().max())) < 0.08
    assert len(drawn.unique()) == drawn.numel()


def test_equal_values_keep_their_order():
    _, task = make()
    x = Ragged.from_counts(torch.zeros(5, 3), torch.tensor([2, 3]))
    x.values[:, 1] = torch.tensor([1.0, 1.0, 2.0, 5.0, 2.0])
    batch = JetBatch(torch.zeros(2, 2), {"tracks": x}, {}, torch.arange(2), {})
    assert task._order(batch).tolist() == [0, 1, 3, 2, 4]


def test_what_was_cut_off_is_no_end():
    _, task = make(inputs={**INPUTS, "tracks": Input(["d0", "pt", "phi"], max_count=3)})
    batch = batch_of([3] * 100)
    (step,) = task._steps(batch)
    assert len(step.jets) == len(step.there) == 100
    assert set(step.counts.tolist()) == {1, 2}


def test_masked_constituents_are_predicted_from_all_others():
    model, _ = make(objective="masked")
    batch = batch_of()
    x = batch.constituents["tracks"]
    uniform = draw(batch.rows, EVALUATION).tolist()
    expected, number = 0.0, 0
    for jet, tracks in enumerate(contracts.jets_of(x)):
        count = len(tracks.values)
        if count > 1:
            hidden = int(uniform[jet] * count)
            others = [k for k in range(count) if k != hidden]
            raw = alone(model, batch, jet, tracks.values[others])
            raw = torch.cat([raw, raw.new_tensor([torch.inf])])  # It is certain that there is one.
            expected += surprise(raw, tracks.values[hidden])
            number += 1
    loss = loss_of(model, batch)
    assert loss.count == number
    contracts.close(loss.sum, expected, 1e-10)


@pytest.mark.parametrize("options", [{}, {"objective": "masked"}, {"rollout": Rollout(start=2, max=2, validation=4)}])
@pytest.mark.parametrize("counts", [(), (0,), (0, 0), (1,), (2, 5)])
def test_any_batch_has_finite_gradients_and_the_same_metrics(options, counts):
    model, task = make(dtype=torch.float32, **options)
    batch = batch_of(counts, dtype=torch.float32)
    model.train()
    raw = model(batch)["next"]
    contracts.trains(task, task.loss(raw, batch).sum)
    model.eval()
    found = task.metrics(model(batch)["next"], batch)
    number = task.rollout.validation
    names = [f"step{i + 1}_{what}" for i in range(number) for what in ("nll", "error")]
    assert list(found) == [*names, *([] if task.masked else ["end_accuracy"])]
    assert all(x.sum.isfinite() for x in found.values())


@torch.no_grad()
def test_metrics_of_each_step():
    model, task = make(rollout=Rollout(validation=2))
    batch = batch_of()
    found = task.metrics(model(batch)["next"], batch)
    error, nll, there = 0.0, 0.0, 0
    for jet, s, tracks, rows in contexts(batch, task, 2):
        if s + 1 < len(rows):
            fed = fed_back(alone(model, batch, jet, tracks[:s]))
            raw = alone(model, batch, jet, torch.cat([tracks[:s], fed]))
            guess, truth = normalised(fed_back(raw)[0]), normalised(tracks[s + 1])
            error += sum(abs(a - b) for a, b in zip(guess, truth, strict=True)) / 2
            nll += float(surprise(raw, tracks[s + 1]) + raw[15].sigmoid().log())
            there += 1
    assert found["step2_error"].count == found["step2_nll"].count == there
    assert float(found["step2_error"].sum) == pytest.approx(error)
    assert float(found["step2_nll"].sum) == pytest.approx(nll)


def test_intervals_hold_as_many_values_each_and_their_gradient_is_that_of_the_mean():
    torch.manual_seed(3)
    density = Bins(2, 4)
    values = torch.randn(10_001, 2) * torch.tensor([1.0, 9.0])
    density.adopt(values)
    assert torch.equal(density.edges[:, 1], values.sort(0).values[5000])
    inside = torch.searchsorted(density.edges, values.T.contiguous(), right=True)
    assert all(abs(int((inside == b).sum()) - 5000) < 10 for b in range(4))
    raw = torch.randn(3, 8, requires_grad=True)
    truth = values[:3]
    by_hand = [sum(raw[n, 4 * p : 4 * p + 4].log_softmax(0)[inside[p, n]] for p in range(2)) for n in range(3)]
    contracts.close(density.log_likelihood(raw, truth), torch.stack(by_hand), 1e-6)
    point = density.point(raw)
    assert torch.isin(point[:, 0].detach(), density.centres[0]).all()
    mean = (raw.view(3, 2, 4).softmax(-1) * density.centres).sum()
    contracts.close(*(torch.autograd.grad(x, raw)[0] for x in (point.sum(), mean)), 1e-6)


WRONG = {
    "jets": ({"input": "jets"}, "its input cannot be 'jets'"),
    "prognostic": ({"prognostic": ["ptt"]}, "unknown prognostic variable 'ptt'.*pt"),
    "twice": ({"prognostic": ["pt", "pt"]}, "each once"),
    "order": ({"order": "p"}, "in the order.*\n.*data.inputs.tracks.variables"),
    "context": ({"min_context": 0}, "min_context is 0"),
    "long": ({"rollout": Rollout(max=20)}, "rollout.max is 20.*max_count = 20"),
    "validation": ({"rollout": Rollout(validation=25)}, "rollout.validation is 25"),
    "none": ({"rollout": Rollout(start=0)}, "rollout.start is 0"),
    "shrinking": ({"rollout": Rollout(start=3, max=2)}, "less than start"),
    "increment": ({"rollout": Rollout(epoch_increment=2)}, "epoch_increment has no effect"),
    "masked": ({"objective": "masked", "rollout": Rollout(max=2)}, "rollout has no effect"),
    "masked order": ({"objective": "masked", "order": "d0"}, "order has no effect"),
    "detach": ({"detach": True}, "detach has no effect"),
    "bins": ({"bins": 8}, "bins 8 has no meaning"),
    "components": ({"target": "bins"}, "components 3 has no meaning"),
    "label": ({"diagnostic": {"kind": None}}, "name the classes"),
    "classes": ({"diagnostic": {"kind": ["a", "a"]}}, "each once"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_said(name):
    options, message = WRONG[name]
    name_of = options.pop("input", "tracks")
    options = {"prognostic": ["pt"], "components": 3, **options}
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        JetTagger(INPUTS, 16, None, AttentionPooling, {"next": partial(NextConstituent, name_of, **options)})
