"""Files of the normalisation and of class weights."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from salt.data.reader import Scales
from salt.errors import DataError, unknown
from salt.inputs import Input, Target
from salt.statistics import Scale

KEYS = (("mean", "std"), ("shift", "scale"))


def load_norms(path: Path) -> Scales:
    """Reads a normalisation: YAML or JSON with mean and std, or shift and scale, for each dataset and variable.

    Raises:
        DataError: The file cannot be read, or a number in it is missing, not finite, or no positive deviation.
    """
    tables = _load(path, "data.norm_dict")
    return {name: {str(v): _scale(path, name, v, x) for v, x in table.items()} for name, table in tables.items()}


def input_scales(norms: Scales, inputs: Mapping[str, Input], path: Path) -> dict[str, dict[str, Scale]]:
    """The scales of the variables of each input, which the file has under its name or that of its dataset.

    Raises:
        DataError: An input or variable is missing.
    """
    found = {}
    for name, spec in inputs.items():
        table = _table(norms, name, spec)
        if table is None:
            raise DataError(f"{path}: " + unknown("input", spec.dataset_of(name), norms))
        for variable in spec.variables:
            if variable not in table:
                raise DataError(f"{path}: " + unknown("variable", variable, table, f"of input '{name}'"))
        found[name] = {variable: table[variable] for variable in spec.variables}
    return found


def dataset_scales(norms: Scales, inputs: Mapping[str, Input]) -> dict[str, dict[str, Scale]]:
    """The scales of all variables of each dataset, by which a format that stores normalised values undoes that."""
    found: dict[str, dict[str, Scale]] = {}
    for name, spec in inputs.items():
        found.setdefault(spec.dataset_of(name), {}).update(_table(norms, name, spec) or {})
    return found


def dump_norms(scales: Scales, path: Path) -> None:
    """Writes a normalisation as YAML with mean and std for each input and variable."""
    tables = {
        name: {variable: {"mean": float(scale.mean), "std": float(scale.std)} for variable, scale in table.items()}
        for name, table in scales.items()
    }
    path.write_text(yaml.safe_dump(tables, sort_keys=False), encoding="utf-8")


def load_class_weights(
    path: Path, inputs: Mapping[str, Input], targets: Sequence[Target]
) -> dict[Target, tuple[float, ...]]:
    """Reads the weights of the classes of those targets that the file has: ``{dataset: {label: [weights]}}``.

    Raises:
        DataError: The file cannot be read, or weights are of another number than the classes, or none.
    """
    tables = _load(path, "data.class_dict")
    found = {}
    for target in targets:
        table = tables.get(target.input) or tables.get(inputs[target.input].dataset_of(target.input)) or {}
        if target.kind != "class" or target.variable not in table:
            continue
        where = f"{path}: label '{target.variable}' of input '{target.input}'"
        values = table[target.variable]
        if not isinstance(values, list) or len(values) != len(target.classes):
            count = len(values) if isinstance(values, list) else "no list of"
            raise DataError(
                f"{where} has {count} weights, but there are {len(target.classes)} classes: {', '.join(target.classes)}"
            )
        weights = tuple(_number(where, "a weight", value) for value in values)
        if min(weights) < 0 or max(weights) == 0:
            raise DataError(f"{where}: weights must not be negative, nor all 0")
        found[target] = weights
    return found


def dump_class_weights(weights: Mapping[Target, Sequence[float]], path: Path) -> None:
    """Writes weights as YAML: ``{input: {label: [weights]}}``."""
    tables: dict[str, dict[str, list[float]]] = {}
    for target, values in weights.items():
        tables.setdefault(target.input, {})[target.variable] = [float(v) for v in values]
    path.write_text(yaml.safe_dump(tables, sort_keys=False), encoding="utf-8")


def _table(norms: Scales, name: str, spec: Input) -> Mapping[str, Scale] | None:
    return norms.get(name) or norms.get(spec.dataset_of(name))


def _load(path: Path, key: str) -> dict[str, dict[Any, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        tables = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except FileNotFoundError as error:
        folder = path.parent
        names = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
        raise DataError(f"{key}: " + unknown("file", path.name, names, f"in folder {folder}")) from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{key}: {path} cannot be read: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(tables, dict) or not all(isinstance(t, dict) for t in tables.values()):
        raise DataError(f"{key}: {path} must hold a table for each dataset")
    return {str(name): table for name, table in tables.items()}


def _scale(path: Path, name: str, variable: object, entry: object) -> Scale:
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
