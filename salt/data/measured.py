"""Normalisation and class weights of whole files, measured in one pass with memory that does not grow with them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from salt.data.checks import TRUTH
from salt.data.classes import make_lookup
from salt.data.entries import pick
from salt.data.progress import progress
from salt.data.reader import VALID, Array, Layout, Reader
from salt.data.source import READ_ROWS, Source
from salt.data.survey import NUMBERS, Measure, scales_of, survey
from salt.errors import ConfigError, DataError, unknown
from salt.inputs import STANDARD_CLASSES, Target, unambiguous
from salt.statistics import Scale

READING = "measuring"


@dataclass(frozen=True)
class Classes:
    """The classes of one label.

    Args:
        names: Their names, in the order of their codes.
        counts: How often each occurs.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]

    @property
    def weights(self) -> tuple[float, ...]:
        """All labels over the number of classes that occur over those of a class; 1 for a class that never occurs."""
        present = sum(1 for n in self.counts if n)
        return tuple(sum(self.counts) / (present * n) if n else 1.0 for n in self.counts)


@dataclass(frozen=True)
class Measured:
    """What was found in some files.

    Args:
        num_jets: How many jets were read.
        scales: For each input or dataset and variable mean and standard deviation over all real constituents.
        classes: For each of them and each label its classes.
        left_out: Variables that cannot be normalised and labels without weights, as a sentence for each.
    """

    num_jets: int
    scales: Mapping[str, Mapping[str, Scale]]
    classes: Mapping[str, Mapping[str, Classes]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def measure_declared(source: Source) -> Measured:
    """Measures the inputs and labels of a config, as a training does: after selections and within `max_count`.

    Args:
        source: The jets, with the inputs and the targets of kind ``class``.

    Raises:
        ConfigError: Two tasks want different classes of one label.
        DataError: A value or label cannot be used, or a variable is constant.
    """
    with progress(READING, source.num_jets) as told:
        found = survey(source, by_number=None, most=source.num_jets, told=told)
    source.close()
    keys = unambiguous({name: spec.dataset_of(name) for name, spec in source.inputs.items()})
    scales = scales_of(found, source.where)
    classes: dict[str, dict[str, Classes]] = {}
    for target, counts in found.class_counts.items():
        by_name = dict(zip(target.classes, counts, strict=True))
        names = tuple(dict.fromkeys(name for _, name in source.codes(target) if name in by_name))
        table = classes.setdefault(keys[target.input], {})
        new = Classes(names, tuple(by_name[name] for name in names))
        if table.setdefault(target.variable, new) != new:
            raise ConfigError(
                f"two tasks have different classes of label '{target.variable}' of input '{target.input}', and a file "
                "of weights has one list for them\nlet one of the tasks measure them by class_weights: balanced"
            )
    return Measured(found.num_jets, {keys[name]: table for name, table in scales.items()}, classes)


def measure_all(readers: Sequence[Reader]) -> Measured:
    """Measures all numbers that may be inputs, and all labels whose classes the files or the field's standards name.

    Truth, flags and the numbers of events are no inputs. Entries whose code is no class are not counted.

    Args:
        readers: The files, at least one.

    Raises:
        DataError: The files differ in their datasets or variables, or hold none.
    """
    tables = [_Table(name, layout, readers) for name, layout in readers[0].layouts().items() if _usable(layout)]
    if not any(table.measures for table in tables):
        raise DataError(f"{readers[0].path} has no variable that can be an input")
    with progress(READING, sum(table.rows for table in tables)) as told:
        for reader in readers:
            for table in tables:
                for read in table.add(reader):
                    told(read)
            reader.close()
    return Measured(
        num_jets=max(table.rows for table in tables),
        scales={table.name: table.scales() for table in tables if table.scales()},
        classes={table.name: table.classes() for table in tables if table.counts},
        left_out=tuple(sentence for table in tables for sentence in table.left_out()),
    )


class _Table:
    """One dataset of the files while it is read."""

    def __init__(self, name: str, layout: Layout, readers: Sequence[Reader]) -> None:
        self.name = name
        self.rows = sum(_layout(reader, name, layout).num_rows for reader in readers)
        self._constituents = layout.width is not None
        numbers = {f: t for f, t in layout.fields.items() if t.kind in "fiu" and t.shape == ()}
        self.measures = {f: Measure() for f in numbers if not TRUTH.search(f) and f not in NUMBERS}
        self._wrong = dict.fromkeys(self.measures, 0)
        self._lookups = {}
        self._unordered: list[str] = []
        for label in (f for f, dtype in numbers.items() if dtype.kind in "iu"):
            names = {reader.class_names(name, label) for reader in readers}
            if len(names) > 1:
                self.measures.pop(label, None)
                self._unordered.append(label)
                continue
            (known,) = names
            if known is None and label not in STANDARD_CLASSES:
                continue
            standard = [meaning for _, meaning in STANDARD_CLASSES.get(label, ())]
            target = Target(name, label, "class", tuple(dict.fromkeys(known or standard)))
            self._lookups[label] = make_lookup(target, known, str(readers[0].path), strict=False), target
            self.measures.pop(label, None)
        self.counts = {label: np.zeros(len(t.classes), dtype=np.int64) for label, (_, t) in self._lookups.items()}

    def add(self, reader: Reader) -> Iterable[int]:
        """Reads one file; yields how many rows have been read."""
        fields = [*self.measures, *self._lookups, *([VALID] if self._constituents else [])]
        rows = reader.layouts()[self.name].num_rows
        for start in range(0, rows, READ_ROWS):
            stop = min(start + READ_ROWS, rows)
            records = pick(reader, self.name, np.arange(start, stop), fields).records
            for variable, measure in self.measures.items():
                self.measures[variable] = measure.add(self._finite(variable, records[variable]))
            for label, (lookup, target) in self._lookups.items():
                indices, _ = lookup(records[label])
                self.counts[label] += np.bincount(indices[indices >= 0], minlength=len(target.classes))
            yield stop - start

    def scales(self) -> dict[str, Scale]:
        """Of all variables that can be normalised."""
        return {v: m.scale for v, m in self.measures.items() if self._fault(v) is None}

    def classes(self) -> dict[str, Classes]:
        """Of all labels."""
        found = {}
        for label, (_, target) in self._lookups.items():
            found[label] = Classes(target.classes, tuple(int(n) for n in self.counts[label]))
        return found

    def left_out(self) -> list[str]:
        """Why variables cannot be normalised, and classes have no weights."""
        faults = [f"'{v}' of '{self.name}' {fault}" for v in self.measures if (fault := self._fault(v)) is not None]
        orders = "has classes that the files name differently, so their weights have no order"
        return [*faults, *(f"label '{label}' of '{self.name}' {orders}" for label in self._unordered)]

    def _finite(self, variable: str, raw: Array) -> Array:
        with np.errstate(over="ignore"):
            values = raw.astype(np.float32)  # As a training reads them.
        finite = np.isfinite(values)
        self._wrong[variable] += len(raw) - int(finite.sum())
        kept: Array = values[finite]
        return kept

    def _fault(self, variable: str) -> str | None:
        measure, wrong = self.measures[variable], self._wrong[variable]
        if wrong:
            return f"is not finite in {wrong} of {wrong + measure.count} places"
        if measure.count == 0:
            return "has no values"
        return f"is always {measure.mean:g}" if measure.scale.std == 0 else None


def _usable(layout: Layout) -> bool:
    return layout.width is None or VALID in layout.fields


def _layout(reader: Reader, dataset: str, wanted: Layout) -> Layout:
    """The layout of a dataset in one of several files, which must have the fields that the first one has."""
    layouts: Mapping[str, Any] = reader.layouts()
    if dataset not in layouts:
        raise DataError(f"{reader.path}: " + unknown("dataset", dataset, layouts))
    found: Layout = layouts[dataset]
    for name in wanted.fields:
        if name not in found.fields:
            raise DataError(f"{reader.path}: " + unknown("variable", name, found.fields, f"in '{dataset}'"))
    return found
