"""The attention of many jets in a graph that leaves PyTorch: in rectangles whose sizes follow from tensors."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from salt.nn.attention import Padded
from salt.nn.buckets import Bucket, Plan
from salt.ragged import Ragged

PARTS = (16, 4, 2)
"""Of many jets the longest sixteenth, quarter and half are padded apart from each other and from the rest."""

ADDED = max(PARTS)
"""So many empty jets are added."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Rectangles(Plan):
    """A plan that fills each rectangle by itself, since a tracer cannot know that their sizes add up.

    Args:
        shown: For each bucket the [b, L] constituents that its slots show; T for the one of zeros.
        row_of_jet: [B] among the rows of all rectangles.
    """

    shown: tuple[Tensor, ...]
    row_of_jet: Tensor

    def split(self, values: Tensor) -> list[Tensor]:
        """[T, ...] values to a [b, L, ...] rectangle for each bucket."""
        more = torch.cat([values, values.new_zeros(1, *values.shape[1:])])
        return [more.index_select(0, x.flatten()).reshape(*x.shape, *values.shape[1:]) for x in self.shown]


@dataclass(frozen=True, eq=False)
class Heads(Padded):
    """Where the heads of each constituent go in the rectangles.

    Rows are one head of one constituent, d wide: a copy of one makes neither slices nor transpositions necessary.

    Args:
        read: For each bucket the rows of its [b, H, L] queries, keys and values among T, 3, H.
        write: [T, H] rows of the results among all [b, H, L].
    """

    read: tuple[tuple[Tensor, Tensor, Tensor], ...]
    write: Tensor


def size_of(scalar: Tensor) -> int:
    """A size that follows from values."""
    size: Any = scalar.item()
    # Not always true. It keeps the tracer from asking whether 0 and 1 are special cases, which they are not in ONNX.
    torch._check(size >= 2)
    found: int = size
    return found


def plan_of_many(x: Ragged, *_: int) -> Rectangles:
    """Jets sorted by length and cut into four rectangles, of few long and many short ones, each padded to its longest.

    Some empty jets are added, so that no rectangle is empty: ONNX Runtime cannot reshape one. What is padded shows a
    constituent of zeros after the last one.
    """
    total = x.values.shape[0]
    counts, order = torch.cat([x.counts, x.counts.new_zeros(ADDED)]).sort(descending=True)
    starts_of_jets = torch.cat([x.offsets[:-1], x.offsets.new_zeros(ADDED)]).index_select(0, order)
    jets = x.num_jets + ADDED
    edges = [0, *(jets // part for part in PARTS), jets]
    buckets, shown, slots = [], [], []
    size = 0
    for first, last in pairwise(edges):
        counts_b1, start_b1 = counts[first:last, None], starts_of_jets[first:last, None]
        length = size_of(counts_b1.max().clamp(min=2))
        place_N = torch.arange(length)
        shown.append(torch.where(place_N < counts_b1, start_b1 + place_N, total))
        slots.append(torch.arange(last - first) * length + size)
        used_bN = place_N < counts_b1.clamp(min=1)
        mask_b1N = torch.zeros(used_bN.shape).masked_fill(~used_bN, -torch.inf)[:, None]
        buckets.append(Bucket(last - first, length, mask_b1N))
        size = size + (last - first) * length
    slot_of_jet = torch.zeros_like(order).scatter(0, order, torch.cat(slots))
    place_T = torch.arange(total) - x.offsets.index_select(0, x.jet_T)
    inverse = slot_of_jet.index_select(0, x.jet_T) + place_T
    row_of_jet = torch.zeros_like(order).scatter(0, order, torch.arange(jets))
    return Rectangles(tuple(buckets), inverse=inverse, shown=tuple(shown), row_of_jet=row_of_jet[: x.num_jets])


def layout_of_many(
    x: Ragged, dtype: torch.dtype, embed_dim: int, num_heads: int, dropout: float, asked: str, sink: bool
) -> Heads:
    """What stands in for `salt.nn.attention.make_layout`."""
    plan = plan_of_many(x)
    head_H1 = torch.arange(num_heads)[:, None]
    read, first, apart = [], [], []
    size = 0
    for bucket, shown_bL in zip(plan.buckets, plan.shown, strict=True):
        query_bHL = (3 * num_heads) * shown_bL[:, None] + head_H1
        read.append((query_bHL, query_bHL + num_heads, query_bHL + 2 * num_heads))
        jets = torch.arange(bucket.num_rows)
        first.append(size + jets * (num_heads * bucket.length))
        apart.append(torch.full_like(jets, bucket.length))
        size = size + bucket.num_rows * num_heads * bucket.length
    jet_T = plan.row_of_jet.index_select(0, x.jet_T)
    place_T = torch.arange(x.values.shape[0]) - x.offsets.index_select(0, x.jet_T)
    first_T, apart_T = (torch.cat(each).index_select(0, jet_T) for each in (first, apart))
    write_TH = (first_T + place_T)[:, None] + apart_T[:, None] * torch.arange(num_heads)
    return Heads(plan, sink, tuple(read), write_TH)


def attention_of_many(query_key_value: Tensor, layout: Heads, num_heads: int, dropout: float = 0.0) -> Tensor:
    """As `salt.nn.attention.attention` has it, by what ONNX Runtime does fast on rows of a few scores: no softmax."""
    total, width = query_key_value.shape
    head_dim = width // (3 * num_heads)
    rows = torch.cat([query_key_value, query_key_value.new_zeros(1, width)]).reshape(-1, head_dim)
    parts = []
    for index, bucket in zip(layout.read, layout.plan.buckets, strict=True):
        q, k, v = (rows.index_select(0, each.flatten()).reshape(*each.shape, head_dim) for each in index)
        score = (q * head_dim**-0.5) @ k.transpose(2, 3)
        if bucket.mask is not None:
            score = score + bucket.mask[:, None]
        most = score.amax(-1, keepdim=True)
        most = most.relu() if layout.sink else most  # The score of a sink is 0.
        weight = (score - most).exp()
        total_bHL1 = weight @ weight.new_ones(weight.shape[-1], 1)
        total_bHL1 = total_bHL1 + (-most).exp() if layout.sink else total_bHL1
        parts.append(((weight @ v) / total_bHL1).flatten(0, 2))
    out = torch.cat(parts).index_select(0, layout.write.flatten())
    return out.reshape(total, num_heads * head_dim)


def sum_of_many(values: Tensor, like: Ragged) -> Tensor:
    """As `salt.ragged.sum_jets` has it: what is padded is a row of zeros."""
    plan = plan_of_many(like)
    sums = torch.cat([rectangle.sum(1) for rectangle in plan.split(values)])
    return sums.index_select(0, plan.row_of_jet)
