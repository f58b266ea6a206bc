"""Scores of a test file, written as plotting tools read them, by any number of devices."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch.distributed
from lightning.pytorch import Callback, LightningModule, Trainer

from salt.batch import JetBatch
from salt.callbacks.prediction_file import VALID, PredictionFile, Scores
from salt.data.datamodule import JetDataModule
from salt.data.samples import Sample
from salt.errors import ConfigError, DataError, SaltError, unknown
from salt.inputs import JETS
from salt.tasks import Column, Task
from salt.words import RESULT

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


class PredictionWriter(Callback):
    """Writes the columns of all tasks beside the checkpoint: one dataset per input, row i for jet i of the test file.

    Each sample of several has a file of its own.

    Where two inputs come from one dataset, theirs are called like the inputs. A ``fast_dev_run`` writes nothing.
    A jet that a selection leaves out, and a constituent beyond `max_count` or that a selection leaves out, has NaN
    in every column of floats and -1 in every column of integers.

    Of several devices the first one writes what all of them score, step by step, so that the file is the same and is
    complete or absent whatever their number.

    Args:
        variables: Variables of the test file to copy, by the name of the input. Those that are not named: for jets
            the usual ones that the file has (pt, eta, labels, numbers of event and jet) and the labels of the tasks;
            for constituents none.
        constituents: Whether to write the columns of constituents.
        suffix: Added to the name of the file, which stays in its folder.
        half: Whether to write scores in half precision (float16), with three digits and nothing below 6e-8, which takes
            half the space. Copied variables and numbers of vertices stay as they are.

    Attributes:
        made_from: What the next file says of how it was made.
    """

    def __init__(
        self,
        variables: dict[str, list[str]] | None = None,
        constituents: bool = True,
        suffix: str = "",
        half: bool = False,
    ) -> None:
        self.variables = variables or {}
        self.constituents = constituents
        if "/" in suffix:
            raise ConfigError(f"the suffix of the PredictionWriter is '{suffix}'; it is a part of a name, without /")
        self.suffix = suffix
        self.half = half
        self.made_from = ""
        self._model = "salt"
        self._ckpt_path: Path | None = None
        self._inputs: list[str] = []
        self._output: PredictionFile | None = None
        self._trouble: SaltError | None = None

    def prepare(self, model: str, ckpt_path: Path) -> None:
        """Tells the writer whose columns these are.

        Args:
            model: The prefix of the columns.
            ckpt_path: The checkpoint that scores; the predictions go beside it.
        """
        self._model, self._ckpt_path = model, ckpt_path

    def path_of(self, sample: Sample) -> Path:
        """Where the predictions of a sample go; a file that is there is replaced."""
        assert self._ckpt_path is not None
        return self._ckpt_path.with_name(f"{self._ckpt_path.stem}__test_{sample.name}{self.suffix}.h5")

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """A trial writes nothing."""
        if getattr(trainer, "fast_dev_run", False):
            self._ckpt_path = None

    def _start(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self._ckpt_path is None:
            return
        data: JetDataModule = trainer.datamodule  # type: ignore[attr-defined]
        files, inputs = data.files(stage), data.inputs
        tasks: Mapping[str, Task] = pl_module.tasks  # type: ignore[assignment]
        self._inputs = self._written(inputs, tasks)
        wanted = {name: self._wanted(name, inputs, files, tasks) for name in self._inputs}
        for name, variables in wanted.items():
            _check_same_codes(files, inputs[name].dataset_of(name), variables)
        columns: dict[str, list[Column]] = {}
        for task in tasks.values():
            columns.setdefault(task.input, []).extend(task.columns())
        batches = trainer.limit_test_batches if stage == "test" else trainer.limit_predict_batches
        limited = data.limits["test"] >= 0 or batches != 1.0
        if trainer.is_global_zero:
            try:
                self._output = PredictionFile(
                    self.path_of(data.chosen_sample),
                    files,
                    inputs,
                    wanted,
                    columns,
                    self._model,
                    limited,
                    self.half,
                    self.made_from,
                )
            except SaltError as error:
                self._trouble = error
        self._agree(trainer)

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
        labels = [t.variable for task in tasks.values() for t in task.targets if t.learnt and t.input == JETS]
        return [v for v in dict.fromkeys([*USUAL_VARIABLES, *labels]) if v in fields]

    def _write(self, trainer: Trainer, pl_module: LightningModule, raw: Mapping[str, Any], batch: JetBatch) -> None:
        if self._ckpt_path is None:
            return
        tasks: Mapping[str, Task] = pl_module.tasks  # type: ignore[assignment]
        self._agree(trainer)  # On the last batch, so that nobody waits while this one is written.
        scores = _gathered(trainer, Scores.of(batch, tasks, raw, self._inputs))
        if self._output is not None:
            try:
                for part in scores:
                    self._output.write(part)
            except SaltError as error:
                self._trouble = error

    def _end(self, trainer: Trainer) -> None:
        if self._ckpt_path is None:
            return
        self._agree(trainer)
        if self._output is not None:
            try:
                logging.getLogger(RESULT).info("predictions: %s", self._output.finish())
            except SaltError as error:
                self._trouble = error
            self._output = None
        self._agree(trainer)

    def _agree(self, trainer: Trainer) -> None:
        """Raises in all processes what has gone wrong in the one that writes."""
        fine = self._trouble is None
        if trainer.world_size > 1:
            fine = trainer.strategy.reduce_boolean_decision(fine)
        if not fine:
            raise self._trouble or DataError("the predictions cannot be written; the first process says why")

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
        self._write(trainer, pl_module, outputs, batch)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Writes the scores of the batch."""
        self._write(trainer, pl_module, outputs, batch)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gives the file its name."""
        self._end(trainer)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gives the file its name."""
        self._end(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Removes the unfinished file."""
        if self._output is not None:
            self._output.discard()
            self._output = None


def _gathered(trainer: Trainer, scores: Scores) -> list[Scores]:
    """Those of the devices in their order, which is that of the rows, at the first device; elsewhere nothing."""
    if trainer.world_size == 1:
        return [scores]
    parts: list[Any] | None = [None] * trainer.world_size if trainer.is_global_zero else None
    torch.distributed.gather_object(scores, parts)
    return parts or []


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
