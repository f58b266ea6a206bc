"""What an ONNX file says of itself."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from salt import __version__
from salt.errors import DataError

if TYPE_CHECKING:
    from salt.export.plan import GraphPlan

KEY = "gnn_config"
"""Where reconstruction software looks for it."""

FORMAT = 1
"""Version of its layout."""


@dataclass(frozen=True)
class Origin:
    """Which weights are in the file.

    Args:
        checkpoint: Path of the checkpoint.
        sha256: Of the checkpoint.
        step: Optimiser steps that it has seen.
        weights: Words for the set of weights, such as ``EMA of decay 0.999``; empty if there is only one.
        averaged: Whether they are averages over several steps.
        run: Name of the run, if it lies in one.
    """

    checkpoint: str
    sha256: str
    step: int
    weights: str
    averaged: bool
    run: str | None


def describe(plan: "GraphPlan", origin: Origin, parity: Mapping[str, Any]) -> dict[str, Any]:
    """The content of the metadata key."""
    import onnxruntime
    import torch

    return {
        "format": FORMAT,
        "model_name": plan.model,
        "jets_per_call": "many" if plan.batched else "one",
        "normalised": "inside",
        "inputs": [
            {
                "name": each.name,
                **({"offsets": each.offsets} if each.offsets else {}),
                "input": each.input,
                "dataset": each.dataset,
                "variables": list(each.variables),
                **({"max_count": each.max_count} if each.max_count is not None else {}),
                **({"selection": list(each.selection)} if each.selection else {}),
            }
            for each in plan.inputs
        ],
        "outputs": [
            {
                "name": each.name,
                "type": each.dtype,
                "of": each.input,
                "task": each.task,
                "columns": list(each.columns),
                **({"classes": list(each.classes)} if each.classes else {}),
            }
            for each in plan.outputs
        ],
        "weights": asdict(origin),
        "parity": dict(parity),
        "versions": {
            "salt": __version__,
            "torch": str(torch.__version__),
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
    }


def attach(proto: onnx.ModelProto, content: Mapping[str, Any]) -> None:
    """Puts the description into a model, whose metadata is then nothing else."""
    del proto.metadata_props[:]
    entry = proto.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps(content)
    proto.producer_name, proto.producer_version = "salt-tagger", __version__
    proto.graph.name = str(content["model_name"])


def read(path: Path) -> tuple[onnx.ModelProto, dict[str, Any] | None]:
    """A model, and its description if it has one.

    Raises:
        DataError: The file is missing or no ONNX model.
    """
    try:
        proto = onnx.load(str(path), load_external_data=False)
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except Exception as error:  # Of protobuf, whose errors have no common class.
        raise DataError(f"{path} is no ONNX model: {str(error).splitlines()[0][:200]}") from None
    if not proto.graph.node:
        raise DataError(f"{path} is no ONNX model: it has no operators")
    text = next((each.value for each in proto.metadata_props if each.key == KEY), None)
    try:
        content = None if text is None else json.loads(text)
    except ValueError:
        content = None
    return proto, content if isinstance(content, dict) else None
