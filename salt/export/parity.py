"""Whether ONNX Runtime and PyTorch agree on the same jets."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from salt.batch import JetBatch
from salt.errors import SaltError
from salt.export.cases import Case, together
from salt.export.graph import value_of
from salt.export.plan import GraphOutput, GraphPlan
from salt.export.session import Arrays, Session, cut_by_jet
from salt.inputs import JETS
from salt.model import JetTagger

TOLERANCE = 1e-6
"""How far a probability may be from PyTorch's."""

RELATIVE = 1e-5
"""The same for any other number, as a share of its size."""

NEAR = 1e-5
"""So near to a cut, or to another class, an integer may be another one."""


@dataclass(frozen=True)
class Parity:
    """How well they agree.

    Args:
        jets: How many were compared.
        probability: The largest difference of probabilities.
        relative: The largest difference of other numbers, as a share of their size.
        integers: How many integers were compared.
        near: How many of these were another one, within rounding of a cut.
    """

    jets: int
    probability: float
    relative: float
    integers: int
    near: int


@dataclass(frozen=True, eq=False)
class _Reference:
    """What PyTorch says of one jet."""

    single: Arrays
    double: Arrays
    doubtful: Arrays


def compare(model: JetTagger, plan: GraphPlan, proto: onnx.ModelProto, cases: Sequence[Case]) -> Parity:
    """Computes the same jets with both.

    Args:
        model: The model.
        plan: Names of its graph.
        proto: The graph.
        cases: The jets. A graph of many jets gets them all at once, and then some alone.

    Raises:
        SaltError: They disagree, or a value is not finite; the message names output, jet and difference.
    """
    session = Session(proto, plan)
    reference = _reference(model, plan, cases)
    found: list[tuple[Case, _Reference, Arrays]] = []
    if plan.batched:
        many = session.per_jet(together(cases))
        found += list(zip(cases, reference, many, strict=True))
    for case, expected in list(zip(cases, reference, strict=True))[:: 5 if plan.batched else 1]:
        found.append((case, expected, session.per_jet(together([case]))[0]))
    sizes = {o.name: float(np.abs(np.concatenate([r.double[o.name] for r in reference])).mean()) for o in plan.outputs}
    total = Parity(len(found), 0.0, 0.0, 0, 0)
    for case, expected, values in found:
        for output in plan.outputs:
            check = _integers if output.dtype.startswith("int") else _numbers
            total = check(total, output, case, expected, values[output.name], sizes[output.name])
    return total


def _numbers(
    total: Parity, output: GraphOutput, case: Case, expected: _Reference, value: NDArray[Any], size: float
) -> Parity:
    single, double = expected.single[output.name].astype(np.float64), expected.double[output.name]
    if not np.isfinite(value).all():
        also = "" if np.isfinite(single).all() else ", nor in PyTorch"
        raise _refusal(output, case, f"is not finite in ONNX Runtime{also}")
    unit = np.ones_like(single) if output.probability else np.maximum(np.abs(single), size)
    tolerance = TOLERANCE if output.probability else RELATIVE
    off = np.abs(value - single) / unit
    allowed = np.maximum(tolerance, 2 * np.max(np.abs(single - double) / unit, initial=0.0))
    largest = float(off.max(initial=0.0))
    if largest > allowed:
        share = "" if output.probability else " of its size"
        problem = f"differs by {largest:.2g}{share} between ONNX Runtime and PyTorch; {allowed:.2g} is allowed"
        raise _refusal(output, case, problem)
    if output.probability:
        return replace(total, probability=max(total.probability, largest))
    return replace(total, relative=max(total.relative, largest))


def _integers(
    total: Parity, output: GraphOutput, case: Case, expected: _Reference, value: NDArray[Any], size: float
) -> Parity:
    different = value != expected.single[output.name]
    if (different & ~expected.doubtful[output.name]).any():
        problem = f"is another integer for {int(different.sum())} of {len(value)} {output.input}, not all near a cut"
        raise _refusal(output, case, problem)
    return replace(total, integers=total.integers + value.size, near=total.near + int(different.sum()))


def _refusal(output: GraphOutput, case: Case, problem: str) -> SaltError:
    return SaltError(f"not exported: '{output.name}' of {case.words} {problem}")


def _reference(model: JetTagger, plan: GraphPlan, cases: Sequence[Case]) -> list[_Reference]:
    batch = together(cases)
    single, doubtful = _outputs(model, plan, batch, doubts=True)
    wide = JetBatch(
        batch.jets.double(),
        {n: x.with_values(x.values.double()) for n, x in batch.constituents.items()},
        {},
        batch.rows,
        {},
    )
    double, _ = _outputs(deepcopy(model).double(), plan, wide, doubts=False)
    cut = [cut_by_jet(values, plan, batch) for values in (single, double, doubtful)]
    return [_Reference(*each) for each in zip(*cut, strict=True)]


@torch.no_grad()
def _outputs(model: JetTagger, plan: GraphPlan, batch: JetBatch, doubts: bool) -> tuple[Arrays, Arrays]:
    """The values of all outputs, in the type of the model, and where integers lie near a cut."""
    embedding = model.embedding(batch)
    values: dict[str, NDArray[Any]] = {}
    doubtful: dict[str, NDArray[Any]] = {}
    for output in plan.outputs:
        task = model.named_tasks[output.task]
        raw = task(embedding)
        predicted = task.predict(raw)
        values[output.name] = _value(output, predicted)
        if doubts and output.classes:
            first, second = torch.stack([predicted[c] for c in output.columns], -1).topk(2, dim=-1).values.unbind(-1)
            doubtful[output.name] = (first - second < NEAR).numpy()
        elif doubts and output.dtype.startswith("int"):
            shifted = [_value(output, task.predict(_shifted(raw, by))) for by in (NEAR, -NEAR)]
            changed = np.any([values[output.name] != other for other in shifted], axis=0)
            doubtful[output.name] = _whole_jets(changed, output, batch)
    return values, doubtful


def _value(output: GraphOutput, predicted: Mapping[str, Tensor]) -> NDArray[Any]:
    if output.dtype == "float32":
        double_or_single: NDArray[Any] = torch.stack([predicted[name] for name in output.columns]).sum(0).numpy()
        return double_or_single
    integers: NDArray[Any] = value_of(output, predicted).numpy()
    return integers


def _whole_jets(changed: NDArray[Any], output: GraphOutput, batch: JetBatch) -> NDArray[Any]:
    """One doubtful integer makes all of its jet doubtful, since groups are numbered through."""
    if output.input == JETS:
        return changed
    jet_T = batch.constituents[output.input].jet_T.numpy()
    whole: NDArray[Any] = np.bincount(jet_T, changed, minlength=len(batch))[jet_T] > 0
    return whole


def _shifted(raw: Any, by: float) -> Any:
    """Raw outputs of a task with all numbers moved a little, by which an integer may become another one."""
    if isinstance(raw, Tensor):
        return raw + by if raw.is_floating_point() else raw
    if is_dataclass(raw) and not isinstance(raw, type):
        return replace(raw, **{each.name: _shifted(getattr(raw, each.name), by) for each in fields(raw) if each.init})
    if isinstance(raw, Mapping):
        return {key: _shifted(value, by) for key, value in raw.items()}
    if isinstance(raw, tuple | list):
        return type(raw)(_shifted(value, by) for value in raw)
    return raw
