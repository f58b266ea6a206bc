"""Files of the normalisation and of class weights."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from salt.data.paths import one_file
from salt.data.places import read_text
from salt.data.remote import Place
from salt.errors import DataError, unknown
from salt.inputs import Input, Target
from salt.statistics import Scale

Norms: TypeAlias = Mapping[str, Mapping[str, object]]
"""For each dataset and variable what the file says of it."""

KEYS = (("mean", "std"), ("shift", "scale"))


def load_norms(path: Place) -> dict[str, dict[str, object]]:
    """Reads a normalisation: YAML or JSON with mean and std, or shift and scale, for each dataset and variable.

    Entries are looked at when they are used, since tools also write those of flags that are the same for all.

    Raises:
        DataError: The file cannot be read or is no such table.
    """
    return {name: {str(v): x for v, x in table.items()} for name, table in _load(path, "data.norm_dict").items()}


def input_scales(norms: Norms, inputs: Mapping[str, Input], path: Place) -> dict[str, dict[str, Scale]]:
    """The scales of the variables of each input, which the file has under its name or that of its dataset.

    Raises:
        DataError: An input or variable is missing, or its numbers are none, not finite, or no positive deviation.
    """
    found = {}
    for name, spec in inputs.items():
        table = _table(norms, name, spec)
        if table is None:
            raise DataError(f"{path}: " + unknown("input", spec.dataset_of(name), norms))
        for variable in spec.variables:
            if variable not in table:
                raise DataError(f"{path}: " + unknown("variable", variable, table, f"of input '{name}'"))
        found[name] = {v: _scale(path, name, v, table[v]) for v in spec.variables}
    return found


def dataset_scales(norms: Norms, inputs: Mapping[str, Input], path: Place) -> dict[str, dict[str, Scale]]:
    """The scales of all variables of each dataset, by which a format that stores normalised values undoes that.

    Raises:
        DataError: A number is none, not finite, or no positive deviation.
    """
    found: dict[str, dict[str, Scale]] = {}
    for name, spec in inputs.items():
        table = _table(norms, name, spec) or {}
        found.setdefault(spec.dataset_of(name), {}).update({v: _scale(path, name, v, x) for v, x in table.items()})
    return found


def dump_norms(scales: Mapping[str, Mapping[str, Scale]], path: Path) -> None:
    """Writes a normalisation as YAML with mean and std for each input and variable."""
    tables = {
        name: {variable: {"mean": float(scale.mean), "std": float(scale.std)} for variable, scale in table.items()}
        for name, table in scales.items()
    }
    path.write_text(yaml.safe_dump(tables, sort_keys=False), encoding="utf-8")


def dump_class_weights(weights: Mapping[str, Mapping[str, Sequence[float]]], path: Path) -> None:
    """Writes class weights as YAML: for each dataset and label a list, in the order of the codes."""
    tables = {name: {label: list(values) for label, values in table.items()} for name, table in weights.items()}
    path.write_text(yaml.safe_dump(tables, sort_keys=False), encoding="utf-8")


def load_class_weights(
    option: str | None, inputs: Mapping[str, Input], codes: Mapping[Target, Sequence[tuple[int, str]]]
) -> dict[Target, tuple[float, ...]]:
    """Reads the weights of the classes of some targets, as far as the file has them: ``{dataset: {label: [weights]}}``.

    The weights follow the codes of the training files upwards, either of all their classes or of those of the task.

    Args:
        option: The file; None for no weights.
        inputs: The inputs of the config.
        codes: For each of the targets the codes of the training files and what they mean, ascending.

    Returns:
        Weights in the order of the task's classes.

    Raises:
        DataError: The file cannot be read, or weights are of another number than the classes, or none.
    """
    if option is None:
        return {}
    path = one_file(option, "data.class_dict")
    tables = _load(path, "data.class_dict")
    found = {}
    for target, meaning in codes.items():
        table = tables.get(target.input) or tables.get(inputs[target.input].dataset_of(target.input)) or {}
        if target.variable not in table:
            continue
        where = f"{path}: label '{target.variable}' of input '{target.input}'"
        values = table[target.variable] if isinstance(table[target.variable], list) else []
        everything = list(dict.fromkeys(name for _, name in meaning))
        used = [name for name in everything if name in target.classes]
        names = used if len(values) == len(used) else everything
        if len(values) != len(names):
            raise DataError(
                f"{where} must have a list of {len(used)} weights, for {', '.join(used)} in this order; "
                f"it has {len(values)} weights"
            )
        weights = dict(zip(names, (_number(where, "a weight", value) for value in values), strict=True))
        if min(weights.values()) < 0 or max(weights[name] for name in target.classes) == 0:
            raise DataError(f"{where}: weights must not be negative, nor all 0")
        found[target] = tuple(weights[name] for name in target.classes)
    return found


def _table(norms: Norms, name: str, spec: Input) -> Mapping[str, object] | None:
    return norms.get(name) or norms.get(spec.dataset_of(name))


def _load(path: Place, key: str) -> dict[str, dict[Any, Any]]:
    try:
        text = read_text(path)
        tables = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except FileNotFoundError as error:
        folder = Path(str(path)).parent
        names = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
        raise DataError(f"{key}: " + unknown("file", path.name, names, f"in folder {folder}")) from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{key}: {path} cannot be read: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(tables, dict) or not all(isinstance(t, dict) for t in tables.values()):
        raise DataError(f"{key}: {path} must hold a table for each dataset")
    return {str(name): table for name, table in tables.items()}


def _scale(path: Place, name: str, variable: object, entry: object) -> Scale:
    where = f"{path}: variable '{variable}' of '{name}'"
    for mean_key, std_key in KEYS:
        if isinstance(entry, dict) and mean_key in entry and std_key in entry:
            mean = _number(where, mean_key, entry[mean_key])
            std = _number(where, std_key, entry[std_key])
            if std <= 0:
                raise DataError(f"{where} has {std_key} {std:g}; it must be above 0 (a constant cannot be normalised)")
            return Scale(mean, std)
    raise DataError(f"{where} must have mean and std, or shift and scale")


def _number(where: str, what: str, value: object) -> float:
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{where}: {what} is {value!r}; it must be a finite number")
    return number
