"""What `torch.compile` shall leave alone.

Work on the host, and loops over a varying number of rectangles, would be fixed in a compiled graph, and compiled again
for every batch. Functions that do such work are marked here; they run between the graphs.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import torch

F = TypeVar("F", bound=Callable[..., Any])

_marked: list[list[Callable[..., Any]]] = []


def outside_graphs(function: F) -> F:
    """Marks a function. ``torch.compiler.disable`` does that too, but importing what it needs takes seconds."""
    holder: list[Callable[..., Any]] = [function]
    _marked.append(holder)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return holder[0](*args, **kwargs)

    return cast(F, call)


VARIANTS = 64
"""How often one function may be compiled: once for each size of layer, for training and for validation."""


def prepare_compiling() -> None:
    """To be called before anything is compiled; more calls change nothing."""
    torch._dynamo.config.recompile_limit = VARIANTS
    while _marked:
        holder = _marked.pop()
        holder[0] = torch.compiler.disable(holder[0])
