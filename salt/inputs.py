"""What a config declares of the data: the inputs of a model and the targets of its tasks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from salt.errors import ConfigError

JETS = "jets"
"""The name of the input that describes the jet itself; all other inputs are constituents."""


@dataclass(frozen=True)
class Input:
    """One named set of variables, read from one dataset of the files.

    Args:
        variables: Names of the variables, in the order in which the model sees them.
        dataset: Name of the dataset in the file; the name of the input itself if not given.
        max_count: Keep at most this many constituents of a jet, the first ones in the order of the file; all if
            not given. Not for jets.
        selection: Conditions such as ``pt > 1000`` or ``abs(eta) < 2.5``, all of which a jet or constituent must
            pass to be read. They are applied before ``max_count``.
    """

    variables: list[str]
    dataset: str | None = None
    max_count: int | None = None
    selection: list[str] | None = None

    def dataset_of(self, name: str) -> str:
        """Name of the dataset for the input that is called `name`."""
        return self.dataset or name


@dataclass(frozen=True)
class Target:
    """What a task wants to be told about each jet or constituent of one input.

    Targets are the keys of ``JetBatch.labels``, so two tasks that ask for the same thing share it, and two tasks
    that read one variable in different ways do not collide.

    Args:
        input: Name of the input whose dataset holds the variable.
        variable: Name of the variable.
        kind: ``class``: integer codes that stand for classes; the batch holds the index into `classes`, or -1 where
            there is no label or the class is ignored. ``number``: a real number, NaN where there is none.
            ``index``: an integer as it stands in the file, such as a vertex index; negative means no label.
            ``weight``, ``level``: real numbers that nothing is learnt about: how much something counts in a loss, at
            least 0, and by what that is scaled. ``nuisance``: a real number that shall not be readable from what is
            learnt.
        classes: Names of the classes in the order of the model's outputs (kind ``class`` only).
        codes: (code in the file, class name) pairs where the file cannot say which code means which class.
            None: the file's own class names decide, and without any the codes count up from 0.
        ignore: Names or codes of further classes of the file that are no target.
        log: Statistics of a number are those of its natural logarithm.
    """

    input: str
    variable: str
    kind: Literal["class", "number", "index", "weight", "level", "nuisance"]
    classes: tuple[str, ...] = ()
    codes: tuple[tuple[int, str], ...] | None = None
    ignore: tuple[str | int, ...] = ()
    log: bool = False

    @property
    def learnt(self) -> bool:
        """Whether a task learns it; otherwise it is just a number that a loss needs."""
        return self.kind not in ("weight", "level", "nuisance")

    @property
    def called(self) -> str:
        """What it is, in messages."""
        return "label" if self.learnt else "nuisance" if self.kind == "nuisance" else "loss weight"


def unambiguous(datasets: Mapping[str, str]) -> dict[str, str]:
    """What to call each input in a file: like its dataset, or by its own name if another input has the same dataset."""
    every = list(datasets.values())
    return {name: dataset if every.count(dataset) == 1 else name for name, dataset in datasets.items()}


def check_inputs(inputs: Mapping[str, Input]) -> None:
    """Raises ConfigError where the inputs cannot make a model, whatever the files hold."""
    if JETS not in inputs:
        raise ConfigError(f"data.inputs has no '{JETS}'; it names the jet's own variables and cannot be left out")
    for name, spec in inputs.items():
        if not spec.variables:
            raise ConfigError(f"data.inputs.{name}.variables is empty; name at least one variable")
        doubled = sorted({v for v in spec.variables if spec.variables.count(v) > 1})
        if doubled:
            raise ConfigError(f"data.inputs.{name}.variables names {', '.join(doubled)} more than once")
        if name == JETS and spec.max_count is not None:
            raise ConfigError(f"data.inputs.{JETS}.max_count has no meaning; it belongs to constituents")
        if spec.max_count is not None and spec.max_count < 1:
            raise ConfigError(f"data.inputs.{name}.max_count is {spec.max_count}; it must be at least 1")


STANDARD_CLASSES: Mapping[str, tuple[tuple[int, str], ...]] = {
    "ftagTruthOriginLabel": (
        (0, "Pileup"),
        (1, "Fake"),
        (2, "Primary"),
        (3, "FromB"),
        (4, "FromBC"),
        (5, "FromC"),
        (6, "FromTau"),
        (7, "OtherSecondary"),
    ),
    "HadronConeExclTruthLabelID": ((0, "ujets"), (4, "cjets"), (5, "bjets"), (15, "taujets")),
}
"""Codes of the field's standard labels, for files that do not say what their codes mean."""

SHORT_NAMES: Mapping[str, str] = {"bjets": "pb", "cjets": "pc", "ujets": "pu", "taujets": "ptau"}
"""Columns of the classes that plotting tools know by a short name."""
