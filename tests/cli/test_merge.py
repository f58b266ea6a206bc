from typing import Any

import pytest
import yaml

from salt.cli.merge import finish, merge

UNDER = """
model:
  embed_dim: 8
  encoder: {class_path: salt.nn.Transformer, init_args: {num_layers: 4, num_heads: 2}}
  tasks:
    a: {class_path: Classification, init_args: {input: jets, classes: [x, y], weight: 1.0}}
    b: {class_path: Vertexing, init_args: {input: tracks}}
data: {inputs: {jets: {variables: [pt]}, tracks: {variables: [d0]}}, norm_dict: n.yaml}
trainer:
  max_epochs: 3
  callbacks:
    - {class_path: salt.callbacks.Checkpoint, init_args: {monitor: m, save_top_k: 3}}
    - class_path: salt.callbacks.PredictionWriter
"""


def merged(over: str) -> Any:
    under = yaml.safe_load(UNDER)
    result = finish(merge(under, yaml.safe_load(over)))
    assert under == yaml.safe_load(UNDER), "an argument was changed"
    return result


@pytest.mark.parametrize(
    ("over", "path", "expected"),
    [
        ("{}", ["model", "embed_dim"], 8),
        ("model: {tasks: {a: {init_args: {weight: 2}}}}", ["model", "tasks", "a", "init_args", "classes"], ["x", "y"]),
        ("model: {tasks: {a: {init_args: {weight: 2}}}}", ["model", "tasks", "a", "init_args", "weight"], 2),
        ("model: {tasks: {a: {weight: 2}}}", ["model", "tasks", "a", "init_args", "weight"], 2),
        ("model: {tasks: {a: {init_args: {classes: [z]}}}}", ["model", "tasks", "a", "init_args", "classes"], ["z"]),
        ("model: {tasks: {b: null}}", ["model", "tasks"], yaml.safe_load(UNDER)["model"]["tasks"] | {"b": ...}),
        ("model: {encoder: null}", ["model", "encoder"], None),
        ("data: {norm_dict: null}", ["data", "norm_dict"], None),
        ("data: {inputs: {tracks: null}}", ["data", "inputs"], {"jets": {"variables": ["pt"]}}),
        (
            "model: {encoder: {init_args: {num_layers: 1}}}",
            ["model", "encoder", "init_args"],
            {"num_layers": 1, "num_heads": 2},
        ),
        (
            "model: {encoder: {class_path: Transformer}}",
            ["model", "encoder", "init_args"],
            {"num_layers": 4, "num_heads": 2},
        ),
        ("model: {encoder: Transformer}", ["model", "encoder", "init_args"], {"num_layers": 4, "num_heads": 2}),
        ("model: {encoder: {class_path: GraphAttention}}", ["model", "encoder"], {"class_path": "GraphAttention"}),
        ("model: {encoder: GraphAttention}", ["model", "encoder"], {"class_path": "GraphAttention"}),
        (
            "model: {encoder: {class_path: GraphAttention, num_layers: 2}}",
            ["model", "encoder"],
            {"class_path": "GraphAttention", "init_args": {"num_layers": 2}},
        ),
        ("trainer: {callbacks: null}", ["trainer", "callbacks"], None),
    ],
)
def test_one_key_changes_and_its_neighbours_stay(over: str, path: list[str], expected: Any) -> None:
    node = merged(over)
    for key in path[:-1]:
        node = node[key]
    if isinstance(expected, dict):
        expected = {k: v for k, v in expected.items() if v is not ...}
    assert node[path[-1]] == expected


@pytest.mark.parametrize(
    "over",
    [
        "trainer: {callbacks: [{class_path: Checkpoint, init_args: {save_top_k: 5}}, {class_path: Timer}]}",
        "trainer: {callbacks: {Checkpoint: {init_args: {save_top_k: 5}}, Timer: {}}}",
        "trainer: {callbacks: {Checkpoint: {save_top_k: 5}, mine: {class_path: Timer}}}",
    ],
)
def test_callbacks_merge_by_name(over: str) -> None:
    callbacks = merged(over)["trainer"]["callbacks"]
    assert [c["class_path"].rpartition(".")[2] for c in callbacks] == ["Checkpoint", "PredictionWriter", "Timer"]
    assert callbacks[0]["init_args"] == {"monitor": "m", "save_top_k": 5}


def test_a_callback_is_removed_by_null() -> None:
    callbacks = merged("trainer: {callbacks: {PredictionWriter: null}}")["trainer"]["callbacks"]
    assert [c["class_path"] for c in callbacks] == ["salt.callbacks.Checkpoint"]


def test_two_callbacks_of_one_class_stay_two() -> None:
    twice = merged("trainer: {callbacks: [Timer, Timer]}")["trainer"]["callbacks"]
    assert [c["class_path"] for c in twice][2:] == ["Timer", "Timer"]
    assert finish(merge({"trainer": {"callbacks": twice}}, {}))["trainer"]["callbacks"] == twice


def test_arguments_beside_a_class_path_where_nothing_is_inherited() -> None:
    head = {"class_path": "Classification", "input": "jets", "inner": {"class_path": "A", "init_args": {"x": 1}}}
    found = merge({"trainer": {}}, {"model": {"encoder": {"class_path": "T", "layers": 2}, "tasks": {"a": head}}})
    inner = {"class_path": "A", "init_args": {"x": 1}}
    assert found["model"]["encoder"] == {"class_path": "T", "init_args": {"layers": 2}}
    assert found["model"]["tasks"]["a"] == {
        "class_path": "Classification",
        "init_args": {"input": "jets", "inner": inner},
    }
