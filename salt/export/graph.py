"""The model as a graph of ONNX operators."""

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from salt.batch import JetBatch
from salt.errors import SaltError
from salt.export.components_onnx import connected_components
from salt.export.plan import GraphOutput, GraphPlan
from salt.export.traceable import of_many_jets, of_one_jet
from salt.graphs import replaced
from salt.inputs import JETS
from salt.model import JetTagger
from salt.ragged import Ragged

OPSET = 18
"""The first one with all operators that are needed; ONNX Runtime knows it from version 1.14 on."""

IR_VERSION = 8
"""The format that belongs to it."""

EXAMPLE_JETS = 67
EXAMPLE_CONSTITUENTS = 203
"""Sizes of the jets to trace with. None stays in the graph, as long as no part of the jets is one jet or none."""


class TaggerGraph(nn.Module):
    """From the tensors of a call to those that it returns.

    Args:
        model: The model.
        plan: What goes in and comes out.
    """

    def __init__(self, model: JetTagger, plan: GraphPlan) -> None:
        super().__init__()
        self.model = model
        self.plan = plan

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The outputs in the order of the plan.

        Args:
            tensors: The [B, F] jets, for each other input its [T, F] rows, and, where a call takes many jets, for each
                of these its [B + 1] offsets.
        """
        names = [each.input for each in self.plan.inputs if each.input != JETS]
        rows = tensors[1 : 1 + len(names)]
        offsets = tensors[1 + len(names) :] if self.plan.batched else [torch.arange(2) * x.shape[0] for x in rows]
        constituents = {n: Ragged(x, o, o) for n, x, o in zip(names, rows, offsets, strict=True)}
        nothing = torch.empty(0, dtype=torch.int64)
        embedding = self.model.embedding(JetBatch(tensors[0], constituents, {}, nothing, {}))
        predicted: dict[str, Mapping[str, Tensor]] = {}
        for output in self.plan.outputs:
            if output.task not in predicted:
                task = self.model.named_tasks[output.task]
                predicted[output.task] = task.predict(task(embedding))
        return tuple(self._value(output, predicted[output.task]) for output in self.plan.outputs)

    def _value(self, output: GraphOutput, predicted: Mapping[str, Tensor]) -> Tensor:
        value = value_of(output, predicted)
        return value.squeeze(0) if output.input == JETS and not self.plan.batched else value


def value_of(output: GraphOutput, predicted: Mapping[str, Tensor]) -> Tensor:
    """The [B] or [T] values of an output from the columns of its task."""
    columns = [predicted[name] for name in output.columns]
    if output.classes:
        return torch.stack(columns, dim=-1).argmax(-1).to(getattr(torch, output.dtype))
    value = columns[0]
    for column in columns[1:]:
        value = value + column
    return value.to(getattr(torch, output.dtype))


def to_onnx(model: JetTagger, plan: GraphPlan) -> onnx.ModelProto:
    """The graph of a model.

    Args:
        model: The model, in evaluation mode and float32.
        plan: What goes in and comes out.

    Raises:
        SaltError: A part of the model does what cannot be said in ONNX.
    """
    example, shapes = _example(plan)
    functions = of_many_jets() if plan.batched else of_one_jet()
    with _quiet(), torch.no_grad(), replaced(functions):
        try:
            traced = torch.export.export(TaggerGraph(model, plan).eval(), example, dynamic_shapes=(shapes,))
            program = torch.onnx.export(
                traced,
                input_names=list(plan.tensors),
                output_names=[each.name for each in plan.outputs],
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
                custom_translation_table={torch.ops.salt.connected.default: connected_components},
            )
        except Exception as error:  # Whatever a class of the user's own may raise here.
            first = str(error).strip().splitlines() or [type(error).__name__]
            raise SaltError(
                f"the model cannot be exported: {first[0][:300]}\n"
                "a class of your own must be computed by tensor operations alone: sizes from x.shape, no loops over "
                "values (see docs/export.md)"
            ) from error
    assert program is not None
    proto: onnx.ModelProto = program.model_proto
    proto.ir_version = IR_VERSION
    _name_axes(proto, plan)
    onnx.checker.check_model(proto)
    return proto


def _example(plan: GraphPlan) -> tuple[tuple[Tensor, ...], tuple[Any, ...]]:
    """Tensors to trace with, and which of their sizes may be another."""
    jets = EXAMPLE_JETS if plan.batched else 1
    any_size = {0: torch.export.Dim.DYNAMIC}
    tensors, shapes = [], []
    for number, each in enumerate(plan.inputs):
        size = jets if each.input == JETS else EXAMPLE_CONSTITUENTS + 2 * number
        tensors.append(torch.randn(size, len(each.variables)))
        shapes.append(any_size if plan.batched or each.input != JETS else {})
    for rows, each in zip(list(tensors), plan.inputs, strict=True):
        if each.offsets:
            tensors.append(torch.linspace(0, rows.shape[0], jets + 1).round().to(torch.int64))
            shapes.append(any_size)
    return tuple(tensors), tuple(shapes)


def _name_axes(proto: onnx.ModelProto, plan: GraphPlan) -> None:
    """Gives the axes of inputs and outputs names that can be understood; what is inside is anybody's to infer."""
    del proto.graph.value_info[:]
    sizes = {each.input: f"num_{each.input}" for each in plan.inputs}
    jets: int | str = sizes[JETS] if plan.batched else 1
    first: dict[str, list[int | str]] = {}
    for each in plan.inputs:
        first[each.name] = [jets if each.input == JETS else sizes[each.input], len(each.variables)]
        if each.offsets:
            first[each.offsets] = [f"{sizes[JETS]} + 1"]
    for output in plan.outputs:
        alone = output.input == JETS and not plan.batched
        first[output.name] = [] if alone else [sizes[output.input]]
    for info in [*proto.graph.input, *proto.graph.output]:
        shape = info.type.tensor_type.shape
        del shape.dim[:]
        for size in first[info.name]:
            axis = shape.dim.add()
            if isinstance(size, int):
                axis.dim_value = size
            else:
                axis.dim_param = size


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's remarks from the user, who can do nothing about them."""
    loggers = [
        logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch.__trace", "onnxscript", "onnx_ir")
    ]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):  # noqa: PTH123
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
