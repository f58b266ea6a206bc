"""What models compute on the host, or by operators that ONNX lacks, said in operators that it has.

`salt.graphs.replaced` puts these functions in the place of those that batches of a training need. In the graph of one
jet the offsets are 0 and n, so nothing is padded or looked up; in that of many jets they are an input, and so every
size here follows from a tensor.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from salt.export.components import connected
from salt.export.rectangles import attention_of_many, layout_of_many, plan_of_many, size_of, sum_of_many
from salt.nn.attention import Padded, attention, make_layout
from salt.nn.buckets import Bucket, Plan, make_plan
from salt.nn.pair_features import pair_features
from salt.ragged import Pairs, Ragged, jet_of_each, merge, pairs, sum_jets, sum_rows
from salt.tasks.vertexing import PairLogits, components

Functions = Mapping[Callable[..., Any], Callable[..., Any]]


def of_one_jet() -> Functions:
    """For each marked function what replaces it where a batch is one jet."""
    return {
        **_of_any(),
        jet_of_each: lambda x: torch.zeros(x.values.shape[0], dtype=torch.int64),
        merge: _merge_one,
        pairs: _pairs_of_one,
        make_plan: _plan_of_one,
        make_layout: lambda x, *rest: Padded(_plan_of_one(x), sink=rest[-1]),
    }


def of_many_jets() -> Functions:
    """For each marked function what replaces it where a batch is any number of jets."""
    return {
        **_of_any(),
        jet_of_each: _jet_of_each,
        merge: _merge_many,
        pairs: _pairs_of_many,
        make_plan: plan_of_many,
        make_layout: layout_of_many,
        attention: attention_of_many,
        sum_jets: sum_of_many,
    }


def _of_any() -> dict[Callable[..., Any], Callable[..., Any]]:
    return {pair_features: _pair_features, components: _components, sum_rows: _sum_rows}


def _sum_rows(values: Tensor, segment: Tensor, num_segments: int) -> Tensor:
    """By ScatterElements, which ONNX Runtime computes in one thread.

    ``index_add`` becomes ScatterND, whose threads add to the same rows without waiting for each other: of some calls in
    a hundred the sums of a jet are wrong (https://github.com/microsoft/onnxruntime/issues/18048).
    """
    index = segment.reshape(-1, *([1] * (values.dim() - 1))).expand_as(values)
    return values.new_zeros((num_segments, *values.shape[1:])).scatter_add(0, index, values)


def _pair_features(both_TD: Tensor, difference_TD: Tensor, found: Pairs) -> Tensor:
    first, second = found.first, found.second
    apart_PD = difference_TD.index_select(0, first) - difference_TD.index_select(0, second)
    return both_TD.index_select(0, first) + both_TD.index_select(0, second) + apart_PD.abs()


def _components(raw: PairLogits) -> Tensor:
    first: Tensor = connected(raw.logits, raw.pairs.first, raw.pairs.second, torch.arange(raw.jets.shape[0]))
    return first


def _plan_of_one(x: Ragged, *_: int) -> Plan:
    return Plan((Bucket(1, x.values.shape[0], None),))


def _merge_one(parts: Sequence[Ragged]) -> tuple[Ragged, list[Tensor]]:
    positions, total = [], 0
    for part in parts:
        count = part.values.shape[0]
        positions.append(torch.arange(count) + total)
        total += count
    offsets = torch.stack([part.offsets for part in parts]).sum(0)
    return Ragged(torch.cat([part.values for part in parts]), offsets, offsets), positions


def _pairs_of_one(x: Ragged) -> Pairs:
    count = x.values.shape[0]
    first, second = torch.ones(count, count).triu(1).nonzero().unbind(1)
    return Pairs(first, second)


def repeated(counts: Tensor, total: int) -> Tensor:
    """The number of each row, as often as its count says: the sum of the counts is `total`."""
    starts = counts.cumsum(0) - counts
    begun = _sum_rows(torch.ones_like(starts), starts, total + 1)
    return begun.cumsum(0)[:-1] - 1


def _jet_of_each(x: Ragged) -> Tensor:
    if "jet_T" not in x.derived:
        x.derived["jet_T"] = repeated(x.counts, x.values.shape[0])
    return x.derived["jet_T"]


def _merge_many(parts: Sequence[Ragged]) -> tuple[Ragged, list[Tensor]]:
    if len(parts) == 1:
        return parts[0], [torch.arange(parts[0].values.shape[0])]
    offsets = torch.stack([part.offsets for part in parts]).sum(0)
    positions = []
    before = torch.zeros_like(offsets[:-1])
    for part in parts:
        shift = offsets[:-1] + before - part.offsets[:-1]
        positions.append(torch.arange(part.values.shape[0]) + shift.index_select(0, part.jet_T))
        before = before + part.counts
    where = torch.cat(positions)
    values = torch.cat([part.values for part in parts])
    order = torch.zeros_like(where).scatter(0, where, torch.arange(where.shape[0]))
    return Ragged(values.index_select(0, order), offsets, offsets), positions


def _pairs_of_many(x: Ragged) -> Pairs:
    rows = torch.arange(x.values.shape[0])
    partners = x.offsets[1:].index_select(0, x.jet_T) - rows - 1
    total = size_of(partners.sum())
    first = repeated(partners, total)
    start = partners.cumsum(0) - partners
    second = torch.arange(total) - start.index_select(0, first) + first + 1
    return Pairs(first, second)
