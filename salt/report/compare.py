"""Two prediction files, jet by jet."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 (registers its filters)
import numpy as np
from numpy.typing import NDArray

from salt.data.hdf5 import plain_errors
from salt.errors import ConfigError, DataError, unknown

Array = NDArray[Any]

BLOCK = 50_000
"""Rows of jets that are compared at once; of constituents as many as make so many entries."""

EDGES = (0.0, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, np.inf)
"""Bins of absolute differences, after those that are exactly 0."""


@dataclass(frozen=True, eq=False)
class ColumnDifference:
    """How one column of two files differs.

    Args:
        dataset: Its dataset.
        name: Its name in the first file.
        other: Its name in the second.
        entries: Values that were compared.
        differing: Those whose difference is above the tolerance, or of which only one is NaN or valid.
        largest: The largest absolute difference of two finite values.
        row: Where it is, a row of the first file; -1 where all are equal.
        values: The values there.
        mean: The mean absolute difference of finite values.
        histogram: Exactly equal ones, then those in the bins of `EDGES`, then those that are NaN in one file only.
    """

    dataset: str
    name: str
    other: str
    entries: int
    differing: int
    largest: float
    row: int
    values: tuple[float, float]
    mean: float
    histogram: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Comparison:
    """What two files have in common and in what they differ.

    Args:
        rows: Jets of each file.
        matched: Jets that were compared.
        only: Jets that the first file has alone, and the second, where they are matched by keys.
        columns: The columns that both have.
        alone: Datasets and columns that one file has alone, for each of the two.
        left_out: What both have, but cannot be compared.
        differing_rows: Rows of the first file in which something differs by more than the tolerance, the first ones.
        num_differing: How many such rows there are.
    """

    rows: tuple[int, int]
    matched: int
    only: tuple[int, int]
    columns: tuple[ColumnDifference, ...]
    alone: tuple[tuple[str, ...], tuple[str, ...]]
    left_out: tuple[str, ...]
    differing_rows: tuple[int, ...]
    num_differing: int

    @property
    def agrees(self) -> bool:
        """Whether the files have the same jets, and nothing that was compared differs."""
        return not self.num_differing and self.matched == self.rows[0] == self.rows[1]


@dataclass(frozen=True)
class Question:
    """What is compared.

    Args:
        one: A prediction file.
        other: Another one.
        tolerance: Absolute differences up to this one count as none.
        keys: Columns of jets by which rows are matched; row i is matched with row i if empty.
        columns: Only these columns, if any.
        models: The taggers to compare, one of each file, where they have different names.
        shown: How many rows that differ are kept.
    """

    one: Path
    other: Path
    tolerance: float = 0.0
    keys: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    models: tuple[str, str] | None = None
    shown: int = 10


def compare(question: Question) -> Comparison:
    """Compares two files, a block of rows after another.

    Raises:
        ConfigError: There is nothing to compare.
        DataError: A file cannot be read, or keys do not name single jets.
    """
    with _opened(question.one) as one, _opened(question.other) as other:
        rows = (len(one["jets"]), len(other["jets"]))
        if question.keys:
            order = _matched(question, one, other)
        elif rows[0] != rows[1]:
            raise DataError(
                f"{question.one} has {rows[0]} jets, {question.other} has {rows[1]}\n"
                "match them by columns that both have, such as --key eventNumber jetNumber"
            )
        else:
            order = None
        shared, alone, left_out = _columns(question, one, other)
        if not shared:
            raise ConfigError(f"{question.one} and {question.other} have no columns in common\n" + _hint(question))
        marked = np.zeros(rows[0], dtype=bool)
        found = []
        for dataset, pairs in shared.items():
            found += _compare_dataset(question, dataset, pairs, one[dataset], other[dataset], order, marked)
    matched = rows[0] if order is None else int((order >= 0).sum())
    differing = np.flatnonzero(marked)
    return Comparison(
        rows,
        matched,
        (rows[0] - matched, rows[1] - matched),
        tuple(found),
        alone,
        left_out,
        tuple(int(r) for r in differing[: question.shown]),
        len(differing),
    )


def _opened(path: Path) -> Any:
    if path.is_dir():
        raise DataError(f"{path} is a folder; name a prediction file")
    if not path.is_file():
        names = [p.name for p in path.parent.glob("*.h5")] if path.parent.is_dir() else []
        raise DataError(unknown("file", path.name, names, f"in folder {path.parent}"))
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    jets = file.get("jets")
    if not isinstance(jets, h5py.Dataset) or jets.dtype.names is None:
        file.close()
        raise DataError(f"{path} has no table 'jets'; give a prediction file that main test wrote")
    return file


def _tables(file: Any) -> dict[str, Any]:
    return {k: v for k, v in file.items() if isinstance(v, h5py.Dataset) and v.dtype.names}


def _by_jet(table: Any, file: Any) -> bool:
    return table.ndim in (1, 2) and len(table) == len(file["jets"])


def _columns(
    question: Question, one: Any, other: Any
) -> tuple[dict[str, list[tuple[str, str]]], tuple[tuple[str, ...], tuple[str, ...]], tuple[str, ...]]:
    """For each dataset the pairs of columns to compare, what each file has alone, and what cannot be compared."""
    mine, theirs = _tables(one), _tables(other)
    left_out = [k for k in mine if k in theirs and not all(_by_jet(file[k], file) for file in (one, other))]
    shared: dict[str, list[tuple[str, str]]] = {}
    alone: tuple[list[str], list[str]] = ([], [])
    known: dict[str, bool] = {}
    for dataset in (k for k in dict.fromkeys([*mine, *theirs]) if k not in left_out):
        if dataset not in mine or dataset not in theirs:
            alone[0 if dataset in mine else 1].append(dataset)
            continue
        types, others = mine[dataset].dtype, theirs[dataset].dtype
        partner = {name: _renamed(name, question.models) for name in types.names}
        known |= {name: known.get(name, False) or _is_number(types[name]) for name in types.names}
        pairs = [(a, b) for a, b in partner.items() if b in others.names]
        alone[0].extend(f"{dataset}/{a}" for a, b in partner.items() if b not in others.names)
        alone[1].extend(f"{dataset}/{b}" for b in others.names if b not in partner.values())
        kept = [(a, b) for a, b in pairs if _is_number(types[a]) and _is_number(others[b])]
        left_out += [f"{dataset}/{a}" for a, b in pairs if (a, b) not in kept]
        kept = [(a, b) for a, b in kept if not question.columns or a in question.columns]
        if kept:
            shared[dataset] = kept
    for name in question.columns:
        if name not in known:
            raise ConfigError(unknown("column", name, sorted(known), f"in {question.one}"))
        if not known[name]:
            raise ConfigError(f"column '{name}' of {question.one} holds no numbers, which are all that can be compared")
        if not any(name == a for pairs in shared.values() for a, _ in pairs):
            raise ConfigError(f"{question.other} has no column '{name}'\n{_hint(question)}")
    return shared, (tuple(alone[0]), tuple(alone[1])), tuple(left_out)


def _renamed(name: str, models: tuple[str, str] | None) -> str:
    """The name that a column of the first file has in the second."""
    if models is None or not name.startswith(f"{models[0]}_"):
        return name
    return f"{models[1]}_{name.removeprefix(models[0] + '_')}"


def _hint(question: Question) -> str:
    if question.models is None:
        return "taggers of different names are compared by --models NAME_IN_FIRST NAME_IN_SECOND"
    return f"with --models {' '.join(question.models)}"


def _matched(question: Question, one: Any, other: Any) -> Array:
    """For each row of the first file that of the second with the same keys, -1 for none."""
    tables = []
    for path, file in ((question.one, one), (question.other, other)):
        for key in question.keys:
            if key not in file["jets"].dtype.names:
                raise ConfigError(unknown("column", key, file["jets"].dtype.names, f"in 'jets' of {path}"))
        table = _read(file["jets"], question.keys, slice(None))
        tables.append(table)
    pairs = [np.concatenate([table[key] for table in tables]) for key in question.keys]
    codes = np.stack([np.unique(values, return_inverse=True)[1] for values in pairs], axis=1)
    every, inverse = np.unique(codes, axis=0, return_inverse=True)
    mine, theirs = np.split(inverse.reshape(-1), [len(tables[0])])
    for path, numbers in ((question.one, mine), (question.other, theirs)):
        counts = np.bincount(numbers, minlength=len(every))
        if (counts > 1).any():
            keys = ", ".join(question.keys)
            raise DataError(
                f"{path} has {int((counts > 1).sum())} values of {keys} more than once; add a key that tells them apart"
            )
    place = np.full(len(every), -1, dtype=np.int64)
    place[theirs] = np.arange(len(theirs))
    order: Array = place[mine]
    return order


def _compare_dataset(
    question: Question,
    dataset: str,
    pairs: Sequence[tuple[str, str]],
    one: Any,
    other: Any,
    order: Array | None,
    marked: Array,
) -> list[ColumnDifference]:
    if one.shape[1:] != other.shape[1:]:
        width, others = ((*x.shape[1:], 1)[0] for x in (one, other))
        raise DataError(f"'{dataset}' has {width} places of a jet in {question.one}, {others} in {question.other}")
    sums = {pair: _Sum(dataset, *pair, question.tolerance) for pair in pairs}
    step = max(1, BLOCK // (one.shape[1] if one.ndim == 2 else 1))
    for start, mine, theirs in _blocks(one, other, [*sums], order, step):
        for pair, total in sums.items():
            different = total.add(start, mine[pair[0]], theirs[pair[1]])
            marked[start[different]] = True
    return [total.result() for total in sums.values()]


def _is_number(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "fiub"


def _read(table: Any, names: Sequence[str], rows: Any) -> Array:
    with plain_errors(Path(table.file.filename), "cannot be read"):
        found: Array = table.fields(list(names))[rows]
        return found


def _blocks(
    one: Any, other: Any, pairs: Sequence[tuple[str, str]], order: Array | None, step: int
) -> Iterator[tuple[Array, Array, Array]]:
    """Rows of the first file, their records, and those of the second."""
    names, partners = [a for a, _ in pairs], list(dict.fromkeys(b for _, b in pairs))
    for start in range(0, len(one) if pairs else 0, step):
        rows = np.arange(start, min(start + step, len(one)))
        mine = _read(one, names, slice(rows[0], rows[-1] + 1))
        if order is None:
            yield rows, mine, _read(other, partners, slice(rows[0], rows[-1] + 1))
            continue
        places = order[rows]
        both = places >= 0
        if both.any():
            wanted = places[both]
            low, high = int(wanted.min()), int(wanted.max()) + 1
            if high - low <= 20 * step:
                theirs = _read(other, partners, slice(low, high))[wanted - low]
            else:
                ascending, back = np.unique(wanted, return_inverse=True)
                theirs = _read(other, partners, ascending)[back]
            yield rows[both], mine[both], theirs


class _Sum:
    """The differences of one column, block after block."""

    def __init__(self, dataset: str, name: str, other: str, tolerance: float) -> None:
        self.where = (dataset, name, other)
        self.tolerance = tolerance
        self.entries = self.differing = self.finite = 0
        self.row = -1
        self.largest = self.total = 0.0
        self.values = (float("nan"), float("nan"))
        self.histogram = np.zeros(len(EDGES) + 1, dtype=np.int64)

    def add(self, rows: Array, mine: Array, theirs: Array) -> Array:
        """Takes a block in and says which of its rows differ."""
        a, b = mine.astype(np.float64), theirs.astype(np.float64)
        with np.errstate(invalid="ignore"):
            gap = np.where(a == b, 0.0, np.abs(a - b))
        if mine.dtype == theirs.dtype and mine.dtype.kind in "iu":  # Of which float64 does not hold all.
            gap = (np.maximum(mine, theirs).astype(np.uint64) - np.minimum(mine, theirs).astype(np.uint64)).astype(
                float
            )
        lone = np.isnan(a) != np.isnan(b)
        gap[np.isnan(a) & np.isnan(b)] = 0.0
        different = lone | (np.nan_to_num(gap, nan=0.0, posinf=np.inf) > self.tolerance)
        measured = gap[~lone]
        self.entries += gap.size
        self.differing += int(different.sum())
        self.finite += measured.size
        self.total += float(measured.sum())
        self.histogram[0] += int((measured == 0).sum())
        self.histogram[1:-1] += np.histogram(measured[measured > 0], EDGES)[0]
        self.histogram[-1] += int(lone.sum())
        if measured.size and (top := float(measured.max())) > self.largest:
            place = np.unravel_index(int(np.where(lone, -1.0, gap).argmax()), gap.shape)
            self.largest, self.row = top, int(rows[place[0]])
            self.values = (float(a[place]), float(b[place]))
        result: Array = different if different.ndim == 1 else different.any(axis=tuple(range(1, different.ndim)))
        return result

    def result(self) -> ColumnDifference:
        """What was found."""
        mean = self.total / self.finite if self.finite else float("nan")
        dataset, name, other = self.where
        return ColumnDifference(
            dataset,
            name,
            other,
            self.entries,
            self.differing,
            self.largest,
            self.row,
            self.values,
            mean,
            tuple(int(n) for n in self.histogram),
        )
