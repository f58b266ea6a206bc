"""One pass over some jets before training: means, deviations, class counts, and fingerprints of jets."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from salt.data.packing import Packed
from salt.data.reader import Array
from salt.data.source import Source
from salt.errors import DataError
from salt.inputs import JETS, Target
from salt.statistics import Scale

SURVEY_JETS = 100_000
SURVEY_BLOCK = 1_000
NUMBERS = ("eventNumber", "jetNumber")
"""The fields that together tell jets apart."""


@dataclass(frozen=True)
class Measure:
    """What is known of one variable after some rows.

    Args:
        count: Number of values.
        mean: Their mean.
        squares: The sum of their squared distances from it.
        low: The smallest.
        high: The largest.
        usual: The value that was most frequent among the first ones; None before any.
        usual_count: How often it occurs.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = np.inf
    high: float = -np.inf
    usual: float | None = None
    usual_count: int = 0

    def add(self, values: Array) -> "Measure":
        """With further values; Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm (1979)."""
        if not len(values):
            return self
        new = values.astype(np.float64)
        mean, count = float(new.mean()), self.count + len(new)
        shift = mean - self.mean
        usual = self.usual
        if usual is None:
            distinct, times = np.unique(new, return_counts=True)
            usual = float(distinct[times.argmax()])
        return Measure(
            count,
            self.mean + shift * len(new) / count,
            self.squares + float(np.square(new - mean).sum()) + shift**2 * self.count * len(new) / count,
            min(self.low, float(new.min())),
            max(self.high, float(new.max())),
            usual,
            self.usual_count + int(np.count_nonzero(new == usual)),
        )

    @property
    def scale(self) -> Scale:
        """Mean and standard deviation of these values, which is exactly 0 for a constant."""
        return Scale(self.mean, 0.0 if self.low == self.high else (self.squares / self.count) ** 0.5)


@dataclass(frozen=True)
class Survey:
    """What a pass over some jets of a source has found.

    Args:
        num_jets: How many were read.
        measures: For each input and variable its measure, over real constituents only.
        class_counts: For each target of kind ``class`` how often each class occurs.
        numbers: For each target of kind ``number`` the measure of its finite values, of their logarithm if asked.
        fingerprints: One number for each jet, equal for equal jets; ascending.
    """

    num_jets: int
    measures: Mapping[str, Mapping[str, Measure]]
    class_counts: Mapping[Target, tuple[int, ...]]
    numbers: Mapping[Target, Measure]
    fingerprints: Array

    @property
    def constituents_per_jet(self) -> float:
        """How many real constituents a jet has on average, of all inputs together."""
        counts = [next(iter(found.values())).count for name, found in self.measures.items() if name != JETS]
        return sum(counts) / max(self.num_jets, 1)


def has_numbers(source: Source) -> bool:
    """Whether all files have the fields that tell jets apart."""
    return set(NUMBERS) <= set(source.fields(source.inputs[JETS].dataset_of(JETS)))


def survey(
    source: Source,
    by_number: bool | None,
    most: int = SURVEY_JETS,
    told: Callable[[float], object] = lambda jets: None,
) -> Survey:
    """Reads at most `most` jets in evenly spread blocks, or all if there are fewer.

    Args:
        source: The jets.
        by_number: Whether jets are told apart by event and jet number; otherwise by what is read of them. None makes
            no fingerprints, and the memory does not grow with the jets then.
        most: How many to read.
        told: Is told how many more have been read.

    Raises:
        DataError: A value or a label that is read cannot be used.
    """
    measures = {name: {v: Measure() for v in spec.variables} for name, spec in source.inputs.items()}
    counts = {t: np.zeros(len(t.classes), dtype=np.int64) for t in source.targets if t.kind == "class"}
    numbers = {t: Measure() for t in source.targets if t.kind == "number"}
    prints = [np.empty(0, dtype=np.uint64)]
    num_jets = 0
    for positions in spread_blocks(source.num_jets, most):
        packed = source.pack(positions)
        num_jets += len(positions)
        for name, part in packed.parts.items():
            for i, variable in enumerate(source.inputs[name].variables):
                measures[name][variable] = measures[name][variable].add(part.values[:, i])
            for target, values in part.labels.items():
                if target.kind == "class":
                    counts[target] += np.bincount(values[values >= 0], minlength=len(target.classes))
                elif target.kind == "number":
                    finite = values[np.isfinite(values)].astype(np.float64)
                    numbers[target] = numbers[target].add(np.log(finite) if target.log else finite)
        if by_number is not None:
            prints.append(_number_prints(source, packed) if by_number else _content_prints(packed))
        told(len(positions))
    return Survey(
        num_jets=num_jets,
        measures=measures,
        class_counts={target: tuple(int(n) for n in found) for target, found in counts.items()},
        numbers=numbers,
        fingerprints=np.sort(np.concatenate(prints)),
    )


def spread_blocks(num_jets: int, most: int) -> Iterator[Array]:
    """Positions in evenly spread blocks of 1000, at most `most` of them; all if there are fewer."""
    block = min(SURVEY_BLOCK, most)
    if num_jets <= most:
        starts: Sequence[int] = range(0, num_jets, block)
    else:
        starts = [int(s) for s in np.linspace(0, num_jets - block, most // block)]
    for start in starts:
        yield np.arange(start, min(start + block, num_jets))


def scales_of(found: Survey, where: str) -> dict[str, dict[str, Scale]]:
    """The normalisation that was measured.

    Raises:
        DataError: A variable is constant, or an input has no constituent at all.
    """
    for name, variables in found.measures.items():
        for variable, measure in variables.items():
            if measure.count == 0:
                raise DataError(
                    f"{where}: input '{name}' has no constituents in {found.num_jets} jets, so nothing can be measured"
                )
            if measure.scale.std == 0:
                raise DataError(
                    f"{where}: variable '{variable}' of input '{name}' is {measure.mean:g} in all of {found.num_jets} "
                    "jets, so it cannot be normalised; leave it out or give data.norm_dict"
                )
    return {name: {v: m.scale for v, m in variables.items()} for name, variables in found.measures.items()}


def number_scales(found: Survey, where: str) -> dict[Target, Scale]:
    """Mean and standard deviation of each target that is a number.

    Raises:
        DataError: A target has no value, or a constant one.
    """
    for target, measure in found.numbers.items():
        if measure.count == 0 or measure.scale.std == 0:
            what = "is never there" if measure.count == 0 else "is constant"
            raise DataError(
                f"{where}: label '{target.variable}' of input '{target.input}' {what} in {found.num_jets} jets, "
                "so there is nothing to learn"
            )
    return {target: measure.scale for target, measure in found.numbers.items()}


def _number_prints(source: Source, packed: Packed) -> Array:
    ids = source.read(source.inputs[JETS].dataset_of(JETS), packed.rows, NUMBERS)
    return _mix(np.stack([ids[name].astype(np.int64).view(np.uint64) for name in NUMBERS], axis=1))


def _content_prints(packed: Packed) -> Array:
    """Fingerprints of all variables of all inputs of each jet."""
    columns = []
    for name in sorted(packed.parts):
        part = packed.parts[name]
        words = _mix(np.ascontiguousarray(part.values).view(np.uint32).astype(np.uint64))
        starts = np.cumsum(part.counts) - part.counts
        place = np.arange(len(words)) - np.repeat(starts, part.counts)
        totals = np.zeros(len(part.counts), dtype=np.uint64)
        jets = np.repeat(np.arange(len(part.counts)), part.counts)
        np.add.at(totals, jets, _mix(np.stack([words, place.astype(np.uint64)], axis=1)))
        columns.append(totals)
    return _mix(np.stack(columns, axis=1))


def _mix(words: Array) -> Array:
    """[N, K] words to N well mixed ones (the finaliser of SplitMix64; Steele, Lea and Flood 2014)."""
    state = np.full(len(words), 0x9E3779B97F4A7C15, dtype=np.uint64)
    for column in words.T:
        state = (state ^ column) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return state
