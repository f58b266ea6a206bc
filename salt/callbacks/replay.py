"""Computes a batch again, to find out where its values stop being finite."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from salt.batch import JetBatch
from salt.inputs import JETS
from salt.nn.normalise import Normalise
from salt.training import Tagger

MOST_JETS = 4
"""So many jets are named."""

Context = Callable[[], AbstractContextManager[Any]]
Test = Callable[[JetBatch], tuple[str, ...]]
"""From some jets to the names of the tasks that they spoil."""


@dataclass(frozen=True)
class Trouble:
    """Where values stop being finite.

    Args:
        what: Whether losses are not finite, or only their gradients.
        tasks: The tasks that this is about.
        rows: The rows of the first jets each of which is enough for it; none if it takes several.
        more: Whether there are further jets.
        every: Whether it is all jets, as far as was looked.
        module: Name of the first module that makes a value, or a gradient, that is not finite; empty for none, when
            it is the loss itself.
        kind: The class of that module.
        weights: Name of a parameter that is not finite; empty if all are.
        variables: The variables that are not finite once they are normalised, as ``input.variable``.
    """

    what: Literal["loss", "gradient"]
    tasks: tuple[str, ...]
    rows: tuple[int, ...]
    more: bool
    every: bool
    module: str
    kind: str
    weights: str
    variables: tuple[str, ...]


def find_trouble(tagger: Tagger, parts: Sequence[JetBatch], context: Context, gradients: bool) -> Trouble | None:
    """Computes a batch again, until values that are not finite appear.

    The weights must be those with which it was computed. They, and their gradients, stay as they are.

    Args:
        tagger: The model with its tasks.
        parts: The batch in parts that fit into memory, on the device.
        context: Puts computations into the precision of the training.
        gradients: Whether gradients are looked at too.

    Returns:
        What was found in the first part that has any trouble; None if all is finite.
    """
    tests: dict[Literal["loss", "gradient"], Test] = {"loss": lambda jets: _spoilt_losses(tagger, jets, context)}
    if gradients:
        tests["gradient"] = lambda jets: _spoilt_gradients(tagger, jets, context)
    with _eager(tagger):
        for what, test in tests.items():
            for part in parts:
                if tasks := test(part):
                    return _described(tagger, what, tasks, part, test, context)
    return None


def first_not_finite(named: Iterator[tuple[str, Tensor]]) -> str:
    """The name of the first tensor with a value that is not finite; empty if there is none."""
    return next((name for name, tensor in named if not _finite(tensor.detach())), "")


def _described(
    tagger: Tagger,
    what: Literal["loss", "gradient"],
    tasks: tuple[str, ...],
    part: JetBatch,
    test: Test,
    context: Context,
) -> Trouble:
    jets, more = _culprits(part, test)
    rows = tuple(int(jet.rows[0]) for jet in jets)
    smallest = jets[0] if jets else part
    find = _first_module if what == "loss" else _first_backwards
    name, module = find(tagger, smallest, context, tasks)
    variables: tuple[str, ...] = ()
    if isinstance(module, Normalise):
        values = {JETS: smallest.jets, **{k: x.values for k, x in smallest.constituents.items()}}[module.name]
        spoilt = ~module(values).isfinite().all(0)
        variables = tuple(f"{module.name}.{v}" for v, bad in zip(module.variables, spoilt.tolist(), strict=True) if bad)
    return Trouble(
        what=what,
        tasks=tasks,
        rows=rows,
        more=more,
        every=more and rows == tuple(part.rows[:MOST_JETS].tolist()),
        module=name,
        kind="" if module is None else type(module).__name__,
        weights=first_not_finite(tagger.named_parameters()).removeprefix("model."),
        variables=variables,
    )


def _culprits(batch: JetBatch, test: Test) -> tuple[list[JetBatch], bool]:
    """The first jets that are enough for the trouble, each alone, and whether there are more."""
    found: list[JetBatch] = []
    waiting = [batch]
    while waiting and len(found) < MOST_JETS:
        piece = waiting.pop(0)
        if len(piece) == 1:
            found.append(piece)
        else:
            waiting[:0] = [half for half in piece.parts(2) if test(half)]
    return found, bool(waiting)


def _losses(tagger: Tagger, jets: JetBatch, context: Context) -> dict[str, Tensor]:
    """The mean loss of each task of which the jets have the targets."""
    with context():
        raw = tagger.model(jets)
        found = {
            name: task.loss(raw[name], jets)
            for name, task in tagger.tasks.items()
            if all(target in jets.labels for target in task.targets)
        }
    return {name: loss.sum / loss.count.clamp(min=1) for name, loss in found.items()}


def _spoilt_losses(tagger: Tagger, jets: JetBatch, context: Context) -> tuple[str, ...]:
    with torch.no_grad():
        return tuple(name for name, loss in _losses(tagger, jets, context).items() if not _finite(loss))


def _spoilt_gradients(tagger: Tagger, jets: JetBatch, context: Context) -> tuple[str, ...]:
    parameters = [p for p in tagger.model.parameters() if p.requires_grad]
    with torch.enable_grad():
        losses = _losses(tagger, jets, context)
        spoilt = []
        for name, loss in losses.items():
            gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            if not _finite(loss) or not all(_finite(g) for g in gradients if g is not None):
                spoilt.append(name)
    return tuple(spoilt)


def _first_module(
    tagger: Tagger, jets: JetBatch, context: Context, tasks: tuple[str, ...]
) -> tuple[str, nn.Module | None]:
    """The first module whose output is not finite; inner modules end before those that hold them."""
    found: list[tuple[str, nn.Module]] = []

    def watch(name: str, module: nn.Module) -> Any:
        def look(module: nn.Module, arguments: Any, output: Any) -> None:
            if not found and not all(_finite(t) for t in _tensors(output)):
                found.append((name, module))

        return module.register_forward_hook(look)

    with _hooked(tagger.model, watch), torch.no_grad():
        _losses(tagger, jets, context)
    return found[0] if found else ("", None)


def _first_backwards(
    tagger: Tagger, jets: JetBatch, context: Context, tasks: tuple[str, ...]
) -> tuple[str, nn.Module | None]:
    """On the way back the first module that gets finite gradients and hands on, or keeps, others."""
    order: list[str] = []
    spoilt_outputs: set[str] = set()
    spoilt_inputs: set[str] = set()

    def note(name: str, into: set[str]) -> Callable[[Tensor], None]:
        return lambda gradient: None if _finite(gradient) else into.add(name)

    def watch(name: str, module: nn.Module) -> Any:
        def before(module: nn.Module, arguments: Any, named: Any) -> tuple[Any, Any]:
            # Views of its own, since what else uses the same tensor adds to its gradient.
            def own(tensor: Tensor) -> Tensor:
                view = tensor.view_as(tensor)
                view.register_hook(note(name, spoilt_inputs))
                return view

            return _mapped(arguments, own), _mapped(named, own)

        def after(module: nn.Module, arguments: Any, output: Any) -> None:
            order.append(name)
            for tensor in _tensors(output):
                if tensor.requires_grad:
                    tensor.register_hook(note(name, spoilt_outputs))

        handles = [
            module.register_forward_pre_hook(before, with_kwargs=True),
            module.register_forward_hook(after),
        ]
        return _Both(handles)

    modules = dict(tagger.model.named_modules())
    parameters = [p for p in tagger.model.parameters() if p.requires_grad]
    with _hooked(tagger.model, watch), torch.enable_grad():
        losses = _losses(tagger, jets, context)
        found = torch.autograd.grad(sum(losses[task] for task in tasks), parameters, allow_unused=True)  # type: ignore[arg-type]
    kept = {id(p) for p, g in zip(parameters, found, strict=True) if g is not None and not _finite(g)}
    own = {name: {id(p) for p in module.parameters(recurse=False)} for name, module in modules.items()}
    spoiling = [n for n in reversed(order) if n not in spoilt_outputs and (n in spoilt_inputs or own[n] & kept)]
    spoiling = spoiling or [name for name, ids in own.items() if ids & kept]  # Its parent uses its weights alone.
    if not spoiling:
        return "", None
    first = spoiling[0]
    while inner := next((name for name in spoiling if name.startswith(f"{first}.")), ""):
        first = inner
    return first, modules[first]


class _Both:
    """Several hooks that are removed together."""

    def __init__(self, handles: Sequence[Any]) -> None:
        self._handles = handles

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()


@contextmanager
def _hooked(model: nn.Module, watch: Callable[[str, nn.Module], Any]) -> Iterator[None]:
    """Has all modules within a model watched, but not the model itself."""
    handles = [watch(name, module) for name, module in model.named_modules() if name]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _eager(tagger: Tagger) -> AbstractContextManager[Any]:
    """Without compiled code, which runs no hooks."""
    if not tagger.compiled:
        return nullcontext()
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(tensor.isfinite().all())


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in what a module takes or returns."""
    if isinstance(value, Tensor):
        yield value
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for each in value:
            yield from _tensors(each)


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same with other tensors where they have a gradient."""
    if isinstance(value, Tensor):
        return change(value) if value.requires_grad else value
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _mapped(getattr(value, f.name), change) for f in fields(value)})
    if isinstance(value, dict):
        return {key: _mapped(each, change) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_mapped(each, change) for each in value)
    return value
