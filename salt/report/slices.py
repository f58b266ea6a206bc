"""Jets in slices of one of their variables."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from salt.errors import ConfigError, DataError
from salt.metrics import Scratch
from salt.metrics.lists import PIECE, AnyList, Counted, sweep, totals
from salt.report.files import Array
from salt.report.shares import Ints

FEW = 50
"""An integer with at most so many different values is sliced by value where nothing else is asked for."""

MOST = 400
"""Slices; more can neither be drawn nor read."""


@dataclass(frozen=True)
class Wanted:
    """How jets are to be sliced; nothing given: by value for an integer with few values, else in tenths.

    Args:
        edges: Edges of the slices.
        quantiles: So many slices with about as many jets each.
        distinct: A slice for each value.
    """

    edges: tuple[float, ...] | None = None
    quantiles: int | None = None
    distinct: bool = False


@dataclass(frozen=True, eq=False)
class Slices:
    """Slices of a variable.

    Args:
        variable: Its name.
        unit: Its unit, where that is known.
        low: [K] the smallest value of each.
        high: [K] what lies in the next one, and in the last one is in it; the same as `low` for slices of one value.
    """

    variable: str
    unit: str
    low: Array
    high: Array

    def __len__(self) -> int:
        return len(self.low)

    @property
    def distinct(self) -> bool:
        """Whether each is of one value."""
        return bool((self.low == self.high).all())

    @property
    def labels(self) -> list[str]:
        """What each is called, such as ``20 to 35`` or ``7``."""
        if self.distinct:
            return [f"{value:.6g}" if self.low.dtype.kind == "f" else str(value) for value in self.low.tolist()]
        return [f"{a:.6g} to {b:.6g}" for a, b in zip(self.low, self.high, strict=True)]

    def of(self, values: Array) -> Ints:
        """[B] the number of the slice of each value, -1 for none."""
        place: Ints = np.searchsorted(self.low, values, side="right").astype(np.int64) - 1
        inside = (place >= 0) & ~np.isnan(values)
        if self.distinct:
            inside &= values == self.low[place]
        else:
            inside &= values <= self.high[-1]
        return np.where(inside, place, -1)


def make_slices(variable: str, unit: str, wanted: Wanted, values: Iterable[Array], folder: Path) -> Slices:
    """Chooses slices by all jets.

    Args:
        variable: Its name.
        unit: Its unit.
        wanted: How.
        values: The variable of all jets, in parts.
        folder: Where there is room for a file without a name.

    Raises:
        ConfigError: Edges that do not ascend, or too many slices.
        DataError: There are no values.
    """
    if wanted.edges is not None:
        edges = np.array(wanted.edges, dtype=np.float64)
        if len(edges) < 2 or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
            raise ConfigError("--edges are those of slices: at least two numbers, each larger than the one before")
        return _between(variable, unit, edges)
    if wanted.quantiles is not None and not 1 <= wanted.quantiles <= MOST:
        raise ConfigError(f"--quantiles is {wanted.quantiles}; it is a number of slices from 1 to {MOST}")
    lists = _sorted(values, Scratch(folder))
    total = int(totals(lists)[0]) if lists else 0
    if not total:
        raise DataError(f"no judged jet has a value of '{variable}'")
    whole = all(each.read(0, 1).value.dtype.kind != "f" for each in lists)
    if wanted.distinct or (wanted.quantiles is None and whole):
        found = _values(lists, MOST if wanted.distinct else FEW)
        if found is not None:
            return Slices(variable, unit, found, found)
        if wanted.distinct:
            raise ConfigError(f"'{variable}' has more than {MOST} different values; give --quantiles or --edges")
    edges = _quantiles(lists, wanted.quantiles or 10, total)
    return _between(variable, unit, edges) if len(edges) > 1 else Slices(variable, unit, edges, edges)


def _between(variable: str, unit: str, edges: Array) -> Slices:
    return Slices(variable, unit, edges[:-1], edges[1:])


def _sorted(values: Iterable[Array], scratch: Scratch) -> list[AnyList]:
    """Lists of all values that are numbers, of which few are in memory."""
    lists: list[AnyList] = []
    waiting: list[Counted] = []
    for part in values:
        known, counts = np.unique(part[~np.isnan(part)], return_counts=True)
        waiting.append(Counted(known, counts[:, None]))
        if sum(map(len, waiting)) >= PIECE:
            lists.append(scratch.keep(Counted.joined(waiting)))
            waiting = []
    lists += [Counted.joined(waiting)] if waiting else []
    return [each for each in lists if len(each)]


def _values(lists: Sequence[AnyList], most: int) -> Array | None:
    """All different values, None if they are more than so many."""
    found: list[Array] = []
    for piece in sweep(lists):
        found.append(piece.value)
        if sum(map(len, found)) > most:
            return None
    return np.concatenate(found)


def _quantiles(lists: Sequence[AnyList], number: int, total: int) -> Array:
    """Edges of slices: the smallest value, those at ranks that are multiples of total / number, and the largest."""
    ranks = [min(-(-k * total // number), total - 1) for k in range(number)] + [total - 1]
    return np.unique(np.array(list(_at(lists, ranks)), dtype=np.float64))


def _at(lists: Sequence[AnyList], ranks: Sequence[int]) -> Iterator[float]:
    """The values at ranks from 0, ascending."""
    below, wanted = 0.0, iter(ranks)
    rank = next(wanted, None)
    for piece in sweep(lists):
        up_to = below + piece.weight[:, 0].cumsum()
        while rank is not None and rank < up_to[-1]:
            yield float(piece.value[np.searchsorted(up_to, rank, side="right")])
            rank = next(wanted, None)
        below = float(up_to[-1])
