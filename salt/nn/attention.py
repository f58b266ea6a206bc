"""Attention among the constituents of a jet, on packed rows: one function, three ways to compute it.

``rows``
    Short jets share rows of a few multiples of the processor's vector width; the two products and the softmax are
    written out, for all heads and rows at once, forward and backward. Memory grows with the square of jets' lengths.
``sdpa``
    PyTorch's scaled_dot_product_attention on jets padded into buckets of about equal length.
``varlen``
    PyTorch's flash attention on packed rows (torch.nn.attention.varlen), in half precision on CUDA devices.

`choose_backend` says which one is taken where none is asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from salt.errors import ConfigError, unknown
from salt.graphs import outside_graphs, replaceable
from salt.nn.buckets import Plan, make_plan
from salt.nn.dense import at_least_float32
from salt.nn.dropout import dropped
from salt.nn.linear import Linear
from salt.ragged import Ragged

Backend = Literal["rows", "sdpa", "varlen"]

AUTO = "auto"

SLOTS = 16
"""A row has a multiple of this, so that the softmax, in float32 at least, runs over whole vector registers."""

FEW_SHAPES = 16
"""In half precision on a CPU the number of rows is a multiple of this, or a power of two: see `salt.nn.linear`."""

LONG = 256
"""From this many constituents in one jet on, scores are not kept for the backward pass."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Jets in shared rows.

    For each head the S slots of the plan, bucket by bucket, [b, H, L]; the [T, 3, H] queries, keys and values, and
    the [T, H] results, are moved there and back by one gather each.

    Args:
        shapes: b and L of each bucket.
        sink: Whether the first slot of each row is that of a constituent of zeros.
        masks: What is added to the scores of each bucket.
        read: [3 S H] where among T, 3, H each slot of queries, keys and values comes from.
        write: [T H] the slot of each result.
        read_result: [S H] where among T, H each slot of the results goes to.
        write_input: [T 3 H] the slot of each query, key and value.
    """

    shapes: tuple[tuple[int, int], ...]
    sink: bool
    masks: tuple[Tensor | None, ...]
    read: Tensor
    write: Tensor
    read_result: Tensor
    write_input: Tensor


@dataclass(frozen=True, eq=False)
class Varlen:
    """Jets back to back, as flash attention takes them.

    Args:
        offsets: [B + 1] int32.
        longest: The largest number of constituents of a jet, rounded up to a power of two.
        places: [T] where the constituents lie among those of zeros, of which each jet has one at its end; None
            without these.
    """

    offsets: Tensor
    longest: int
    places: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Padded:
    """Jets padded into buckets.

    Args:
        plan: The buckets.
        sink: Whether each row has a constituent of zeros beside those of the plan.
    """

    plan: Plan
    sink: bool


Layout = Rows | Padded | Varlen
"""How one of the three sees the jets of a batch; made once for all layers."""


def choose_backend(device: str, dtype: torch.dtype, head_dim: int, longest: int, dropout: float) -> Backend:
    """The backend for a device.

    Args:
        device: Its type, such as ``cuda``.
        dtype: The type of queries, keys and values.
        head_dim: D / H.
        longest: The largest number of constituents of a jet.
        dropout: Probability to drop an attention weight.

    Returns:
        On CUDA devices ``varlen`` for half precision, where it can be used, else ``sdpa``. Elsewhere ``rows``, but
        ``sdpa`` if a jet has more than 256 constituents and the type is not half precision, in which that is slow.
    """
    half = dtype.itemsize == 2
    if device == "cuda":
        return "varlen" if half and not varlen_problem(dtype, head_dim, dropout) else "sdpa"
    return "sdpa" if longest > LONG and not half else "rows"


def check_backend(asked: str) -> None:
    """ConfigError unless it is ``auto`` or a backend."""
    if asked not in (AUTO, *get_args(Backend)):
        raise ConfigError(unknown("attention", asked, (AUTO, *get_args(Backend))))


def varlen_problem(dtype: torch.dtype, head_dim: int, dropout: float) -> str | None:
    """Why flash attention on packed rows cannot be used; None where it can."""
    if dtype.itemsize != 2:
        return f"works in half precision only (trainer.precision: bf16-mixed), not in {dtype}".replace("torch.", "")
    if head_dim % 8 or head_dim > 256:
        return f"needs heads whose width is a multiple of 8 and at most 256; embed_dim / num_heads is {head_dim}"
    if dropout:
        return "has no dropout"
    return None


@outside_graphs
def make_layout(
    x: Ragged, dtype: torch.dtype, embed_dim: int, num_heads: int, dropout: float, asked: str, sink: bool
) -> Layout:
    """What the attention of all layers needs to know of the jets, made on the host without waiting for the device.

    Args:
        x: The jets.
        dtype: The type of queries, keys and values.
        embed_dim: D.
        num_heads: H.
        dropout: Probability to drop an attention weight.
        asked: A backend, or ``auto``.
        sink: Whether each jet has one more constituent, of zeros, that is only looked at.

    Raises:
        ConfigError: The backend that was asked for does not work here.
    """
    device = x.values.device
    head_dim = embed_dim // num_heads
    backend = asked
    if asked == AUTO:
        backend = choose_backend(device.type, dtype, head_dim, x.max_count, dropout)
    if backend == "varlen":
        problem = varlen_problem(dtype, head_dim, dropout)
        if device.type == "cpu":
            problem = "runs on CUDA devices only"
        if problem:
            raise ConfigError(f"attention: varlen {problem}\nset model.encoder.init_args.attention to auto")
        longest = 1 << max(x.max_count + sink - 1, 0).bit_length()
        if not sink:
            return Varlen(x.offsets.to(torch.int32), longest)
        before = torch.arange(x.num_jets + 1, device=device)
        places = torch.arange(x.values.shape[0], device=device) + x.jet_T
        return Varlen((x.offsets + before).to(torch.int32), longest, places)
    if backend == "sdpa" or x.num_jets == 1:
        return Padded(make_plan(x), sink)
    few_shapes = FEW_SHAPES if dtype.itemsize == 2 and device.type == "cpu" else 1
    return make_rows(make_plan(x, SLOTS, few_shapes, sink), num_heads, device, sink)


def make_rows(plan: Plan, num_heads: int, device: torch.device, sink: bool = False) -> Rows:
    """The gathers of shared rows."""
    shapes = tuple((bucket.num_rows, bucket.length) for bucket in plan.buckets)
    sizes = [rows * length for rows, length in shapes]
    size = sum(sizes)
    slots = torch.arange(size, device=device) if plan.slots is None else plan.slots
    inverse = slots if plan.inverse is None else plan.inverse
    head = torch.arange(num_heads, device=device)
    which = torch.arange(3, device=device)
    read, read_result, first, of_head, of_which = [], [], [], [], []
    at = 0
    for (rows, length), part in zip(shapes, slots.split(sizes), strict=True):
        slot_bHL = part.view(rows, 1, length) * num_heads + head[:, None]
        jet_slot_bHL = slot_bHL + 2 * num_heads * part.view(rows, 1, length)
        read.append((jet_slot_bHL + num_heads * which[:, None, None, None]).flatten())
        read_result.append(slot_bHL.flatten())
        place = torch.arange(rows, device=device)[:, None] * (num_heads * length) + torch.arange(length, device=device)
        first.append((at * num_heads + place).flatten())
        of_head.append(place.new_full((rows * length,), length))
        of_which.append(place.new_full((rows * length,), rows * length * num_heads))
        at += rows * length
    first_T, of_head_T = torch.cat(first)[inverse], torch.cat(of_head)[inverse]
    of_which_T = torch.cat(of_which)[inverse]
    before = torch.repeat_interleave(
        torch.tensor([2 * num_heads * sum(sizes[:k]) for k in range(len(sizes))], device=device),
        torch.tensor(sizes, device=device),
        output_size=size,
    )[inverse]
    write_TH = first_T[:, None] + head * of_head_T[:, None]
    write_input_T3H = (write_TH + before[:, None])[:, None] + (which * of_which_T[:, None])[..., None]
    return Rows(
        shapes,
        sink,
        tuple(bucket.mask for bucket in plan.buckets),
        torch.cat(read),
        write_TH.flatten(),
        torch.cat(read_result),
        write_input_T3H.flatten(),
    )


@replaceable
def attention(query_key_value: Tensor, layout: Layout, num_heads: int, dropout: float = 0.0) -> Tensor:
    """Scaled dot-product attention within each jet (Vaswani et al. 2017, arXiv:1706.03762).

    Row i of a jet becomes ``sum_j softmax_j(q_i k_j / sqrt(D / H)) v_j`` over all rows j of the same jet, for each
    head on its own slice of the width. With a sink there is one more j, whose k and v are 0.

    Args:
        query_key_value: [T, 3 D] queries, keys and values side by side.
        layout: The jets, for one of the backends.
        num_heads: H.
        dropout: Probability to drop an attention weight.

    Returns:
        [T, D].
    """
    if isinstance(layout, Varlen):
        return _varlen(query_key_value, layout, num_heads)
    return _on_rectangles(query_key_value, layout, num_heads, dropout)


@outside_graphs
def _on_rectangles(query_key_value: Tensor, layout: Rows | Padded, num_heads: int, dropout: float) -> Tensor:
    """Left out of compiled graphs, in which the number of rectangles and their sizes would be fixed."""
    if isinstance(layout, Padded):
        return _sdpa(query_key_value, layout, num_heads, dropout)
    out: Tensor = _SharedRows.apply(query_key_value, layout, num_heads, dropout)
    return out


def _varlen(query_key_value: Tensor, layout: Varlen, num_heads: int) -> Tensor:
    if layout.places is not None:
        total = len(query_key_value) + len(layout.offsets) - 1
        zeros = query_key_value.new_zeros(total, query_key_value.shape[1])
        query_key_value = zeros.index_copy(0, layout.places, query_key_value)
    query, key, value = query_key_value.unflatten(-1, (3, num_heads, -1)).unbind(1)
    out = _varlen_attn()(query, key, value, layout.offsets, layout.offsets, layout.longest, layout.longest)
    result: Tensor = out.flatten(1)
    return result if layout.places is None else result.index_select(0, layout.places)


@lru_cache
def _varlen_attn() -> Any:
    from torch.nn.attention.varlen import varlen_attn  # It needs parts of PyTorch that a CPU build may lack.

    return varlen_attn


def _sdpa(query_key_value: Tensor, layout: Padded, num_heads: int, dropout: float) -> Tensor:
    plan = layout.plan
    parts = []
    for x, bucket in zip(plan.split(query_key_value), plan.buckets, strict=True):
        q_bHLd, k_bHLd, v_bHLd = x.unflatten(-1, (3, num_heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        mask = None if bucket.mask is None else bucket.mask[:, None].to(x.dtype)
        if layout.sink:
            k_bHLd, v_bHLd = (functional.pad(each, (0, 0, 0, 1)) for each in (k_bHLd, v_bHLd))
            mask = None if mask is None else functional.pad(mask, (0, 1))
        if dropout or torch.compiler.is_exporting():  # PyTorch's function in ONNX fails on a jet without constituents.
            score = (q_bHLd * q_bHLd.shape[3] ** -0.5) @ k_bHLd.transpose(2, 3)
            weight = (score if mask is None else score + mask).softmax(-1)
            out = (dropped(weight, dropout) if dropout else weight) @ v_bHLd
        else:
            out = functional.scaled_dot_product_attention(q_bHLd, k_bHLd, v_bHLd, mask)
        parts.append(out.transpose(1, 2).flatten(2))
    return plan.join(parts)


class _SharedRows(torch.autograd.Function):
    """Attention by two batched products, whose backward is written out so that nothing is copied more than once."""

    @staticmethod
    def forward(ctx: Any, query_key_value: Tensor, layout: Rows, num_heads: int, dropout: float) -> Tensor:
        """[T, 3 D] to [T, D]."""
        total, width = query_key_value.shape
        head_dim = width // (3 * num_heads)
        scale = head_dim**-0.5
        with torch.autocast(query_key_value.device.type, enabled=False):
            rows = query_key_value.reshape(-1, head_dim).index_select(0, layout.read)
            out = rows.new_empty(rows.shape[0] // 3, head_dim)
            if layout.sink:
                _clear_sinks(rows, 3, layout, num_heads)
            weights: list[Tensor] = []
            kept: list[Tensor] = []
            for (q, k, v), result, mask in _rectangles(rows, out, layout, num_heads):
                if mask is None:
                    score = torch.bmm(q * scale, k.transpose(1, 2))
                else:
                    score = q.new_empty(len(mask), num_heads, *mask.shape[1:]).copy_(mask[:, None]).flatten(0, 1)
                    score.baddbmm_(q, k.transpose(1, 2), alpha=scale)
                weight = at_least_float32(score).softmax(-1).to(score.dtype)
                weights.append(weight)
                if dropout:
                    kept.append(dropped(torch.ones_like(weight), dropout))
                    weight = weight * kept[-1]
                torch.bmm(weight, v, out=result)
            ctx.save_for_backward(rows, *weights, *kept)
            ctx.layout, ctx.num_heads, ctx.total = layout, num_heads, total
            return out.index_select(0, layout.write).view(total, num_heads * head_dim)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        """[T, D] to [T, 3 D]."""
        layout: Rows = ctx.layout
        rows, *saved = ctx.saved_tensors
        weights, kept = saved[: len(layout.shapes)], saved[len(layout.shapes) :]
        head_dim = rows.shape[1]
        scale = head_dim**-0.5
        with torch.autocast(rows.device.type, enabled=False):
            results = gradient.to(rows.dtype).reshape(-1, head_dim).index_select(0, layout.read_result)
            if layout.sink:
                _clear_sinks(results, 1, layout, ctx.num_heads)
            out = torch.empty_like(rows)
            inputs = [inputs for inputs, _, _ in _rectangles(rows, results, layout, ctx.num_heads)]
            for i, ((dq, dk, dv), d_result, _) in enumerate(_rectangles(out, results, layout, ctx.num_heads)):
                q, k, v = inputs[i]
                used = weights[i] * kept[i] if kept else weights[i]
                torch.bmm(used.transpose(1, 2), d_result, out=dv)
                d_weight = torch.bmm(d_result, v.transpose(1, 2))
                if kept:
                    d_weight *= kept[i]
                d_weight, weight = at_least_float32(d_weight), at_least_float32(weights[i])
                d_score = torch._softmax_backward_data(d_weight, weight, -1, weight.dtype).to(q.dtype)
                torch.baddbmm(dq, d_score, k, beta=0, alpha=scale, out=dq)
                torch.baddbmm(dk, d_score.transpose(1, 2), q, beta=0, alpha=scale, out=dk)
            gradients = out.index_select(0, layout.write_input)
            return gradients.view(ctx.total, 3 * ctx.num_heads * head_dim), None, None, None


def _clear_sinks(values: Tensor, number: int, layout: Rows, num_heads: int) -> None:
    """Sets the first slot of each row to 0, of queries, keys and values or of the one thing that there is."""
    at = 0
    for rows, length in layout.shapes:
        size = number * rows * length * num_heads
        values[at : at + size].view(-1, length, values.shape[1])[:, 0] = 0
        at += size


def _rectangles(
    inputs: Tensor, results: Tensor, layout: Rows, num_heads: int
) -> Sequence[tuple[Tensor, Tensor, Tensor | None]]:
    """For each bucket views of [3, b H, L, d] queries, keys and values, of the [b H, L, d] results, and its mask."""
    parts = []
    at = 0
    for (rows, length), mask in zip(layout.shapes, layout.masks, strict=True):
        size = rows * length * num_heads
        shape = (rows * num_heads, length, inputs.shape[1])
        parts.append((inputs[3 * at : 3 * (at + size)].view(3, *shape), results[at : at + size].view(shape), mask))
        at += size
    return parts


class SelfAttention(nn.Module):
    """Multi-head self-attention within each jet, with linear maps before and after.

    The maps have no bias: each costs a pass over the memory both ways, and the layer norms have one.

    Args:
        embed_dim: D.
        num_heads: H.
        dropout: Probability to drop an attention weight.
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.query_key_value = Linear(embed_dim, 3 * embed_dim, bias=False)
        self.out = Linear(embed_dim, embed_dim, bias=False)

    def forward(self, x_TD: Tensor, layout: Layout) -> Tensor:
        """[T, D] to [T, D]."""
        dropout = self.dropout if self.training else 0.0
        out: Tensor = self.out(attention(self.query_key_value(x_TD), layout, self.num_heads, dropout))
        return out
