"""What the values of some jets are, and all that is wrong with them, where reading for a training ends at the first."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from salt.data.entries import Entries
from salt.data.packing import checked_label, checked_values, wanted_entries
from salt.data.plan import InputPlan
from salt.data.reader import Array
from salt.data.source import Source
from salt.data.survey import SURVEY_JETS, Measure, spread_blocks
from salt.errors import DataError
from salt.inputs import JETS, Target

Unit: TypeAlias = tuple[str, object]
"""Something that a config asks of an input: its name, and a variable, a condition, a `Target`, or None for itself."""


@dataclass(frozen=True)
class Variable:
    """One variable of an input.

    Args:
        dtype: Its type in the files.
        entries: How many values were looked at.
        strange: How many of them are not finite in float32.
        measure: What is known of the others.
    """

    dtype: np.dtype[Any]
    entries: int
    strange: int
    measure: Measure


@dataclass(frozen=True)
class Scan:
    """What was found in some jets of a source.

    Args:
        num_jets: How many were looked at.
        variables: For each input its variables.
        numbers: For each target of kind ``number`` the measure of its usable values, of their logarithm if asked.
        counts: For each target of kind ``class`` how often each of its classes occurs, and last what has no label.
        faults: For each variable and target that cannot be used the words, with the first row.
    """

    num_jets: int
    variables: Mapping[str, Mapping[str, Variable]]
    numbers: Mapping[Target, Measure]
    counts: Mapping[Target, tuple[int, ...]]
    faults: Mapping[Unit, DataError]


def scan(source: Source, most: int = SURVEY_JETS) -> Scan:
    """Looks at the jets at which a training looks before it begins, by the rules of that.

    Raises:
        DataError: The file cannot be read.
    """
    found = _Found(source)
    for positions in spread_blocks(source.num_jets, most):
        for plan, entries, rows in source.entries(positions):
            found.add(plan, entries, rows)
    return found.result()


class _Found:
    def __init__(self, source: Source) -> None:
        self._num_jets = 0
        self._variables: dict[str, dict[str, Variable]] = {}
        for name, spec in source.inputs.items():
            fields = source.fields(spec.dataset_of(name))
            self._variables[name] = {v: Variable(fields[v], 0, 0, Measure()) for v in spec.variables}
        self._numbers = {t: Measure() for t in source.targets if t.kind == "number"}
        self._counts = {t: np.zeros(len(t.classes) + 1, dtype=np.int64) for t in source.targets if t.kind == "class"}
        self._faults: dict[Unit, DataError] = {}

    def add(self, plan: InputPlan, entries: Entries, rows: Array) -> None:
        if plan.name == JETS:
            self._num_jets += len(rows)
            records, entry_rows = entries.records, rows
        else:
            wanted, _ = wanted_entries(plan, entries, len(rows))
            records, entry_rows = wanted.records, rows[wanted.jet]
        for variable in plan.variables:
            self._add_values(plan, variable, records, entry_rows)
        for label in plan.labels:
            target = label.target
            try:
                values = checked_label(plan, label, records[target.variable], entry_rows)
            except DataError as error:
                self._faults.setdefault((plan.name, target), error)
                continue
            if target.kind == "class":
                self._counts[target] += np.bincount(
                    values % len(self._counts[target]), minlength=len(target.classes) + 1
                )
            elif target.kind == "number":
                finite = values[np.isfinite(values)].astype(np.float64)
                self._numbers[target] = self._numbers[target].add(np.log(finite) if target.log else finite)

    def _add_values(self, plan: InputPlan, variable: str, records: Array, rows: Array) -> None:
        with np.errstate(over="ignore"):
            values = records[variable].astype(np.float32)
        finite = np.isfinite(values)
        strange = int(len(values) - np.count_nonzero(finite))
        if strange and (plan.name, variable) not in self._faults:
            try:
                checked_values(replace(plan, variables=(variable,)), records, rows)
            except DataError as error:
                self._faults[plan.name, variable] = error
        old = self._variables[plan.name][variable]
        measure = old.measure.add(values[finite] if strange else values)
        self._variables[plan.name][variable] = Variable(
            old.dtype, old.entries + len(values), old.strange + strange, measure
        )

    def result(self) -> Scan:
        faults = {unit: DataError(self._with_share(unit, str(error))) for unit, error in self._faults.items()}
        counts = {target: tuple(int(n) for n in found) for target, found in self._counts.items()}
        return Scan(self._num_jets, self._variables, self._numbers, counts, faults)

    def _with_share(self, unit: Unit, words: str) -> str:
        """The words, with how many entries of a variable share the fault."""
        name, variable = unit
        if not isinstance(variable, str):
            return words
        about = self._variables[name][variable]
        first, *rest = words.splitlines()
        share = f"; {about.strange} of {about.entries} entries that were looked at are not finite"
        return "\n".join([first + share, *rest])


def measures_of(found: Scan) -> Iterator[tuple[str, str, Measure]]:
    """Each input and variable with its measure."""
    for name, variables in found.variables.items():
        for variable, about in variables.items():
            yield name, variable, about.measure
