"""Linear layers, which in half precision on a CPU are computed in few different shapes."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

QUANTUM = 256
"""The last piece of the rows has at least this many."""


class Linear(nn.Linear):
    """``nn.Linear``, fast also where the number of rows is another one in each batch.

    In half precision on a CPU oneDNN generates code for each new shape of a product, which takes several times as
    long as the product. There the rows are done in two pieces, as many as are a multiple of some power of two, and the
    last ones, as many as that power, of which some are then computed twice.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[T, in] to [T, out]."""
        dtype = half_on_cpu(x)
        if dtype is None or x.dim() != 2 or len(x) < QUANTUM or torch.compiler.is_compiling():
            return functional.linear(x, self.weight, self.bias)
        out: Tensor = _InPieces.apply(x, self.weight, self.bias, dtype)
        return out


def half_on_cpu(x: Tensor) -> torch.dtype | None:
    """The half precision in which a product with a tensor on a CPU is computed; None if it is another one."""
    if x.device.type != "cpu":
        return None
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    return dtype if dtype.itemsize == 2 else None


class _InPieces(torch.autograd.Function):
    """``x W^T + b`` and its gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Tensor:
        """[T, in], [out, in] and [out] to [T, out]."""
        half, matrix = x.to(dtype), weight.to(dtype)
        out = half.new_empty(len(x), len(weight))
        with torch.autocast("cpu", enabled=False):
            for piece in _pieces(len(x)):
                if bias is None:
                    torch.mm(half[piece], matrix.t(), out=out[piece])
                else:
                    torch.addmm(bias.to(dtype), half[piece], matrix.t(), out=out[piece])
        ctx.save_for_backward(half, matrix)
        ctx.dtypes = x.dtype, weight.dtype
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        """[T, out] to the gradients of x, W and b."""
        half, matrix = ctx.saved_tensors
        of_rows, of_weights = ctx.dtypes
        to_x = to_weight = to_bias = None
        with torch.autocast("cpu", enabled=False):
            gradient = gradient.to(half.dtype).contiguous()
            first, *last = _pieces(len(half))
            if ctx.needs_input_grad[0]:
                to_x = torch.empty_like(half)
                for piece in (first, *last):
                    torch.mm(gradient[piece], matrix, out=to_x[piece])
                to_x = to_x.to(of_rows)
            if ctx.needs_input_grad[1]:
                to_weight = torch.mm(gradient[first].t(), half[first]).to(of_weights)
                for piece in last:
                    rest = half[piece].clone()
                    rest[: first.stop - piece.start] = 0
                    to_weight += torch.mm(gradient[piece].t(), rest)
            if ctx.needs_input_grad[2]:
                to_bias = gradient.sum(0).to(of_weights)
        return to_x, to_weight, to_bias, None


def _pieces(rows: int) -> list[slice]:
    """The first rows, as many as a multiple of the quantum allows, and, if there are more, the last quantum."""
    quantum = max(QUANTUM, 1 << (rows >> 4).bit_length() - 1)
    whole = rows // quantum * quantum
    return [slice(0, whole)] if whole == rows else [slice(0, whole), slice(rows - quantum, rows)]
