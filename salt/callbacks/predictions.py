"""Scores of a test file, written as plotting tools read them."""

import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from salt.batch import JetBatch
from salt.data.datamodule import JetDataModule
from salt.errors import ConfigError, DataError, unknown
from salt.files import hidden_name
from salt.inputs import JETS, unambiguous
from salt.sink import Sink
from salt.tasks import Column, Task

log = logging.getLogger(__name__)

USUAL_VARIABLES = (
    "pt",
    "eta",
    "mass",
    "eventNumber",
    "jetNumber",
    "flavour_label",
    "HadronConeExclTruthLabelID",
    "HadronConeExclTruthLabelPt",
    "HadronConeExclTruthLabelLxy",
)
VALID = "valid"


class PredictionWriter(Callback):
    """Writes the columns of all tasks beside the checkpoint: one dataset per input, row i for jet i of the test file.

    Where two inputs come from one dataset, theirs are called like the inputs. A ``fast_dev_run`` writes nothing.
    A jet that a selection leaves out, and a constituent beyond `max_count` or that a selection leaves out, has NaN
    in every column of floats and -1 in every column of integers.

    Args:
        variables: Variables of the test file to copy, by the name of the input. Those that are not named: for jets
            the usual ones that the file has (pt, eta, labels, numbers of event and jet) and the labels of the tasks;
            for constituents none.
        constituents: Whether to write the columns of constituents.
        suffix: Added to the name of the file.
    """

    def __init__(
        self, variables: dict[str, list[str]] | None = None, constituents: bool = True, suffix: str = ""
    ) -> None:
        self.variables = variables or {}
        self.constituents = constituents
        self.suffix = suffix
        self._model = "salt"
        self._ckpt_path: Path | None = None
        self._overwrite = False
        self._output: _Output | None = None

    def prepare(self, model: str, ckpt_path: Path, overwrite: bool) -> None:
        """Tells the writer whose columns these are.

        Args:
            model: The prefix of the columns.
            ckpt_path: The checkpoint that scores; the predictions go beside it.
            overwrite: Whether a file that is already there may be replaced.
        """
        self._model, self._ckpt_path, self._overwrite = model, ckpt_path, overwrite

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuses what cannot end well before anything is scored.

        Raises:
            ConfigError: Several devices, an existing file, or inputs that the model does not have.
        """
        if getattr(trainer, "fast_dev_run", False):
            self._ckpt_path = None
        if stage not in ("test", "predict") or self._ckpt_path is None:
            return
        if trainer.world_size > 1:
            raise ConfigError("predictions are written by one device; use --trainer.devices 1")
        path = self._path(trainer)
        if path.exists() and not self._overwrite:
            raise ConfigError(f"{path} exists; give --overwrite to replace it, or a suffix to the PredictionWriter")

    def _path(self, trainer: Trainer) -> Path:
        assert self._ckpt_path is not None
        data: JetDataModule = trainer.datamodule  # type: ignore[attr-defined]
        sample = re.sub(r"[^A-Za-z0-9_.-]+", "_", Path(str(data.options["test"])).stem.replace("sample:", "sample_"))
        return self._ckpt_path.with_name(f"{self._ckpt_path.stem}__test_{sample}{self.suffix}.h5")

    def _start(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self._ckpt_path is None:
            return
        data: JetDataModule = trainer.datamodule  # type: ignore[attr-defined]
        files, inputs = data.files(stage), data.inputs
        tasks: Mapping[str, Task] = pl_module.tasks  # type: ignore[assignment]
        wanted = {name: self._wanted(name, inputs, files, tasks) for name in self._written(inputs, tasks)}
        for name, variables in wanted.items():
            _check_same_codes(files, inputs[name].dataset_of(name), variables)
        columns: dict[str, list[Column]] = {}
        for task in tasks.values():
            columns.setdefault(task.input, []).extend(task.columns())
        limited = data.limits["test"] >= 0 or trainer.limit_test_batches != 1.0 or trainer.limit_predict_batches != 1.0
        self._output = _Output(self._path(trainer), files, inputs, wanted, columns, self._model, limited)

    def _written(self, inputs: Mapping[str, Any], tasks: Mapping[str, Task]) -> list[str]:
        for name in self.variables:
            if name not in inputs:
                raise ConfigError(unknown("input", name, inputs, "in the variables of the PredictionWriter"))
        with_columns = {task.input for task in tasks.values()} if self.constituents else {JETS}
        return [name for name in inputs if name == JETS or name in with_columns or name in self.variables]

    def _wanted(self, name: str, inputs: Mapping[str, Any], files: Any, tasks: Mapping[str, Task]) -> list[str]:
        dataset = inputs[name].dataset_of(name)
        fields = files.fields(dataset)
        if name in self.variables:
            for variable in self.variables[name]:
                if variable not in fields:
                    raise DataError(
                        unknown("variable", variable, fields, f"in dataset '{dataset}' of {files.paths[0]}")
                    )
            return [v for v in dict.fromkeys(self.variables[name]) if name == JETS or v != VALID]
        if name != JETS:
            return []
        labels = [t.variable for task in tasks.values() for t in task.targets if t.input == JETS]
        return [v for v in dict.fromkeys([*USUAL_VARIABLES, *labels]) if v in fields]

    def _write(self, pl_module: LightningModule, raw: Mapping[str, Any], batch: JetBatch) -> None:
        if self._output is None or not len(batch):
            return
        scores: dict[str, list[tuple[Column, np.ndarray]]] = {}
        for name, task in pl_module.tasks.items():  # type: ignore[union-attr,operator]
            if task.input in self._output.wanted:
                values = task.predict(raw[name])
                columns = [(c, values[c.name].detach().cpu().numpy()) for c in task.columns()]
                scores.setdefault(task.input, []).extend(columns)
        self._output.write(batch, scores)

    def _end(self) -> None:
        if self._output is not None:
            path = self._output.finish()
            self._output = None
            log.info("predictions: %s", path)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the file under a hidden name."""
        self._start(trainer, pl_module, "test")

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the file under a hidden name."""
        self._start(trainer, pl_module, "predict")

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Writes the scores of the batch."""
        self._write(pl_module, outputs, batch)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Writes the scores of the batch."""
        self._write(pl_module, outputs, batch)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gives the file its name."""
        self._end()

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gives the file its name."""
        self._end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Removes the unfinished file."""
        if self._output is not None:
            self._output.discard()
            self._output = None


class _Output:
    """A prediction file while it is written, batch after batch in the order of the test file."""

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
        try:
            self.sink = Sink(self.hidden)
        except OSError as error:
            raise self._trouble(error) from None
        self.file = h5py.File(self.sink, "w")

    def write(self, batch: JetBatch, scores: Mapping[str, list[tuple[Column, np.ndarray]]]) -> None:
        """Appends all rows up to the last one of the batch; rows between that were not scored are filled."""
        rows = batch.rows.cpu().numpy()
        if (np.diff(rows) <= 0).any() or rows[0] < self.next_row:
            raise AssertionError("test batches must follow the order of the file")
        self._extend(int(rows[-1]) + 1, batch, rows, scores)
        self.file.flush()
        try:
            self.sink.check()
        except OSError as error:
            raise self._trouble(error) from None

    def _extend(
        self,
        stop: int,
        batch: JetBatch | None,
        rows: np.ndarray,
        scores: Mapping[str, list[tuple[Column, np.ndarray]]],
    ) -> None:
        start = self.next_row
        for name, variables in self.wanted.items():
            dataset = self.datasets[name]
            copied = self.files.read(dataset, np.arange(start, stop), list(variables))
            columns = scores.get(name, [])
            place = rows - start
            shape: tuple[int, ...] = (stop - start,)
            index: tuple[np.ndarray, ...] = (place,)
            if name != JETS:
                shape = (stop - start, self.files.width(dataset))
                jets, slots = _members(batch, name)
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

    def _append(self, output: str, records: np.ndarray, name: str) -> None:
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
                columns = {name: [(c, np.empty(0, c.dtype)) for c in columns] for name, columns in self.columns.items()}
                self._extend(total, None, np.empty(0, np.int64), columns)
            self.file.attrs["model"] = self.model
            self.file.close()
            self.sink.close()
            self.hidden.replace(self.path)
        except OSError as error:
            raise self._trouble(error) from None
        finally:
            self.hidden.unlink(missing_ok=True)
        return self.path

    def _trouble(self, error: OSError) -> DataError:
        return DataError(f"cannot write {self.path}: {error.strerror or error}")

    def discard(self) -> None:
        """Removes what was written."""
        self.file.close()
        with suppress(OSError):
            self.sink.close()
        self.hidden.unlink(missing_ok=True)


def _check_same_codes(files: Any, dataset: str, variables: Sequence[str]) -> None:
    """Raises DataError where the codes of a label that is copied mean different classes in different files."""
    for variable in variables:
        names = [reader.class_names(dataset, variable) for reader in files.readers]
        for reader, found in zip(files.readers, names, strict=True):
            if found != names[0]:
                raise DataError(
                    f"{reader.path}: the codes of '{variable}' mean other classes than in {files.paths[0]}, so they "
                    "cannot stand in one file of predictions\n"
                    f"score the files one by one, or leave '{variable}' out of the PredictionWriter's variables"
                )


def _members(batch: JetBatch | None, name: str) -> tuple[np.ndarray, np.ndarray]:
    """For each constituent the position of its jet in the batch and its place on the padded axis."""
    if batch is None:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return batch.constituents[name].jet_T.cpu().numpy(), batch.slots[name].cpu().numpy()
