"""Encoders, poolings and tasks by their names in YAML."""

import pytest
import yaml
from jsonargparse import ArgumentError, ArgumentParser

from salt.model import JetTagger
from salt.nn import GraphAttention
from salt.tasks import Classification

MODEL = """
embed_dim: 16
inputs:
  jets: {variables: [pt, eta]}
  tracks: {variables: [d0]}
encoder: {class_path: GraphAttention, init_args: {num_layers: 3, num_heads: 2}}
pooling: {class_path: AttentionPooling}
tasks:
  flavour:
    class_path: Classification
    init_args: {input: jets, label: flavour_label, classes: [bjets, ujets], class_weights: balanced, hidden: [8]}
  origin:
    class_path: salt.tasks.Classification
    init_args: {input: tracks, label: origin, label_map: {0: a, 3: b}, ignore_classes: [c, 7], class_weights: [1, 2]}
  vertexing: {class_path: Vertexing, init_args: {input: tracks}}
  pt: {class_path: Regression, init_args: {input: jets, labels: [pt], scale: log}}
"""


@pytest.fixture
def parser():
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(JetTagger)
    return parser


def test_a_model_from_yaml(parser):
    config = parser.parse_object(yaml.safe_load(MODEL))
    saved = parser.dump(config)
    again = parser.parse_string(saved)
    assert parser.dump(again) == saved
    model = JetTagger(**vars(parser.instantiate(config)))
    assert isinstance(model.encoder, GraphAttention)
    assert (len(model.encoder.layers), list(model.named_tasks)) == (3, ["flavour", "origin", "vertexing", "pt"])
    origin = model.named_tasks["origin"]
    assert isinstance(origin, Classification)
    assert (origin.target.classes, origin.target.codes) == (("a", "b"), ((0, "a"), (3, "b")))
    assert origin.class_weight.tolist() == [1, 2]
    assert "embed_dim" not in yaml.safe_load(saved)["encoder"]["init_args"]


@pytest.mark.parametrize(
    ("key", "value", "names"),
    [
        ("encoder", {"class_path": "GraphAttention", "init_args": {"embed_dim": 32}}, "embed_dim"),
        ("encoder", {"class_path": "GraphAttention", "init_args": {"num_layer": 3}}, "num_layer"),
        ("encoder", {"class_path": "GraphAtention"}, "GraphAtention"),
        ("pooling", {"class_path": "MeanPooling", "init_args": {"embed_dim": 32}}, "embed_dim"),
        ("tasks", {"a": {"class_path": "Vertexing", "init_args": {"input": "tracks", "name": "b"}}}, "name"),
        ("tasks", {"a": {"class_path": "Vertexing", "init_args": {"input": "tracks", "wieght": 2}}}, "wieght"),
    ],
)
def test_what_yaml_cannot_say(parser, key, value, names):
    config = {**yaml.safe_load(MODEL), key: value}
    with pytest.raises(ArgumentError, match=names):
        parser.parse_object(config)
