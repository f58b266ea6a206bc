"""All numbers of one tagger in one prediction file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from salt.errors import DataError, unknown
from salt.inputs import JETS
from salt.rejection import Floats, Fractions
from salt.report.constituents import IN_GEV, Constituents, JetTruth, measure_constituents
from salt.report.files import Array, Predictions, classes_of
from salt.report.flavours import in_order
from salt.report.jets import (
    BACKGROUNDS,
    NEEDED,
    SIGNAL,
    Classes,
    Jets,
    Reliability,
    Tagging,
    confusion,
    measure_tagging,
    reliability,
    score_histograms,
    truth_among,
)
from salt.report.residuals import Residuals, measure_residuals
from salt.report.shares import Ints

PT_EDGES: Floats = np.array([0, 20, 30, 40, 60, 85, 110, 140, 175, 250, 400, 600, 1000, 1500, 2000, 3000, 6000.0])
"""GeV; those in which there are enough jets are used."""

ETA_EDGES: Floats = np.linspace(-2.5, 2.5, 11)

FEWEST = 50
"""Signal jets in a bin; thinner bins at the ends of a spectrum are joined with their neighbours."""


UNLABELLED = (
    "no file says of which class the jets are; main test writes HadronConeExclTruthLabelID if the variables of the "
    "PredictionWriter name it"
)


@dataclass(frozen=True)
class Wishes:
    """What a user chooses.

    Args:
        working_point: The b-efficiency of profiles.
        fractions: Those of the discriminant, by tagger; what is not named has `usual`.
        usual: Fractions of all others.
        label: Variable of jets that says the true class; chosen if not given.
        pt_edges: Bins of pt in GeV; chosen if not given.
        vertex_share: A vertex is found if more than this share of its constituents make more than this share of a
            group.
    """

    working_point: float = 0.7
    fractions: Mapping[str, Fractions] = field(default_factory=dict)
    usual: Fractions = field(default_factory=Fractions)
    label: str | None = None
    pt_edges: tuple[float, ...] | None = None
    vertex_share: float = 0.5

    def of(self, tagger: str) -> Fractions:
        """The fractions of a tagger."""
        return self.fractions.get(tagger, self.usual)


@dataclass(frozen=True, eq=False)
class Measured:
    """All numbers of a tagger in one sample.

    Args:
        name: What it is called in the report.
        tagger: The prefix of its columns.
        path: The prediction file.
        label: The variable of jets that says the true class.
        counts: Scored jets of each true class.
        unscored: Jets that were not scored.
        unknown: Scored jets of no known class.
        tagging: What the discriminant does.
        classes: How well the classes of jets are told apart.
        scores: For each class and true class the jets in bins of the probability.
        reliability: For each class.
        constituents: For each dataset of constituents.
        residuals: For each regressed variable.
        pt_edges: Bins of pt in GeV.
        reasons: Why something is not known, by panel.
        notes: What a reader should know of the numbers.
    """

    name: str
    tagger: str
    path: Path
    label: str
    counts: Mapping[str, int]
    unscored: int
    unknown: int
    tagging: Tagging | None
    classes: Classes | None
    scores: Mapping[str, Mapping[str, Ints]]
    reliability: Mapping[str, Reliability]
    constituents: tuple[Constituents, ...]
    residuals: tuple[Residuals, ...]
    pt_edges: Floats
    reasons: Mapping[str, str]
    notes: tuple[str, ...]


def measure(file: Predictions, tagger: str, name: str, wishes: Wishes, pt_edges: Floats | None = None) -> Measured:
    """Reads what is needed of the jets of a file, and counts.

    Args:
        file: The prediction file.
        tagger: Prefix of the columns.
        name: What the tagger is called.
        wishes: What the user chooses.
        pt_edges: Bins of pt in GeV that other taggers of the sample have.

    Raises:
        DataError: There is no label or no jet to judge by.
    """
    label, names, columns = jet_label(file, tagger, wishes.label)
    regressed = file.regressed(JETS, tagger)
    fields = file.fields(JETS)
    wanted = [*columns.values(), *([label] if label else []), *regressed, *regressed.values()]
    table = file.table(list(dict.fromkeys([*wanted, *(v for v in ("pt", "eta") if v in fields)])))
    reasons = file.without_truth(JETS, tagger)
    notes = [file.doubt] if file.doubt else []
    unit, note = _pt_unit(file, table)
    notes += [note] if note else []
    pt = table["pt"].astype(np.float64) * unit if "pt" in table else None
    eta = table["eta"].astype(np.float64) if "eta" in table else None
    for variable in ("pt", "eta"):
        if variable not in table:
            reasons[f"profile_{variable}"] = f"'{variable}' of '{JETS}' is in neither the file nor its test file"
    there = set(np.unique(table[label]).tolist()) if label else set()
    names = {code: name for code, name in names.items() if code in there}
    flavours = in_order(names.values())
    truth = truth_codes(table[label], names, flavours) if label else np.full(file.num_jets, -1, dtype=np.int8)
    scored = np.ones(file.num_jets, dtype=bool)
    for column in columns.values():
        scored &= np.isfinite(table[column])
    if pt_edges is None:
        signal = truth == flavours.index(SIGNAL) if SIGNAL in flavours else np.isfinite(truth)
        pt_edges = _edges(wishes, pt[scored & signal] if pt is not None else None)
    variables = {k: v[scored] for k, v in (("pt", pt), ("eta", eta)) if v is not None}
    jets = Jets(
        tuple(columns),
        np.stack([table.pop(c)[scored].astype(np.float32) for c in columns.values()])
        if columns
        else np.empty((0, int(scored.sum())), np.float32),
        flavours,
        truth[scored],
        variables,
        int((~scored).sum()),
    )
    tagging = _tagging(file, jets, tagger, wishes, pt_edges, reasons)
    if not jets.classes:
        reasons["classes"] = f"'{JETS}' has no probabilities of the classes of a label"
        if not columns and f"{tagger}_pb" in file.columns(JETS):
            reasons["classes"] = reasons["tagging"] = UNLABELLED
    residuals = [
        measure_residuals(v, table[c], table[v], pt, pt_edges, file.unit(JETS, v)) for c, v in regressed.items()
    ]
    judged = np.where(scored, truth, np.int8(-1)).astype(np.int8)
    nothing = np.full(file.num_jets, np.nan)
    about = JetTruth(
        flavours,
        judged,
        nothing if pt is None else pt,
        nothing if eta is None else eta,
        unit,
        pt_edges,
        wishes.vertex_share,
    )
    return Measured(
        name,
        tagger,
        file.path,
        label,
        jets.counts,
        jets.unscored,
        int((jets.truth < 0).sum()),
        tagging,
        Classes(jets.classes, confusion(jets.probabilities, truth_among(jets))) if jets.classes else None,
        score_histograms(jets),
        reliability(jets),
        tuple(measure_constituents(file, d, tagger, about) for d in file.constituents()),
        tuple(r for r in residuals if r is not None),
        pt_edges,
        reasons,
        tuple(notes),
    )


def jet_label(file: Predictions, tagger: str, wanted: str | None) -> tuple[str, dict[int, str], dict[str, str]]:
    """The label that names most of the tagger's classes, its codes, and the columns of the classes.

    Raises:
        DataError: There is no label of the wanted name.
    """
    labels = file.labels(JETS)
    if wanted is not None and wanted not in labels:
        raise DataError(unknown("label", wanted, labels, f"in '{JETS}' of {file.path} and its test file"))
    first = wanted or next(iter(labels), "")
    best: tuple[str, dict[int, str], dict[str, str]] = (first, labels.get(first, {}), {})
    for label, names in labels.items():
        columns = classes_of(names, tagger, file.columns(JETS))
        if (wanted is None or label == wanted) and len(columns) > len(best[2]):
            best = (label, names, columns)
    return best


def truth_codes(codes: Array, names: Mapping[int, str], flavours: tuple[str, ...]) -> NDArray[np.int8]:
    """[B] codes of classes as places among some of these, -1 for all others."""
    out = np.full(len(codes), -1, dtype=np.int8)
    for code, name in names.items():
        if name in flavours:
            out[codes == code] = flavours.index(name)
    return out


def _pt_unit(file: Predictions, table: Mapping[str, Array]) -> tuple[float, str]:
    """What makes GeV of a pt, NaN if that is not known, and a note if it is a guess."""
    named = file.unit(JETS, "pt")
    if named in IN_GEV:
        return IN_GEV[named], ""
    if "pt" not in table or not len(table["pt"]):
        return float("nan"), ""
    median = float(np.nanmedian(table["pt"]))
    unit, factor = ("MeV", 1e-3) if median > 1000 else ("GeV", 1.0)
    return factor, f"pt is taken to be in {unit}: its median is {median:.4g}, and no file names the unit"


def _edges(wishes: Wishes, pt: Floats | None) -> Floats:
    if wishes.pt_edges is not None:
        return np.array(wishes.pt_edges, dtype=np.float64)
    if pt is None or not len(pt):
        return PT_EDGES
    found = np.histogram(pt, PT_EDGES)[0]
    filled = np.flatnonzero(found)
    if not len(filled):
        return PT_EDGES
    edges = list(PT_EDGES[filled[0] : filled[-1] + 2])
    counts = list(found[filled[0] : filled[-1] + 1])
    while len(counts) > 1 and counts[-1] < FEWEST:
        counts[-2:] = [counts[-2] + counts[-1]]
        del edges[-2]
    while len(counts) > 1 and counts[0] < FEWEST:
        counts[:2] = [counts[0] + counts[1]]
        del edges[1]
    return np.array(edges)


def _tagging(
    file: Predictions, jets: Jets, tagger: str, wishes: Wishes, pt_edges: Floats, reasons: dict[str, str]
) -> Tagging | None:
    lacking = [name for name in NEEDED if name not in jets.classes]
    present = jets.counts
    if lacking:
        reasons["tagging"] = f"{tagger} has no probability of {', '.join(lacking)}"
    elif SIGNAL not in present or not any(name in present for name in BACKGROUNDS):
        found = ", ".join(present) or "no jets of a known class"
        reasons["tagging"] = f"there are no b-jets, or nothing to reject, among the scored jets: {found}"
    else:
        bins = {"pt": pt_edges, "eta": ETA_EDGES}
        return measure_tagging(jets, wishes.of(tagger), wishes.working_point, bins)
    return None
