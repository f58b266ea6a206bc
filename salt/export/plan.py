"""What goes into an exported graph and what comes out of it, by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from salt.errors import ConfigError, unknown
from salt.inputs import JETS, Input
from salt.tasks import Column, Task

FEW_CLASSES = 127
"""So many have an index that fits into eight bits."""


@dataclass(frozen=True)
class GraphInput:
    """One input of the model as the graph has it.

    Args:
        name: Name of its tensor.
        offsets: Name of the tensor that says where the constituents of each jet begin; None where there is none.
        input: Name of the input in the config.
        dataset: Name of its dataset in the training files.
        variables: Names of its variables for the reader of the graph, in order.
        max_count: How many constituents of a jet the training took at most.
        selection: What constituents had to pass in the training.
    """

    name: str
    offsets: str | None
    input: str
    dataset: str
    variables: tuple[str, ...]
    max_count: int | None = None
    selection: tuple[str, ...] = ()


@dataclass(frozen=True)
class GraphOutput:
    """One output of the graph.

    Args:
        name: Its name.
        task: The task that it comes from.
        input: Name of the input that the task is about.
        columns: The columns of the task that it is made of.
        dtype: ``float32``: their sum. ``int8`` or ``int64``: the number of the largest one, or the one as it is.
        classes: What that number means.
        probability: Whether it lies between 0 and 1.
    """

    name: str
    task: str
    input: str
    columns: tuple[str, ...]
    dtype: str
    classes: tuple[str, ...] = ()
    probability: bool = False


@dataclass(frozen=True)
class Wishes:
    """What a user wants to be called or done otherwise.

    Args:
        tasks: Names of the tasks to export; all if empty.
        rename: New names of outputs, of tensors that go in, and of variables (``tracks.d0``).
        combine: For each new output the columns of which it is the sum; they are no outputs any more.
    """

    tasks: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    combine: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class GraphPlan:
    """A graph by its names.

    Args:
        model: Name of the model, with which names of outputs begin.
        batched: Whether a call takes many jets; otherwise one.
        inputs: What goes in, the jets first.
        outputs: What comes out, in the order of the tasks.
    """

    model: str
    batched: bool
    inputs: tuple[GraphInput, ...]
    outputs: tuple[GraphOutput, ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of all tensors that go in: features, then offsets."""
        features = tuple(each.name for each in self.inputs)
        return features + tuple(each.offsets for each in self.inputs if each.offsets)


def make_plan(
    model: str, batched: bool, inputs: Mapping[str, Input], tasks: Mapping[str, Task], wishes: Wishes
) -> GraphPlan:
    """Names everything.

    Args:
        model: Name of the model.
        batched: Whether a call takes many jets.
        inputs: The inputs of the model.
        tasks: All of its tasks.
        wishes: What is to be otherwise.

    Raises:
        ConfigError: A wish names what does not exist, two things would have one name, or nothing comes out.
    """
    for name in wishes.tasks:
        if name not in tasks:
            raise ConfigError(unknown("task", name, tasks, "in --tasks"))
    chosen = {name: task for name, task in tasks.items() if not wishes.tasks or name in wishes.tasks}
    outputs = [output for name, task in chosen.items() for output in _outputs(name, task, model)]
    if not outputs:
        raise ConfigError(f"there is nothing to export: {', '.join(chosen)} predicts no columns")
    for name, parts in wishes.combine.items():
        outputs = _combined(outputs, name, parts, model)
    names = _Renaming(wishes.rename)
    plan = GraphPlan(
        model,
        batched,
        tuple(_input(name, inputs[name], batched, names) for name in [JETS, *(n for n in inputs if n != JETS)]),
        tuple(replace(each, name=names(each.name, _short(each.name, model))) for each in outputs),
    )
    names.check()
    everything = [*plan.tensors, *(each.name for each in plan.outputs)]
    if repeated := sorted({name for name in everything if everything.count(name) > 1}):
        raise ConfigError(
            f"two tensors of the graph would be called {', '.join(repeated)}; leave a task out by --tasks, "
            "or give one another name by --rename"
        )
    return plan


def _outputs(name: str, task: Task, model: str) -> list[GraphOutput]:
    """Those of one task: each column, but of classes of constituents only the number of the likeliest one."""
    columns = task.columns()
    classes = next((t.classes for t in task.targets if t.learnt and t.kind == "class"), ())
    if task.input != JETS and classes and len(columns) == len(classes):
        words = "".join(word[:1].upper() + word[1:] for word in name.split("_"))
        dtype = "int8" if len(classes) <= FEW_CLASSES else "int64"
        return [GraphOutput(f"{model}_{words}", name, task.input, tuple(c.name for c in columns), dtype, classes)]
    return [
        GraphOutput(f"{model}_{c.name}", name, task.input, (c.name,), _dtype(c), probability=bool(classes))
        for c in columns
    ]


def _dtype(column: Column) -> str:
    return "float32" if column.dtype.startswith("f") else "int64"


def _short(name: str, model: str) -> str:
    return name.removeprefix(f"{model}_")


def _combined(outputs: Sequence[GraphOutput], name: str, parts: Sequence[str], model: str) -> list[GraphOutput]:
    """The outputs with a sum in the place of the first of its parts."""
    known = {_short(each.name, model): each for each in outputs}
    found = []
    for part in parts:
        if _short(part, model) not in known:
            raise ConfigError(unknown("output", part, known, "in --combine"))
        found.append(known[_short(part, model)])
    if len({each.name for each in found}) < max(2, len(parts)):
        raise ConfigError(f"--combine {name}={'+'.join(parts)}: name two or more different outputs")
    if len({each.task for each in found}) > 1 or any(each.dtype != "float32" for each in found):
        raise ConfigError(f"--combine {name}={'+'.join(parts)}: only numbers of one task can be summed up")
    columns = tuple(column for each in found for column in each.columns)
    combined = replace(found[0], name=f"{model}_{_short(name, model)}", columns=columns)
    return [combined if each is found[0] else each for each in outputs if each is found[0] or each not in found]


class _Renaming:
    """New names, and what there was to be renamed."""

    def __init__(self, wanted: Mapping[str, str]) -> None:
        self.wanted = wanted
        self.known: dict[str, str] = {}

    def __call__(self, name: str, short: str | None = None) -> str:
        """The new name of a tensor or variable, which may also be named by a short form."""
        self.known |= {name: name, short or name: name}
        return self.wanted.get(name, self.wanted.get(short or name, name))

    def check(self) -> None:
        """ConfigError where something is renamed that is not there, or twice."""
        for old, new in self.wanted.items():
            if old not in self.known:
                raise ConfigError(unknown("name", old, self.known, "in --rename"))
            if not new:
                raise ConfigError(f"--rename {old}= has no new name")
        if len({self.known[old] for old in self.wanted}) < len(self.wanted):
            raise ConfigError("--rename gives one tensor two names")


def _input(name: str, spec: Input, batched: bool, names: _Renaming) -> GraphInput:
    stem = {JETS: "jet", "tracks": "track"}.get(name, name)
    return GraphInput(
        name=names(f"{stem}_features"),
        offsets=names(f"{stem}_offsets") if batched and name != JETS else None,
        input=name,
        dataset=spec.dataset_of(name),
        variables=tuple(names(f"{name}.{v}").removeprefix(f"{name}.") for v in spec.variables),
        max_count=spec.max_count,
        selection=tuple(spec.selection or ()),
    )
