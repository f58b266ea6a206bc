"""Umami files: one group for each object, its variables normalised and stacked in one array."""

from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np

from salt.data.hdf5 import FileHandle, plain_errors, text_list
from salt.data.reader import Array, Layout, Scales
from salt.data.remote import Place
from salt.data.structured import DEFAULT_CHUNK
from salt.errors import DataError

JET_LABEL_NAMES = ("flavour_label", "labels")
"""The names under which the one unnamed label of jets is found."""


def is_umami(file: Any) -> bool:
    """Whether an open file has a group with inputs at its top."""
    return any(_is_object(item) for item in file.values())


def _is_object(item: object) -> bool:
    return isinstance(item, h5py.Group) and isinstance(item.get("inputs"), h5py.Dataset)


class UmamiReader:
    """Reads a file with the groups ``<object>/inputs``, ``<object>/labels`` and ``<object>/valid``.

    The names of the variables are the attribute of ``inputs`` that has one name for each column. Labels are the
    datasets of a group ``labels``, or one dataset ``labels`` of codes (N,) or one-hot rows (N, C), which then is
    called ``flavour_label``; names of classes are an attribute of the label's dataset.

    Args:
        path: The file.
        scales: Values are normalised by these, which is undone: x * std + mean. A variable without is left alone.
    """

    format = "umami"

    def __init__(self, path: Place, scales: Scales) -> None:
        self.path = path
        self._scales = scales
        self._handle = FileHandle(path)
        self._layouts: Mapping[str, Layout] | None = None

    def layouts(self) -> Mapping[str, Layout]:
        """The groups with inputs at the top of the file."""
        if self._layouts is None:
            self._layouts = {name: self._layout(name) for name, item in self._handle().items() if _is_object(item)}
        return self._layouts

    def read(self, dataset: str, start: int, stop: int, fields: Sequence[str]) -> Array:
        """Records that are put together from the arrays of the group."""
        layout = self.layouts()[dataset]
        shape = (stop - start,) if layout.width is None else (stop - start, layout.width)
        records = np.empty(shape, dtype=[(field, layout.fields[field]) for field in dict.fromkeys(fields)])
        scales = self._scales.get(dataset, {})
        problem = f"cannot be read at rows {start} to {stop} of '{dataset}'"
        with self._handle.opened() as file, plain_errors(self.path, problem):
            group = file[dataset]
            columns = {name: i for i, name in enumerate(self._variables(group["inputs"]))}
            wanted = set(records.dtype.names or ()) & set(columns)
            inputs = self._rows(group["inputs"], start, stop) if wanted else None
            for field in records.dtype.names or ():
                if field in columns and inputs is not None:
                    values = inputs[..., columns[field]]
                    if field in scales:
                        values = values.astype(np.float64) * scales[field].std + scales[field].mean
                    with np.errstate(over="ignore"):
                        records[field] = values
                else:
                    values = self._rows(_side_fields(group)[field], start, stop)
                    records[field] = _codes(values) if values.ndim == 2 and layout.width is None else values
        return records

    def class_names(self, dataset: str, field: str) -> tuple[str, ...] | None:
        """The first attribute of the label's dataset that is a list of names."""
        label = _side_fields(self._handle()[dataset]).get(field)
        lists = [] if label is None else [text_list(value) for value in label.attrs.values()]
        return next((names for names in lists if names), None)

    def close(self) -> None:
        """Closes the file in this process."""
        self._handle.close()

    def _rows(self, item: Any, start: int, stop: int) -> Array:
        with self._handle.ahead(item, np.arange(start, stop)):
            rows: Array = item[start:stop]
        return rows

    def _variables(self, inputs: Any) -> tuple[str, ...]:
        found = {key: text_list(value) for key, value in inputs.attrs.items()}
        fitting = {key: names for key, names in found.items() if names and len(names) == inputs.shape[-1]}
        for key in sorted(fitting, key=lambda k: "variable" not in k):
            return fitting[key] or ()
        raise DataError(
            f"{self.path}: no attribute of '{inputs.name.lstrip('/')}' names its {inputs.shape[-1]} variables"
        )

    def _layout(self, name: str) -> Layout:
        group = self._handle()[name]
        inputs = group["inputs"]
        width = inputs.shape[1] if inputs.ndim == 3 else None
        scales = self._scales.get(name, {})
        fields: dict[str, np.dtype[Any]] = {
            field: np.dtype(np.float32) if field in scales else inputs.dtype for field in self._variables(inputs)
        }
        for field, side in _side_fields(group).items():
            one_hot = side.ndim == 2 and width is None
            if side.shape[0] == inputs.shape[0] and (one_hot or side.ndim == inputs.ndim - 1):
                fields.setdefault(field, np.dtype(np.int64) if one_hot else side.dtype)
        return Layout(fields, inputs.shape[0], width, inputs.chunks[0] if inputs.chunks else DEFAULT_CHUNK)


def _codes(labels: Array) -> Array:
    """One-hot rows [n, C] to codes, -1 for a row of zeros; a single column [n, 1] holds codes already."""
    if labels.shape[1] == 1:
        return labels[:, 0]
    found: Array = np.where(labels.any(1), labels.argmax(1), -1)
    return found


def _side_fields(group: Any) -> dict[str, Any]:
    """The datasets of a group beside its inputs, by the name of the field."""
    found = {name: group[name] for name in ("valid",) if name in group}
    labels = group.get("labels")
    if isinstance(labels, h5py.Group):
        found.update({name: item for name, item in labels.items() if isinstance(item, h5py.Dataset)})
    elif labels is not None:
        found.update(dict.fromkeys(JET_LABEL_NAMES, labels))
    return found
