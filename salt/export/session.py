"""Calls of an exported model."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from salt.batch import JetBatch
from salt.export.plan import GraphPlan
from salt.inputs import JETS

Arrays = Mapping[str, NDArray[Any]]


class Session:
    """A model in ONNX Runtime, on one core.

    Args:
        model: The model, or the bytes or path of its file.
        plan: What goes in and comes out.
    """

    def __init__(self, model: onnx.ModelProto | bytes | str, plan: GraphPlan) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        content = model.SerializeToString() if isinstance(model, onnx.ModelProto) else model
        self.plan = plan
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def __call__(self, tensors: Mapping[str, NDArray[Any]]) -> Arrays:
        """One call, with what goes in by its names; what comes out by its names."""
        names = [each.name for each in self.plan.outputs]
        known = {each.name for each in self.session.get_inputs()}
        given = {name: value for name, value in tensors.items() if name in known}
        return dict(zip(names, self.session.run(names, given), strict=True))

    def tensors(self, batch: JetBatch) -> dict[str, NDArray[Any]]:
        """What goes in for a batch, which has one jet where a call takes one."""
        found = {}
        for each in self.plan.inputs:
            rows = batch.jets if each.input == JETS else batch.constituents[each.input].values
            found[each.name] = np.ascontiguousarray(rows.numpy())
            if each.offsets:
                found[each.offsets] = batch.constituents[each.input].host_offsets.numpy()
        return found

    def per_jet(self, batch: JetBatch) -> list[Arrays]:
        """What comes out for each jet of a batch, in one call: [1] or [n] values."""
        values = self(self.tensors(batch))
        if not self.plan.batched:
            return [{name: np.atleast_1d(value) for name, value in values.items()}]
        return cut_by_jet(values, self.plan, batch)


def cut_by_jet(values: Arrays, plan: GraphPlan, batch: JetBatch) -> list[Arrays]:
    """The [B] or [T] values of outputs as those of each jet."""
    parts: dict[str, list[NDArray[Any]]] = {}
    for output in plan.outputs:
        if output.name in values:
            ends = np.arange(1, len(batch))
            if output.input != JETS:
                ends = batch.constituents[output.input].host_offsets.numpy()[1:-1]
            parts[output.name] = np.split(values[output.name], ends)
    return [{name: pieces[jet] for name, pieces in parts.items()} for jet in range(len(batch))]
