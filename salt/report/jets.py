"""The jets of one tagger in memory, and what is computed from their scores."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salt.rejection import Floats, Fractions, Rejection, discriminant, rejection
from salt.report.shares import Ints, Share, count_in_bins

WORKING_POINTS = (0.60, 0.65, 0.70, 0.77, 0.85)
"""The b-efficiencies at which rejections are tabled."""

EFFICIENCIES: Floats = np.linspace(0.5, 1.0, 101)
"""The b-efficiencies at which curves are drawn."""

SIGNAL = "bjets"
BACKGROUNDS = ("cjets", "ujets", "taujets")
NEEDED = ("bjets", "cjets", "ujets")
"""The classes without which there is no b-tagging discriminant."""

DISCRIMINANT_BINS = 80
SCORE_BINS: Floats = np.linspace(0, 1, 51)
CALIBRATION_BINS: Floats = np.linspace(0, 1, 21)


@dataclass(frozen=True, eq=False)
class Jets:
    """The scored jets of a tagger.

    Args:
        classes: The classes of the tagger.
        probabilities: [C, B] float32, all finite.
        flavours: Names of the true classes, which may be others than those of the tagger.
        truth: [B] index of the true class among the flavours, -1 for none of them.
        variables: [B] each, such as ``pt`` in GeV.
        unscored: How many more jets the file has, which were not scored.
    """

    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]
    flavours: tuple[str, ...]
    truth: NDArray[np.int8]
    variables: Mapping[str, Floats]
    unscored: int = 0

    def are(self, flavour: str) -> NDArray[np.bool_]:
        """[B] whether the jets are of a true class."""
        index = self.flavours.index(flavour) if flavour in self.flavours else -2
        mask: NDArray[np.bool_] = self.truth == index
        return mask

    def p(self, name: str) -> NDArray[np.float32]:
        """[B] the probability of a class."""
        row: NDArray[np.float32] = self.probabilities[self.classes.index(name)]
        return row

    @property
    def counts(self) -> dict[str, int]:
        """How many jets there are of each true class that occurs."""
        found = np.bincount(self.truth[self.truth >= 0], minlength=len(self.flavours))
        return {name: int(n) for name, n in zip(self.flavours, found, strict=True) if n}


def scores_of(jets: Jets, fractions: Fractions) -> Floats:
    """[B] the b-tagging discriminant of a tagger with the classes of b-, c- and light jets."""
    tau = jets.p("taujets") if "taujets" in jets.classes else None
    return discriminant(jets.p("bjets"), jets.p("cjets"), jets.p("ujets"), tau, fractions)


@dataclass(frozen=True, eq=False)
class Profile:
    """How a cut that is the same everywhere does in bins of a variable.

    Args:
        variable: ``pt`` or ``eta``.
        edges: [K + 1].
        shares: For each true class the share of jets that pass.
    """

    variable: str
    edges: Floats
    shares: Mapping[str, Share]


@dataclass(frozen=True, eq=False)
class Tagging:
    """What the discriminant of a tagger does.

    Args:
        fractions: Those of the discriminant.
        curves: For each background the rejection at all `EFFICIENCIES`.
        points: For each background the rejection at the `WORKING_POINTS`.
        working_point: The b-efficiency of the cut of the profiles.
        profiles: For each variable the efficiencies of that cut.
        edges: [K + 1] bins of the discriminant.
        histograms: For each true class the number of jets in the bins; the first and last one hold what lies outside.
    """

    fractions: Fractions
    curves: Mapping[str, Rejection]
    points: Mapping[str, Rejection]
    working_point: float
    profiles: tuple[Profile, ...]
    edges: Floats
    histograms: Mapping[str, Ints]


def measure_tagging(
    jets: Jets, fractions: Fractions, working_point: float, bins: Mapping[str, Floats], edges: Floats | None = None
) -> Tagging:
    """Rejections, profiles and distributions of the discriminant.

    Args:
        jets: Jets of a tagger with the classes of b-, c- and light jets, b-jets and others among them.
        fractions: Those of the discriminant.
        working_point: The b-efficiency of the cut of the profiles.
        bins: For each variable of the profiles the edges of its bins.
        edges: Bins of the discriminant; chosen to hold all but one jet in a thousand on each side if not given.
    """
    score = scores_of(jets, fractions)
    signal = score[jets.are(SIGNAL)]
    present = jets.counts
    backgrounds = {name: score[jets.are(name)] for name in BACKGROUNDS if name in present}
    cut = next(iter(rejection(signal, b, working_point).cut[0] for b in backgrounds.values()))
    passing = score >= cut
    masks = {name: jets.are(name) for name in (SIGNAL, *backgrounds)}
    profiles = tuple(
        Profile(
            variable,
            limits,
            {n: count_in_bins(jets.variables[variable][m], limits, passing[m]) for n, m in masks.items()},
        )
        for variable, limits in bins.items()
        if variable in jets.variables
    )
    if edges is None:
        low, high = np.quantile(score, [0.001, 0.999])
        edges = np.linspace(low, high if high > low else low + 1, DISCRIMINANT_BINS + 1)
    inside = score.clip(edges[0], edges[-1])
    return Tagging(
        fractions,
        {name: rejection(signal, b, EFFICIENCIES) for name, b in backgrounds.items()},
        {name: rejection(signal, b, np.array(WORKING_POINTS)) for name, b in backgrounds.items()},
        working_point,
        profiles,
        edges,
        {name: _histogram(inside[mask], edges) for name, mask in masks.items()},
    )


@dataclass(frozen=True, eq=False)
class Reliability:
    """How often jets are what a probability says, in bins of that probability.

    Args:
        predicted: [K] mean probability of the jets in each bin, NaN in an empty one.
        observed: [K] how many jets of each bin are of the class.
    """

    predicted: Floats
    observed: Share

    @property
    def expected_error(self) -> float:
        """The mean of |predicted - observed| over all jets: 0 for a calibrated probability."""
        total = self.observed.total
        gap = np.abs(np.nan_to_num(self.predicted) - np.nan_to_num(self.observed.value))
        return float((gap * total).sum() / max(1, total.sum()))


@dataclass(frozen=True, eq=False)
class Classes:
    """What the probabilities of a classification are worth, of jets or of constituents.

    Args:
        classes: The C classes of the tagger.
        confusion: [C, C] objects of each true class (rows) for which each class is the most probable one (columns).
    """

    classes: tuple[str, ...]
    confusion: Ints

    @property
    def shares(self) -> Floats:
        """[C, C] the rows normalised to 1, NaN for a class that does not occur."""
        total = self.confusion.sum(1, keepdims=True)
        out: Floats = np.full(self.confusion.shape, np.nan)
        np.divide(self.confusion, total, out=out, where=total > 0)
        return out

    @property
    def accuracy(self) -> float:
        """The share of objects whose true class is the most probable one; NaN without any."""
        total = int(self.confusion.sum())
        return float(np.trace(self.confusion) / total) if total else float("nan")


def confusion(probabilities: NDArray[np.float32], truth: NDArray[np.int8]) -> Ints:
    """[C, C] from [C, N] probabilities and [N] true classes, -1 for none."""
    num = len(probabilities)
    known = truth >= 0
    found = probabilities[:, known].argmax(0)
    cells = np.bincount(truth[known].astype(np.int64) * num + found, minlength=num * num)
    counts: Ints = cells.reshape(num, num).astype(np.int64)
    return counts


def truth_among(jets: Jets) -> NDArray[np.int8]:
    """[B] the true class as an index among the classes of the tagger, -1 for none of them."""
    table = np.full(len(jets.flavours) + 1, -1, dtype=np.int8)
    for i, flavour in enumerate(jets.flavours):
        if flavour in jets.classes:
            table[i] = jets.classes.index(flavour)
    out: NDArray[np.int8] = table[jets.truth]
    return out


def score_histograms(jets: Jets) -> dict[str, dict[str, Ints]]:
    """For each class of the tagger, and each true class that occurs, the jets in the `SCORE_BINS`."""
    masks = {name: jets.are(name) for name in jets.counts}
    return {c: {name: _histogram(jets.p(c)[mask], SCORE_BINS) for name, mask in masks.items()} for c in jets.classes}


def reliability(jets: Jets) -> dict[str, Reliability]:
    """The reliability of each probability in the `CALIBRATION_BINS`, over jets of the classes of the tagger."""
    truth = truth_among(jets)
    known = truth >= 0
    num = len(CALIBRATION_BINS) - 1
    found = {}
    for index, name in enumerate(jets.classes):
        p = jets.probabilities[index, known].astype(np.float64)
        place = np.searchsorted(CALIBRATION_BINS[1:-1], p)
        total = np.bincount(place, minlength=num)
        right = np.bincount(place[truth[known] == index], minlength=num)
        mean = np.bincount(place, weights=p, minlength=num) / np.where(total > 0, total, np.nan)
        found[name] = Reliability(mean, Share(right.astype(np.int64), total.astype(np.int64)))
    return found


def _histogram(values: NDArray[np.floating], edges: Floats) -> Ints:
    return np.histogram(values, edges)[0].astype(np.int64)
