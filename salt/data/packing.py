"""From padded records of a file to rows back to back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from salt.data.entries import Entries
from salt.data.plan import InputPlan, LabelPlan
from salt.data.reader import Array
from salt.data.selection import passes
from salt.errors import DataError
from salt.inputs import Target


@dataclass(frozen=True, eq=False)
class Part:
    """One input of some jets.

    Args:
        values: [B, F] or [T, F] float32.
        counts: [B] int64, how many constituents each jet has; 1 for the jets themselves.
        slots: [T] int64, the place of each on the padded axis of the file.
        labels: For each target [B] or [T].
    """

    values: Array
    counts: Array
    slots: Array
    labels: Mapping[Target, Array]


@dataclass(frozen=True, eq=False)
class Packed:
    """Some jets with all their inputs.

    Args:
        rows: [B] int64, their rows in the files one after the other.
        parts: For each input its rows.
    """

    rows: Array
    parts: Mapping[str, Part]


def pack_jets(plan: InputPlan, entries: Entries, rows: Array) -> Part:
    """Packs jets.

    Args:
        plan: What to take of them.
        entries: Of the jets [B].
        rows: [B] their rows in the file, for messages.

    Raises:
        DataError: An input is not finite, or a label cannot be used; the message has the first row.
    """
    records = entries.records
    counts = np.ones(len(rows), dtype=np.int64)
    return Part(checked_values(plan, records, rows), counts, entries.slot, _labels(plan, records, rows))


def pack_constituents(plan: InputPlan, entries: Entries, rows: Array) -> Part:
    """Packs constituents: those that pass the selection, in file order, at most `max_count` a jet.

    Args:
        plan: What to take of them.
        entries: The real ones of the jets [B].
        rows: [B] their rows in the file, for messages.

    Raises:
        DataError: An input is not finite, or a label cannot be used; the message has the first row.
    """
    kept, counts = wanted_entries(plan, entries, len(rows))
    entry_rows = rows[kept.jet]
    values = checked_values(plan, kept.records, entry_rows)
    return Part(values, counts, kept.slot, _labels(plan, kept.records, entry_rows))


def wanted_entries(plan: InputPlan, entries: Entries, num_jets: int) -> tuple[Entries, Array]:
    """Those that pass the selection, in file order, at most `max_count` a jet, and [B] how many each jet has."""
    jet, slot, picked = entries.jet, entries.slot, entries.records
    if plan.conditions:
        passed = passes(plan.conditions, picked)
        jet, slot, picked = jet[passed], slot[passed], picked[passed]
    counts = np.bincount(jet, minlength=num_jets)
    if plan.max_count is not None:
        early = np.arange(len(jet)) - (np.cumsum(counts) - counts)[jet] < plan.max_count
        jet, slot, picked = jet[early], slot[early], picked[early]
        counts = np.minimum(counts, plan.max_count)
    return Entries(picked, jet, slot), counts


def concatenate(parts: Sequence[Packed]) -> Packed:
    """Puts jets one after the other."""
    if len(parts) == 1:
        return parts[0]
    names = parts[0].parts
    return Packed(
        np.concatenate([p.rows for p in parts]),
        {name: _concatenate([p.parts[name] for p in parts]) for name in names},
    )


def take(packed: Packed, index: Array) -> Packed:
    """The jets at `index`, in that order."""
    return Packed(packed.rows[index], {name: _take(part, index) for name, part in packed.parts.items()})


def _concatenate(parts: Sequence[Part]) -> Part:
    return Part(
        np.concatenate([p.values for p in parts]),
        np.concatenate([p.counts for p in parts]),
        np.concatenate([p.slots for p in parts]),
        {target: np.concatenate([p.labels[target] for p in parts]) for target in parts[0].labels},
    )


def _take(part: Part, index: Array) -> Part:
    counts = part.counts[index]
    starts = (np.cumsum(part.counts) - part.counts)[index]
    entries = np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
    labels = {target: values[entries] for target, values in part.labels.items()}
    return Part(part.values.take(entries, axis=0), counts, part.slots[entries], labels)


def checked_values(plan: InputPlan, records: Array, rows: Array) -> Array:
    """The variables of records [T, F] in float32.

    Raises:
        DataError: One is not finite; the message has the first such row.
    """
    values = np.empty((len(records), len(plan.variables)), dtype=np.float32)
    with np.errstate(over="ignore"):
        for i, variable in enumerate(plan.variables):
            values[:, i] = records[variable]
    finite = np.isfinite(values)
    if not finite.all():
        entry, i = np.argwhere(~finite)[0]
        raw = records[plan.variables[i]][entry]
        problem = f"{raw} (too large for float32)" if np.isfinite(raw) else str(raw)
        raise DataError(
            f"{plan.path}: variable '{plan.variables[i]}' of input '{plan.name}' is {problem} in row {rows[entry]}\n"
            "repair the file, drop the variable, or exclude such values by data.inputs."
            f"{plan.name}.selection"
        )
    return values


def _labels(plan: InputPlan, records: Array, rows: Array) -> dict[Target, Array]:
    return {label.target: checked_label(plan, label, records[label.target.variable], rows) for label in plan.labels}


def checked_label(plan: InputPlan, label: LabelPlan, raw: Array, rows: Array) -> Array:
    """One target [T] from what the file has.

    Raises:
        DataError: It cannot be used; the message has the first such row.
    """
    target = label.target
    if target.kind == "number":
        return _number(plan, target, raw, rows)
    if not target.learnt:
        return _weight(plan, target, raw, rows)
    if label.lookup is None:
        return raw.astype(np.int64)
    indices, strange = label.lookup(raw)
    if plan.strict and strange.any():
        entry = int(np.argmax(strange))
        name = dict(label.lookup.names).get(int(raw[entry]))
        called = f" ('{name}' in this file)" if name else ""
        raise DataError(
            f"{plan.path}: label '{target.variable}' of input '{plan.name}' is {int(raw[entry])}{called} in row "
            f"{rows[entry]}, none of the classes {', '.join(target.classes)}\n"
            "add it to the task's classes, or to its ignore_classes"
        )
    return indices


def _number(plan: InputPlan, target: Target, raw: Array, rows: Array) -> Array:
    with np.errstate(over="ignore"):
        values = raw.astype(np.float32)
    wrong = np.isinf(values)
    if target.log:
        wrong |= values <= 0
    if plan.strict and wrong.any():
        entry = int(np.argmax(wrong))
        need = "positive, as its logarithm is learned" if target.log else "finite"
        raise DataError(
            f"{plan.path}: label '{target.variable}' of input '{plan.name}' is {raw[entry]} in row {rows[entry]}; "
            f"it must be {need} (NaN where there is none)"
        )
    values[wrong] = np.nan
    return values


def _weight(plan: InputPlan, target: Target, raw: Array, rows: Array) -> Array:
    with np.errstate(over="ignore"):
        values = raw.astype(np.float32)
    wrong = ~np.isfinite(values)
    if target.kind == "weight":
        wrong |= values < 0
    if plan.strict and wrong.any():
        entry = int(np.argmax(wrong))
        need = "finite and at least 0" if target.kind == "weight" else "finite"
        raise DataError(
            f"{plan.path}: {target.called} '{target.variable}' of input '{plan.name}' is {raw[entry]} in row "
            f"{rows[entry]}; it must be {need}\n"
            f"repair the file, or exclude such entries by data.inputs.{plan.name}.selection"
        )
    values[wrong] = np.nan if target.kind == "nuisance" else 0
    return values
