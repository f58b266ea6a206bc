from functools import partial

import contracts
import pytest
import torch

from salt.errors import ConfigError, DataError
from salt.inputs import Input, Target
from salt.model import JetTagger
from salt.nn import AttentionPooling, GraphAttention, MeanPooling, SumPooling, Transformer
from salt.tasks import Classification, Regression, Vertexing

JETS = {"jets": Input(["pt", "eta"])}
TRACKS = {**JETS, "tracks": Input(["d0", "z0", "phi"])}
FLOWS = {**TRACKS, "flows": Input(["pt"])}

FLAVOUR = partial(Classification, "jets", "flavour_label", ["bjets", "cjets", "ujets"], hidden=[8])
ALONE = {"flavour": FLAVOUR, "pt": partial(Regression, "jets", ["pt"], hidden=[8])}
TASKS = {
    **ALONE,
    "origin": partial(Classification, "tracks", "ftagTruthOriginLabel", hidden=[8]),
    "vertexing": partial(Vertexing, "tracks", hidden=[8]),
}
MODELS = {
    "graph": (TRACKS, partial(GraphAttention, 2, 4), AttentionPooling, TASKS),
    "transformer": (TRACKS, partial(Transformer, 2, 4), MeanPooling, TASKS),
    "deep sets": (TRACKS, None, SumPooling, TASKS),
    "flows": (FLOWS, partial(Transformer, 2, 4), AttentionPooling, TASKS),
    "sinks": (FLOWS, partial(Transformer, 2, 4, sink=True), partial(AttentionPooling, sink=True), TASKS),
    "registers": (FLOWS, partial(Transformer, 2, 4), AttentionPooling, TASKS),
    "jets": (JETS, partial(Transformer, 2, 4), AttentionPooling, ALONE),
}


def make(name):
    inputs, encoder, pooling, tasks = MODELS[name]
    model = JetTagger(inputs, 16, encoder, pooling, tasks, registers=2 if name == "registers" else 0)
    model.adopt(contracts.random_statistics(inputs, model.targets))
    widths = {k: len(v.variables) for k, v in inputs.items()}
    return model, lambda counts: contracts.random_batch(widths, model.targets, counts)


@pytest.mark.parametrize("name", MODELS)
def test_packed_is_one_jet_at_a_time(name):
    model, batch_of = make(name)
    batch = batch_of(contracts.COUNTS)
    for dtype, tolerance in contracts.TOLERANCE.items():
        contracts.randomised(model, dtype)
        packed = model(batch)
        singles = [model(jet) for jet in contracts.singles_of(batch)]
        for name, task in model.named_tasks.items():
            apart = [task.predict(raw[name]) for raw in singles]
            for column, values in task.predict(packed[name]).items():
                contracts.close(torch.cat([one[column] for one in apart]), values, tolerance)


def test_inputs_with_different_numbers_of_constituents():
    """Tracks see flows: the origin of a track depends on the flows of its own jet and on no others."""
    model, _ = make("flows")
    contracts.randomised(model, torch.float64)
    tracks = contracts.random_rows((2, 0, 3), 3, torch.float32)
    flows = contracts.random_rows((1, 4, 2), 1, torch.float32)
    batch = contracts.JetBatch(torch.randn(3, 2), {"tracks": tracks, "flows": flows}, {}, torch.arange(3), {})
    moved = flows.with_values(flows.values + (flows.jet_T == 2)[:, None])
    after = contracts.JetBatch(batch.jets, {"tracks": tracks, "flows": moved}, {}, batch.rows, {})
    same = torch.isclose(model(batch)["origin"], model(after)["origin"]).all(-1)
    assert same.tolist() == [True, True, False, False, False]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("counts", [(), (0,), (0, 0, 0), (1,), (4, 0, 2)])
def test_every_parameter_has_a_gradient_on_every_batch(name, counts):
    model, batch_of = make(name)
    batch = batch_of(counts)
    raw = model(batch)
    contracts.trains(model, sum(task.loss(raw[k], batch).sum for k, task in model.named_tasks.items()))


def test_mixed_precision_keeps_losses_in_full():
    model, batch_of = make("transformer")
    batch = batch_of(contracts.COUNTS)
    batch.jets[:, 0] += 1e6
    with torch.autocast("cpu", torch.bfloat16):
        raw = model(batch)
        losses = [task.loss(raw[k], batch).sum for k, task in model.named_tasks.items()]
    assert {loss.dtype for loss in losses} == {torch.float32}
    contracts.trains(model, sum(losses))


def test_forward_leaves_the_batch_alone():
    model, batch_of = make("flows")
    batch = batch_of(contracts.COUNTS)
    before = [batch.jets.clone(), *(x.values.clone() for x in batch.constituents.values())]
    model(batch)
    after = [batch.jets, *(x.values for x in batch.constituents.values())]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_names_of_the_state():
    model, _ = make("graph")
    names = set(model.state_dict())
    assert {"normalise.tracks.mean", "normalise.jets.std", "embed.tracks.dense.first.rows.weight"} < names
    assert {"pooling.score.weight", "tasks.flavour.class_weight", "tasks.pt.mean"} < names
    prefixes = {"normalise.jets", "normalise.tracks", "embed.tracks", "encoder.layers", "encoder.norm"}
    prefixes |= {"pooling.score", "tasks.flavour", "tasks.pt", "tasks.origin", "tasks.vertexing"}
    assert {".".join(name.split(".")[:2]) for name in names} == prefixes


def test_statistics_travel_with_the_state():
    model, batch_of = make("graph")
    fresh = JetTagger(*(MODELS["graph"][0], 16), *MODELS["graph"][1:])
    assert (model.fitted, fresh.fitted) == (True, False)
    fresh.load_state_dict(model.state_dict())
    assert fresh.fitted
    batch = batch_of((3, 0))
    assert torch.equal(fresh(batch)["flavour"], model(batch)["flavour"])
    with pytest.raises(DataError, match="unknown input 'tracks' in the normalisation; known: jets"):
        model.adopt(contracts.random_statistics(JETS, model.targets))


def test_targets_are_asked_for_once_and_in_order():
    tasks = {"a": FLAVOUR, "b": partial(Regression, "jets", ["pt"]), "c": FLAVOUR}
    flavour = Target("jets", "flavour_label", "class", ("bjets", "cjets", "ujets"))
    assert JetTagger(JETS, 8, None, MeanPooling, tasks).targets == (flavour, Target("jets", "pt", "number"))


def test_size_of_gn2():
    """About 0.7 million parameters."""
    inputs = {"jets": JETS["jets"], "tracks": Input([f"v{k}" for k in range(10)])}
    encoder = partial(Transformer, num_layers=4, num_heads=8, feed_forward=256, sink=True)
    tasks = {
        "flavour": partial(FLAVOUR, hidden=[128, 64, 32]),
        "origin": partial(Classification, "tracks", "ftagTruthOriginLabel"),
        "vertexing": partial(Vertexing, "tracks"),
    }
    model = JetTagger(inputs, 128, encoder, partial(AttentionPooling, sink=True), tasks)
    assert sum(p.numel() for p in model.parameters()) == 693036


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": {"a": partial(Vertexing, "track")}}, "unknown input 'track' of task 'a'; nearest: tracks"),
        ({"tasks": {}}, "there are no tasks"),
        ({"tasks": {"a.b": FLAVOUR}}, r"task 'a\.b': the name is reserved"),
        ({"tasks": {"keys": FLAVOUR}}, "task 'keys': the name is reserved"),
        ({"inputs": {"tracks": Input(["d0"])}}, "no 'jets'"),
        ({"embed_dim": 0}, "embed_dim is 0"),
        ({"registers": -1}, "registers is -1"),
        ({"inputs": JETS, "tasks": ALONE, "registers": 1}, "registers is 1; .* without constituents"),
        ({"embed_hidden": [0]}, r"hidden is \[0\]"),
    ],
)
def test_models_that_cannot_be(changes, message):
    arguments = {"inputs": TRACKS, "embed_dim": 8, "encoder": None, "pooling": MeanPooling, "tasks": TASKS}
    with pytest.raises(ConfigError, match=message):
        JetTagger(**{**arguments, **changes})


def test_registers_are_pooled_and_seen_by_no_task():
    """Without an encoder the sum over the rows of a jet grows by the registers, also where there are no rows."""
    inputs, _, _, tasks = MODELS["deep sets"]
    model = contracts.randomised(JetTagger(inputs, 16, None, SumPooling, tasks, registers=2), torch.float64)
    model.adopt(contracts.random_statistics(inputs, model.targets))
    widths = {k: len(v.variables) for k, v in inputs.items()}
    embedding = model.embedding(contracts.random_batch(widths, model.targets, (2, 0, 3)))
    rows = embedding.constituents["tracks"]
    assert rows.counts.tolist() == [2, 0, 3]
    sums = torch.stack([jet.sum(0) for jet in rows.values.split([2, 0, 3])])
    contracts.close(embedding.jets, sums + model.registers.sum(0), 1e-12)
