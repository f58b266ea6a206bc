"""Structured files: one compound dataset for each object."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np

from salt.data.chunks import ChunkTable
from salt.data.entries import Entries, pick_padded
from salt.data.filters import UndecodableError
from salt.data.hdf5 import FileHandle, plain_errors, record_type, text_list
from salt.data.reader import Array, Layout, Scales
from salt.data.remote import Place

log = logging.getLogger(__name__)

DEFAULT_CHUNK = 100


def is_structured(file: Any) -> bool:
    """Whether an open file has a compound dataset at its top."""
    return any(_is_table(item) for item in file.values())


def _is_table(item: object) -> bool:
    if not isinstance(item, h5py.Dataset) or not isinstance(item.id.get_type(), h5py.h5t.TypeCompoundID):
        return False
    return record_type(item).names is not None and item.ndim in (1, 2)


class StructuredReader:
    """Reads a file with compound datasets: (N,) for jets, (N, M) with a field ``valid`` for constituents.

    The names of a label's classes are the dataset's attribute of the same name.

    Args:
        path: The file.
        scales: Not needed: the values are physical.
    """

    format = "structured"

    def __init__(self, path: Place, scales: Scales) -> None:
        self.path = path
        self._handle = FileHandle(path)
        self._layouts: Mapping[str, Layout] | None = None

    def layouts(self) -> Mapping[str, Layout]:
        """The compound datasets at the top of the file."""
        if self._layouts is None:
            self._layouts = {name: _layout(item) for name, item in self._handle().items() if _is_table(item)}
        return self._layouts

    def read(self, dataset: str, start: int, stop: int, fields: Sequence[str]) -> Array:
        """Whole records, which is faster than taking some of the fields out of them."""
        problem = f"cannot be read at rows {start} to {stop} of '{dataset}'"
        with self._handle.opened() as file, plain_errors(self.path, problem):
            item = file[dataset]
            with self._handle.ahead(item, np.arange(start, stop)):
                records: Array = item[start:stop]
        return records

    def pick(self, dataset: str, rows: Array, fields: Sequence[str]) -> Entries:
        """The real entries of rows, from the bytes of the file where these are of a known kind."""
        with self._handle.opened() as file:
            kept, key = self._handle.kept, (dataset, tuple(fields))
            if key not in kept:
                kept[key] = ChunkTable.of(file[dataset], fields)
            table: ChunkTable | None = kept[key]
            if table is not None:
                try:
                    with self._handle.ahead(file[dataset], rows):
                        return table.pick(rows)
                except UndecodableError:
                    log.debug("%s: HDF5 reads rows %d to %d of '%s'", self.path, rows[0], rows[-1], dataset)
            return pick_padded(self, dataset, rows, fields)

    def class_names(self, dataset: str, field: str) -> tuple[str, ...] | None:
        """The attribute of the dataset that is called like the label."""
        return text_list(self._handle()[dataset].attrs.get(field))

    def close(self) -> None:
        """Closes the file in this process."""
        self._handle.close()


def _layout(item: Any) -> Layout:
    dtype = record_type(item)
    return Layout(
        fields={name: dtype[name] for name in dtype.names or ()},
        num_rows=item.shape[0],
        width=item.shape[1] if item.ndim == 2 else None,
        chunk=item.chunks[0] if item.chunks else DEFAULT_CHUNK,
    )
