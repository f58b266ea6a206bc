"""How well a tagger does in slices of a variable, counted in one pass over a file of any size."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from salt.errors import ConfigError, DataError, unknown
from salt.inputs import JETS
from salt.metrics import Scores, Scratch, WorkingPoints
from salt.metrics.lists import PIECE, AnyList, sweep, totals
from salt.metrics.working_points import passing
from salt.rejection import Floats, Fractions
from salt.report.constituents import IN_GEV
from salt.report.files import BLOCK, Array, Predictions
from salt.report.jets import NEEDED, SIGNAL
from salt.report.measure import UNLABELLED, jet_label, truth_codes
from salt.report.shares import Ints, Share
from salt.report.slices import Slices, Wanted, make_slices

ALSO_CALLED = {
    "run_number": ("runNumber",),
    "event_number": ("eventNumber",),
    "mu": ("averageInteractionsPerCrossing", "actualInteractionsPerCrossing", "averageMu", "actualMu"),
}
"""What variables are called in files, where it is not what people call them."""

NAN = float("nan")

_SCRATCH = Path()
"""Where files without a name are made for what many jets need: where the command is given, as results are written."""


@dataclass(frozen=True)
class Question:
    """What is asked of prediction files.

    Args:
        variable: The variable of jets by which they are sliced.
        wanted: How.
        efficiencies: Shares of b-jets that cuts keep.
        fractions: Those of the discriminant.
        label: Variable of jets that says the true class; chosen if not given.
        own_cut: Whether each slice has a cut of its own that keeps the share of b-jets; else one cut is that of all.
    """

    variable: str
    wanted: Wanted = field(default_factory=Wanted)
    efficiencies: tuple[float, ...] = (0.7,)
    fractions: Fractions = field(default_factory=Fractions)
    label: str | None = None
    own_cut: bool = False


@dataclass(frozen=True)
class Value:
    """A number with its statistical error.

    Args:
        value: NaN where there is nothing to measure, or no background passes.
        error: NaN where it is not known.
        more_than: What a rejection exceeds at 95% confidence where no background passes; NaN otherwise.
    """

    value: float
    error: float = NAN
    more_than: float = NAN


@dataclass(frozen=True, eq=False)
class Measured:
    """What is known of the jets of a slice, or of all.

    Args:
        counts: Jets of each class.
        values: Numbers by their names.
    """

    counts: Mapping[str, int]
    values: Mapping[str, Value]

    @property
    def jets(self) -> int:
        """All jets."""
        return sum(self.counts.values())


@dataclass(frozen=True, eq=False)
class Backtest:
    """A tagger in slices.

    Args:
        name: What it is called.
        path: The prediction file.
        label: The variable that says the true class.
        slices: In the order of the slices.
        whole: All jets in slices together.
        outside: Judged jets that are in no slice.
        left_out: Jets that were not scored, or are of no class of the tagger.
        notes: What a reader should know of the numbers.
    """

    name: str
    path: Path
    label: str
    slices: tuple[Measured, ...]
    whole: Measured
    outside: int
    left_out: int
    notes: tuple[str, ...]


class Judged:
    """The jets of one tagger in a prediction file that can be judged, in blocks.

    Args:
        file: The file.
        tagger: The prefix of its columns.
        question: What is asked.

    Raises:
        DataError: A variable, a label or the probabilities are missing.
    """

    def __init__(self, file: Predictions, tagger: str, question: Question) -> None:
        self.file = file
        self.label, self._names, self._columns = jet_label(file, tagger, question.label)
        if not self._columns:
            raise DataError(f"{file.path}: {UNLABELLED if not self.label else f'no probabilities of {tagger}'}")
        self.classes = tuple(self._columns)
        self.variable = _variable(file, question.variable)
        self.factor, self.unit, note = _unit(file, self.variable)
        self.notes = [each for each in (file.doubt, note) if each]
        self.points = _points(self.classes, question)
        if self.points is None:
            lacking = ", ".join(name for name in NEEDED if name not in self.classes)
            self.notes.append(f"no rejections: {tagger} has no probability of {lacking}")

    def blocks(self) -> Iterator[tuple[Array, NDArray[np.float32], NDArray[np.int8]]]:
        """The variable [n], the probabilities [n, C] and the true classes [n] of judged jets, block by block."""
        fields = list(dict.fromkeys([self.variable, self.label, *self._columns.values()]))
        for _, block in self.file.blocks(JETS, fields):
            truth = truth_codes(block[self.label], self._names, self.classes)
            p = np.stack([block[column].astype(np.float32) for column in self._columns.values()], axis=1)
            kept = (truth >= 0) & np.isfinite(p).all(1)
            yield self._values(block[self.variable][kept]), p[kept], truth[kept]

    def slices(self, wanted: Wanted) -> Slices:
        """The slices that these jets are cut into."""
        return make_slices(self.variable, self.unit, wanted, (values for values, *_ in self.blocks()), _SCRATCH)

    def _values(self, values: Array) -> Array:
        if values.dtype.kind in "iub" and self.factor == 1:
            return values.astype(np.int64)
        found: Array = values.astype(np.float64) * self.factor
        return found


def measure(judged: Judged, name: str, slices: Slices, question: Question) -> Backtest:
    """Counts what a tagger does in each slice.

    Args:
        judged: The jets.
        name: What the tagger is called.
        slices: Where they are cut.
        question: What is asked.

    Raises:
        DataError: No jet lies in a slice.
    """
    kept = _Kept(len(slices), judged.classes, judged.points, Scratch(_SCRATCH))
    outside = inside = 0
    for values, p, truth in judged.blocks():
        place = slices.of(values)
        kept.add(place, p, truth)
        outside += int((place < 0).sum())
        inside += int((place >= 0).sum())
    if not inside:
        raise DataError(f"{judged.file.path}: none of the judged jets lies in a slice of '{slices.variable}'")
    every = [kept.scores(k) for k in range(len(slices))]
    whole = Scores.merged([each for each in every if each is not None])
    cuts = None if judged.points is None or question.own_cut else _cuts(judged.points, whole)
    measured = [kept.measured([k], scores, cuts) for k, scores in enumerate(every)]
    return Backtest(
        name,
        judged.file.path,
        judged.label,
        tuple(measured),
        kept.measured(range(len(slices)), whole, cuts),
        outside,
        judged.file.num_jets - inside - outside,
        tuple(judged.notes),
    )


class _Kept:
    """What is kept of the jets of each slice until all are read; of most of them in a file."""

    def __init__(self, number: int, classes: tuple[str, ...], points: WorkingPoints | None, scratch: Scratch) -> None:
        self._classes = classes
        self._points = points
        self._scratch = scratch
        self._parts: list[list[Scores]] = [[] for _ in range(number)]
        self._confusion = np.zeros((number, len(classes), len(classes)), dtype=np.int64)
        self._entries = 0

    def add(self, place: Ints, p: NDArray[np.float32], truth: NDArray[np.int8]) -> None:
        """Takes jets in, by the number of their slice."""
        order = np.argsort(place, kind="stable")
        place, p, truth = place[order], p[order], truth[order]
        guess = p.argmax(1)
        for k in np.unique(place[place >= 0]):
            chosen = slice(*np.searchsorted(place, [k, k + 1]))
            np.add.at(self._confusion[k], (truth[chosen], guess[chosen]), 1)
            tensors = torch.from_numpy(p[chosen]), torch.from_numpy(truth[chosen])
            self._parts[k].append(Scores.of(*tensors, self._classes, self._points))
        self._entries += len(p)
        if self._entries >= PIECE:
            self._parts = [[Scores.merged(each).spilt(self._scratch)] if each else [] for each in self._parts]
            self._entries = 0

    def scores(self, k: int) -> Scores | None:
        """Those of the jets in a slice, None without any."""
        return Scores.merged(self._parts[k]) if self._parts[k] else None

    def measured(self, chosen: Sequence[int], scores: Scores | None, cuts: Floats | None) -> Measured:
        """The numbers of some slices together."""
        confusion = self._confusion[list(chosen)].sum(0)
        counts = {name: int(n) for name, n in zip(self._classes, confusion.sum(1), strict=True)}
        right, total = int(np.trace(confusion)), int(confusion.sum())
        values = {"accuracy": _of_share(right, total)}
        if scores is None:
            return Measured(counts, values)
        errors = scores.errors()
        found = {name: Value(value, errors.get(name, NAN)) for name, value in scores.values().items()}
        areas = {name: value for name, value in found.items() if name.startswith("auc")}
        return Measured(counts, {**values, **areas, **self._cut(scores, cuts)})

    def _cut(self, scores: Scores, cuts: Floats | None) -> dict[str, Value]:
        """Efficiencies and rejections at cuts, or at those of the slice where none are given."""
        if self._points is None or scores.cuts is None:
            return {}
        lists, wanted = scores.cuts.lists(0), np.array(self._points.efficiencies)
        if cuts is None:
            own = passing(self._points, lists, wanted)
            cuts = next((each.cut for each in own.values()), None)
            if cuts is None:
                return {}
        passed, total = _passing(lists, cuts)
        found = {}
        for e, efficiency in enumerate(self._points.efficiencies):
            for c, name in enumerate(self._classes):
                if name == self._points.signal:
                    key = self._points.name(name, efficiency).replace("rejection_", "efficiency_", 1)
                    found[key] = _of_share(int(passed[e, c]), int(total[c]))
                else:
                    found[self._points.name(name, efficiency)] = _of_inverse(int(passed[e, c]), int(total[c]))
        return found


def _cuts(points: WorkingPoints, scores: Scores) -> Floats | None:
    """[E] the cuts that keep the wanted shares of the signal, None without signal or background."""
    assert scores.cuts is not None
    found = passing(points, scores.cuts.lists(0), np.array(points.efficiencies))
    return next((each.cut for each in found.values()), None)


def _passing(lists: Sequence[AnyList], cuts: Floats) -> tuple[Floats, Floats]:
    """How many entries of each kind pass each cut [E, C], and how many there are [C]."""
    total = totals(lists)
    passed = np.zeros((len(cuts), len(total)))
    for piece in sweep(lists):
        passed += (piece.value >= cuts[:, None]).astype(np.float64) @ piece.weight
    return passed, total


def _of_share(passed: int, total: int) -> Value:
    share = Share(np.array([passed]), np.array([total]))
    return Value(float(share.value[0]), float(share.error[0]))


def _of_inverse(passed: int, total: int) -> Value:
    share = Share(np.array([passed]), np.array([total]))
    if passed:
        return Value(float(share.inverse[0]), float(share.inverse_error[0]))
    return Value(NAN, NAN, float(share.inverse_limit[0]))


def _variable(file: Predictions, asked: str) -> str:
    fields = file.fields(JETS)
    found = next((name for name in (asked, *ALSO_CALLED.get(asked, ())) if name in fields), None)
    if found is None:
        doubt = f"\n{file.doubt}" if file.doubt else ""
        raise DataError(unknown("variable", asked, fields, f"in '{JETS}' of {file.path} and its test files") + doubt)
    if file.dtype(JETS, found).kind not in "iufb":
        raise DataError(f"'{found}' of '{JETS}' in {file.path} is no number, so jets cannot be sliced by it")
    return found


def _unit(file: Predictions, variable: str) -> tuple[float, str, str]:
    """What a variable is multiplied with, its unit then, and a note if that is a guess."""
    named = file.unit(JETS, variable)
    if named in IN_GEV:
        return IN_GEV[named], "GeV", ""
    if named or variable != "pt" or not file.num_jets:
        return 1.0, named, ""
    median = float(np.nanmedian(file.read(JETS, [variable], 0, min(BLOCK, file.num_jets))[variable]))
    unit, factor = ("MeV", 1e-3) if median > 1000 else ("GeV", 1.0)
    return factor, "GeV", f"pt is taken to be in {unit}: its median is {median:.4g}, and no file names the unit"


def _points(classes: tuple[str, ...], question: Question) -> WorkingPoints | None:
    for efficiency in question.efficiencies:
        if not 0 < efficiency <= 1:
            raise ConfigError(f"--efficiency is {efficiency:g}; it must be above 0 and at most 1")
    if any(name not in classes for name in NEEDED):
        return None
    f = question.fractions
    if f.tau and "taujets" not in classes:
        raise ConfigError(f"f_tau is {f.tau}, but the tagger has no probability of tau-jets; leave f_tau at 0")
    fractions: dict[str, Any] = {"cjets": f.c, "ujets": 1 - f.c - f.tau}
    if "taujets" in classes:
        fractions["taujets"] = f.tau
    return WorkingPoints(classes, SIGNAL, tuple(dict.fromkeys(question.efficiencies)), fractions)
