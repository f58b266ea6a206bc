"""A prediction file while it is written, batch after batch in the order of the test file."""

import fcntl
import logging
import os
from collections import deque
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
from salt.files import hidden_name, last_acts
from salt.inputs import JETS, unambiguous
from salt.sink import Sink
from salt.tasks import Column, Task

log = logging.getLogger(__name__)

VALID = "valid"

MADE_FROM = "made_from"
"""The attribute that says from what a file was made; see `salt.cli.samples`."""

PIECE = 8_000
"""Rows that are written at once: whole chunks of all datasets."""

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

    def between(self, start: int, stop: int) -> "Scores":
        """Those of the rows from `start` up to, but without, `stop`."""
        first, last = np.searchsorted(self.rows, (start, stop))
        spans = {name: np.searchsorted(jets, (first, last)) for name, (jets, _) in self.members.items()}
        spans[JETS] = np.array((first, last))
        return Scores(
            self.rows[first:last],
            {n: (jets[slice(*spans[n])] - first, slots[slice(*spans[n])]) for n, (jets, slots) in self.members.items()},
            {n: [(c, values[slice(*spans[n])]) for c, values in found] for n, found in self.columns.items()},
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
        half: Whether scores that are float32 are written as float16.
        made_from: What the file says of how it was made.

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
        half: bool = False,
        made_from: str = "",
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
        self.half = half
        self.made_from = made_from
        self.next_row = 0
        self._scored = 0
        self._waiting: deque[Scores] = deque()
        self._spoilt = 0
        self._first_spoilt: int | None = None
        _remove_leftovers(path)
        try:
            self.sink = Sink(self.hidden)
        except OSError as error:
            raise self._trouble(error) from None
        self.file = h5py.File(self.sink, "w")
        last_acts.append(self._unlink)

    def write(self, scores: Scores) -> None:
        """Adds the scores of a batch. Rows before the last one that were not scored are filled."""
        if not len(scores.rows):
            return
        if (np.diff(scores.rows) <= 0).any() or scores.rows[0] < self._scored:
            raise AssertionError("test batches must follow the order of the file")
        spoilt = scores.spoilt()
        if len(spoilt) and self._first_spoilt is None:
            self._first_spoilt = int(spoilt[0])
        self._spoilt += len(spoilt)
        self._waiting.append(scores)
        self._scored = int(scores.rows[-1]) + 1
        while self._scored - self.next_row >= PIECE:
            self._write_rows(self.next_row + PIECE)

    def _write_rows(self, stop: int) -> None:
        """Writes the next rows, of which all that were scored are waiting."""
        start = self.next_row
        ready = []
        while self._waiting and self._waiting[0].rows[0] < stop:
            scores = self._waiting.popleft()
            ready.append(scores.between(start, stop))
            if scores.rows[-1] >= stop:
                self._waiting.appendleft(scores.between(stop, int(scores.rows[-1]) + 1))
                break
        for name in self.wanted:
            self._append(self.outputs[name], self._records(name, start, stop, ready), name)
        self.next_row = stop
        self.file.flush()
        try:
            self.sink.check()
        except OSError as error:
            raise self._trouble(error) from None

    def _records(self, name: str, start: int, stop: int, ready: Sequence[Scores]) -> Array:
        """What is written of one input for some rows: [stop - start] for jets, with all places for constituents."""
        dataset, variables = self.datasets[name], list(self.wanted[name])
        copied = self.files.read(dataset, np.arange(start, stop), variables)
        columns = self.columns.get(name, ())
        fields = [(v, copied.dtype[v]) for v in variables]
        fields += [(c.in_file(self.model), self._type(c)) for c in columns]
        if name != JETS:
            fields.append((VALID, np.dtype(bool)))
        shape = (stop - start,) if name == JETS else (stop - start, self.files.width(dataset))
        records = np.zeros(shape, dtype=fields)
        for variable in variables:
            records[variable] = copied[variable]
        for column in columns:
            out = records[column.in_file(self.model)]
            out[...] = np.nan if out.dtype.kind == "f" else -1
        for scores in ready:
            place = scores.rows - start
            index: tuple[Array, ...] = (place,)
            if name != JETS:
                jets, slots = scores.members[name]
                index = (place[jets], slots)
                records[VALID][index] = True
            for column, values in scores.columns.get(name, ()):
                out = records[column.in_file(self.model)]
                out[index] = self._narrow(column, values) if self.half else values
        return records

    def _type(self, column: Column) -> np.dtype[Any]:
        return np.dtype("f2" if self.half and column.dtype == "f4" else column.dtype)

    def _narrow(self, column: Column, values: Array) -> Array:
        with np.errstate(over="ignore"):
            found: Array = values.astype(self._type(column))
        if (np.isinf(found) & np.isfinite(values)).any():
            raise DataError(
                f"'{column.in_file(self.model)}' has values beyond 65504, which half precision cannot hold; "
                "leave half out of the PredictionWriter"
            )
        return found

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
        last = sum(self.files.sizes) if self.files.rows is not None and not self.limited else self._scored
        try:
            while self.next_row < last:
                self._write_rows(min(self.next_row + PIECE, last))
        except DataError:
            self.discard()
            raise
        try:
            self.file.attrs["model"] = self.model
            if self.made_from:
                self.file.attrs[MADE_FROM] = self.made_from
            self.file.attrs["test_files"] = [str(path.resolve()) for path in self.files.paths]
            self.file.close()
            self.sink.close()
            self.hidden.replace(self.path)
        except OSError as error:
            raise self._trouble(error) from None
        finally:
            self._unlink()
        if self._first_spoilt is not None:
            file, row = self.files.locate(self._first_spoilt)
            jets = "1 jet has" if self._spoilt == 1 else f"{self._spoilt} jets have"
            log.warning("%s scores that are not finite, the first in row %d of %s", jets, row, self.files.paths[file])
        return self.path

    def _trouble(self, error: OSError) -> DataError:
        return DataError(f"cannot write {self.path}: {error.strerror or error}")

    def discard(self) -> None:
        """Removes what was written."""
        self.file.close()
        with suppress(OSError):
            self.sink.close()
        self._unlink()

    def _unlink(self) -> None:
        """Removes the file under its hidden name, if it still has that."""
        if self._unlink in last_acts:
            last_acts.remove(self._unlink)
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
