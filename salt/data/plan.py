"""What is read of one input in one file, checked against the file before the first row is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from salt.data.classes import Lookup, make_lookup
from salt.data.reader import VALID, Layout, Reader
from salt.data.selection import Condition, parse
from salt.errors import DataError, unknown
from salt.inputs import JETS, Input, Target


@dataclass(frozen=True)
class LabelPlan:
    """One target and, if it is a class, the meaning of its codes in this file."""

    target: Target
    lookup: Lookup | None


@dataclass(frozen=True)
class InputPlan:
    """How one input is read from one file.

    Args:
        name: Name of the input.
        path: The file, for messages.
        dataset: Name of the dataset.
        variables: The variables, in the order of the model.
        labels: The targets that are read.
        conditions: The selection; None or more.
        max_count: Truncation of constituents.
        fields: All fields that the above need.
        strict: Whether labels must be usable for training.
    """

    name: str
    path: str
    dataset: str
    variables: tuple[str, ...]
    labels: tuple[LabelPlan, ...]
    conditions: tuple[Condition, ...]
    max_count: int | None
    fields: tuple[str, ...]
    strict: bool


def plan_file(
    reader: Reader, inputs: Mapping[str, Input], targets: Sequence[Target], strict: bool
) -> dict[str, InputPlan]:
    """Plans all inputs of one file.

    Args:
        reader: The file.
        inputs: The inputs of the config.
        targets: The targets to read, all of which the file must have.
        strict: Whether labels must be usable for training; otherwise they are only scored.

    Raises:
        DataError: The file lacks a dataset, variable or label, or it is of a type that is not a number.
    """
    layouts = reader.layouts()
    num_rows = _layout(layouts, reader.path, JETS, inputs[JETS]).num_rows
    plans = {}
    for name, spec in inputs.items():
        layout = _layout(layouts, reader.path, name, spec)
        dataset = spec.dataset_of(name)
        if layout.num_rows != num_rows:
            raise DataError(
                f"{reader.path}: '{dataset}' has {layout.num_rows} rows, but the jets have {num_rows}; "
                "the file is damaged or not one of jets"
            )
        conditions = tuple(parse(text, f"data.inputs.{name}.selection") for text in spec.selection or ())
        labels = tuple(t for t in targets if t.input == name)
        for kind, fields in (
            ("variable", spec.variables),
            ("variable", [c.variable for c in conditions]),
            *((t.called, [t.variable]) for t in labels),
        ):
            for field in fields:
                _check_number(layout, field, kind, f"{reader.path}: input '{name}'", dataset)
        for target in labels:
            if target.kind in ("class", "index") and layout.fields[target.variable].kind not in "iub":
                raise DataError(
                    f"{reader.path}: label '{target.variable}' of input '{name}' has type "
                    f"{layout.fields[target.variable]}; it must be an integer"
                )
        fields = [*spec.variables, *(c.variable for c in conditions), *(t.variable for t in labels)]
        plans[name] = InputPlan(
            name=name,
            path=str(reader.path),
            dataset=dataset,
            variables=tuple(spec.variables),
            labels=tuple(LabelPlan(t, _lookup(reader, dataset, t, strict)) for t in labels),
            conditions=conditions,
            max_count=spec.max_count,
            fields=tuple(dict.fromkeys(fields if layout.width is None else [*fields, VALID])),
            strict=strict,
        )
    return plans


def _lookup(reader: Reader, dataset: str, target: Target, strict: bool) -> Lookup | None:
    if target.kind != "class":
        return None
    return make_lookup(target, reader.class_names(dataset, target.variable), str(reader.path), strict)


def _layout(layouts: Mapping[str, Layout], path: object, name: str, spec: Input) -> Layout:
    dataset = spec.dataset_of(name)
    if dataset not in layouts:
        raise DataError(f"{path}: input '{name}': " + unknown("dataset", dataset, layouts))
    layout = layouts[dataset]
    if name == JETS and layout.width is not None:
        raise DataError(f"{path}: input '{JETS}': dataset '{dataset}' has constituents; it must have one entry a jet")
    if name != JETS and layout.width is None:
        raise DataError(f"{path}: input '{name}': dataset '{dataset}' has one entry a jet and no constituents")
    if name != JETS and VALID not in layout.fields:
        raise DataError(
            f"{path}: input '{name}': dataset '{dataset}' has no field '{VALID}', so real constituents cannot be told "
            "from padding\nwrite the file with such a flag"
        )
    return layout


def _check_number(layout: Layout, field: str, kind: str, where: str, dataset: str) -> None:
    if field not in layout.fields:
        raise DataError(f"{where}: " + unknown(kind, field, layout.fields, f"in dataset '{dataset}'"))
    dtype = layout.fields[field]
    if dtype.kind not in "fiub" or dtype.shape != ():
        what = "text" if dtype.kind in "SUO" else f"type {dtype}"
        raise DataError(f"{where}: {kind} '{field}' of dataset '{dataset}' holds {what}; it must be a number")
