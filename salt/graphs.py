"""What `torch.compile` shall leave alone.

Work on the host, and loops over a varying number of rectangles, would be fixed in a compiled graph, and compiled again
for every batch. Functions that do such work are marked here; they run between the graphs. A graph that leaves PyTorch
has nothing between its parts: for it, `replaced` has them computed in another way.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

import torch

F = TypeVar("F", bound=Callable[..., Any])

_marked: list[list[Callable[..., Any]]] = []
_holders: dict[Callable[..., Any], list[Callable[..., Any]]] = {}


def replaceable(function: F) -> F:
    """Marks a function that is compiled like any other, but can be `replaced`."""
    holder: list[Callable[..., Any]] = [function]

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return holder[0](*args, **kwargs)

    _holders[call] = holder
    return cast(F, call)


def outside_graphs(function: F) -> F:
    """Marks a function. ``torch.compiler.disable`` does that too, but importing what it needs takes seconds."""
    call = replaceable(function)
    _marked.append(_holders[call])
    return call


@contextmanager
def replaced(functions: Mapping[Callable[..., Any], Callable[..., Any]]) -> Iterator[None]:
    """Has marked functions computed by others, in all threads, until the block ends."""
    before = {marked: _holders[marked][0] for marked in functions}
    for marked, other in functions.items():
        _holders[marked][0] = other
    try:
        yield
    finally:
        for marked, function in before.items():
            _holders[marked][0] = function


VARIANTS = 64
"""How often one function may be compiled: once for each size of layer, for training and for validation."""


def prepare_compiling() -> None:
    """To be called before anything is compiled; more calls change nothing."""
    torch._dynamo.config.recompile_limit = VARIANTS
    while _marked:
        holder = _marked.pop()
        holder[0] = torch.compiler.disable(holder[0])
