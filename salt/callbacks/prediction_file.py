"""A prediction file while it is written, batch after batch in the order of the test file."""

import fcntl
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from salt.batch import JetBatch
from salt.errors import DataError
from salt.files import hidden_name
from salt.inputs import JETS, unambiguous
from salt.sink import Sink
from salt.tasks import Column, Task

log = logging.getLogger(__name__)

VALID = "valid"

Array = NDArray[Any]


@dataclass(frozen=True)
class Scores:
    """What the tasks say of some jets, on the host and apart from any model, so that it can be sent.

    Args:
        rows: [B], ascending, the rows of the jets in the test file.
        members: For each constituent input the position of the jet of each constituent among the rows, and its place
            on the padded axis, [T] each.
        columns: For each input its columns and their values, [B] for jets and [T] for constituents.
    """

    rows: Array
    members: Mapping[str, tuple[Array, Array]]
    columns: Mapping[str, Sequence[tuple[Column, Array]]]

    @classmethod
    def of(cls, batch: JetBatch, tasks: Mapping[str, Task], raw: Mapping[str, Any], inputs: Sequence[str]) -> "Scores":
        """The scores of a batch, for the tasks about some inputs."""
        columns: dict[str, list[tuple[Column, Array]]] = {}
        for name, task in tasks.items():
            if task.input in inputs:
                values = task.predict(raw[name])
                found = [(c, values[c.name].detach().cpu().numpy()) for c in task.columns()]
                columns.setdefault(task.input, []).extend(found)
        members = {
            name: (batch.constituents[name].jet_T.cpu().numpy(), batch.slots[name].cpu().numpy())
            for name in inputs
            if name != JETS
        }
        return cls(batch.rows.cpu().numpy(), members, columns)

    @classmethod
    def none(cls, columns: Mapping[str, Sequence[Column]], inputs: Sequence[str]) -> "Scores":
        """Those of no jet."""
        nothing = np.empty(0, np.int64)
        return cls(
            nothing,
            {name: (nothing, nothing) for name in inputs if name != JETS},
            {name: [(c, np.empty(0, c.dtype)) for c in found] for name, found in columns.items() if name in inputs},
        )

    def spoilt(self) -> Array:
        """The rows of the jets with a score that is not finite, or whose constituents have one."""
        found = [np.empty(0, self.rows.dtype)]
        for name, columns in self.columns.items():
            for column, values in columns:
                if column.dtype.startswith("f") and (wrong := ~np.isfinite(values)).any():
                    found.append(self.rows[wrong] if name == JETS else self.rows[self.members[name][0][wrong]])
        return np.unique(np.concatenate(found))


class PredictionFile:
    """The file, under a hidden name until it is finished.

    Args:
        path: Its final name.
        files: The source of the test jets.
        inputs: The inputs of the model.
        wanted: For each input to write the variables of the test file that are copied.
        columns: For each input the columns of the tasks.
        model: The prefix of columns.
        limited: Whether only the first jets are scored, so that what comes after them is no part of the file.

    Raises:
        DataError: It cannot be written, here and in all methods.
    """

    def __init__(
        self,
        path: Path,
        files: Any,
        inputs: Mapping[str, Any],
        wanted: Mapping[str, Sequence[str]],
        columns: Mapping[str, Sequence[Column]],
        model: str,
        limited: bool,
    ) -> None:
        self.path = path
        self.files = files
        self.wanted = wanted
        self.model = model
        self.datasets = {name: inputs[name].dataset_of(name) for name in wanted}
        self.outputs = unambiguous(self.datasets)
        self.hidden = hidden_name(path)
        self.columns = columns
        self.limited = limited
        self.next_row = 0
        self._spoilt: list[int] = []
        _remove_leftovers(path)
        try:
            self.sink = Sink(self.hidden)
        except OSError as error:
            raise self._trouble(error) from None
        self.file = h5py.File(self.sink, "w")

    def write(self, scores: Scores) -> None:
        """Appends all rows up to the last one that was scored; rows between that were not are filled."""
        if not len(scores.rows):
            return
        if (np.diff(scores.rows) <= 0).any() or scores.rows[0] < self.next_row:
            raise AssertionError("test batches must follow the order of the file")
        self._extend(int(scores.rows[-1]) + 1, scores)
        self._spoilt.extend(scores.spoilt().tolist())
        self.file.flush()
        try:
            self.sink.check()
        except OSError as error:
            raise self._trouble(error) from None

    def _extend(self, stop: int, scores: Scores) -> None:
        start = self.next_row
        for name, variables in self.wanted.items():
            dataset = self.datasets[name]
            copied = self.files.read(dataset, np.arange(start, stop), list(variables))
            columns = scores.columns.get(name, [])
            place = scores.rows - start
            shape: tuple[int, ...] = (stop - start,)
            index: tuple[Array, ...] = (place,)
            if name != JETS:
                shape = (stop - start, self.files.width(dataset))
                jets, slots = scores.members[name]
                index = (place[jets], slots)
            fields = [(v, copied.dtype[v]) for v in variables]
            fields += [(c.in_file(self.model), np.dtype(c.dtype)) for c, _ in columns]
            if name != JETS:
                fields.append((VALID, np.dtype(bool)))
            records = np.zeros(shape, dtype=fields)
            for variable in variables:
                records[variable] = copied[variable]
            for column, values in columns:
                out = records[column.in_file(self.model)]
                out[...] = np.nan if out.dtype.kind == "f" else -1
                out[index] = values
            if name != JETS:
                records[VALID][index] = True
            self._append(self.outputs[name], records, name)
        self.next_row = stop

    def _append(self, output: str, records: Array, name: str) -> None:
        if output not in self.file:
            made = self.file.create_dataset(
                output,
                shape=(0, *records.shape[1:]),
                maxshape=(None, *records.shape[1:]),
                dtype=records.dtype,
                chunks=(1000 if name == JETS else 100, *records.shape[1:]),
                compression="lzf",
            )
            for field in records.dtype.names or ():
                names = self.files.readers[0].class_names(self.datasets[name], field)
                if names is not None:
                    made.attrs[field] = list(names)
        target = self.file[output]
        target.resize(self.next_row + len(records), axis=0)
        target[self.next_row :] = records

    def finish(self) -> Path:
        """Fills what a selection left out at the end, closes the file and gives it its name."""
        try:
            total = sum(self.files.sizes)
            if self.files.rows is not None and self.next_row < total and not self.limited:
                self._extend(total, Scores.none(self.columns, list(self.wanted)))
            self.file.attrs["model"] = self.model
            self.file.attrs["test_files"] = [str(path.resolve()) for path in self.files.paths]
            self.file.close()
            self.sink.close()
            self.hidden.replace(self.path)
        except OSError as error:
            raise self._trouble(error) from None
        finally:
            self.hidden.unlink(missing_ok=True)
        if self._spoilt:
            file, row = self.files.locate(self._spoilt[0])
            jets = "1 jet has" if len(self._spoilt) == 1 else f"{len(self._spoilt)} jets have"
            log.warning("%s scores that are not finite, the first in row %d of %s", jets, row, self.files.paths[file])
        return self.path

    def _trouble(self, error: OSError) -> DataError:
        return DataError(f"cannot write {self.path}: {error.strerror or error}")

    def discard(self) -> None:
        """Removes what was written."""
        self.file.close()
        with suppress(OSError):
            self.sink.close()
        self.hidden.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    """Removes what writers of this file left that were killed; those that live hold a lock."""
    for leftover in path.parent.glob(f".{escape(path.name)}.*.part"):
        with suppress(OSError):
            descriptor = os.open(leftover, os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                leftover.unlink()
            finally:
                os.close(descriptor)
