"""The real entries of some jets, without the padding between them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from salt.data.reader import VALID, Array, Reader


@dataclass(frozen=True, eq=False)
class Entries:
    """What is read of one dataset for B jets.

    Args:
        records: [T] structured, of jets [B].
        jet: [T] int64 which of the B jets each belongs to, ascending.
        slot: [T] int64 its place on the padded axis; 0 for jets.
    """

    records: Array
    jet: Array
    slot: Array


def pick(reader: Reader, dataset: str, rows: Array, fields: Sequence[str]) -> Entries:
    """The real entries of some rows.

    A reader that can do better than to read all padded records of a range of rows has a method
    ``pick(dataset, rows, fields)`` that returns them.

    Args:
        reader: The file.
        dataset: Name of the dataset.
        rows: [B], ascending and not empty.
        fields: The wanted fields, ``valid`` among them for constituents.

    Raises:
        DataError: The file cannot be read.
    """
    own: Callable[[str, Array, Sequence[str]], Entries] | None = getattr(reader, "pick", None)
    return pick_padded(reader, dataset, rows, fields) if own is None else own(dataset, rows, fields)


def pick_padded(reader: Reader, dataset: str, rows: Array, fields: Sequence[str]) -> Entries:
    """The same, by reading all padded records between the first and the last of the rows."""
    start = int(rows[0])
    return of_records(reader.read(dataset, start, int(rows[-1]) + 1, fields), rows - start)


def of_records(records: Array, rows: Array) -> Entries:
    """The real ones of padded records.

    Args:
        records: [N] or [N, M] structured.
        rows: [B] which of the N jets are wanted, ascending.
    """
    if records.ndim == 1:
        return Entries(records[rows], np.arange(len(rows)), np.zeros(len(rows), dtype=np.int64))
    jet, slot = real_entries(records[VALID], rows)
    return Entries(records.reshape(-1).take(rows[jet] * records.shape[1] + slot), jet, slot)


def real_entries(flags: Array, rows: Array) -> tuple[Array, Array]:
    """Jets [T] and slots [T] of the entries whose flag is not zero.

    Args:
        flags: [N, M].
        rows: [B] which of the N jets are wanted; jets count these.
    """
    real = (flags if len(rows) == len(flags) else flags[rows]) != 0
    jet, slot = np.divmod(np.flatnonzero(real), flags.shape[1])
    return jet, slot
