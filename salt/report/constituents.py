"""What a tagger says of the constituents of all jets, counted in one pass over a file of any size."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salt.data.reader import VALID
from salt.rejection import Floats
from salt.report.files import VERTEX, Array, Predictions, classes_of
from salt.report.jets import Classes, confusion
from salt.report.residuals import Collected, Residuals
from salt.report.shares import Ints
from salt.report.vertices import Momenta, Vertices, count_vertices

TRUE_VERTEX = "ftagTruthVertexIndex"

IN_GEV = {"MeV": 1e-3, "GeV": 1.0}
"""Units of momenta that files may name."""


@dataclass(frozen=True, eq=False)
class Constituents:
    """What is known of one dataset of constituents.

    Args:
        dataset: Its name.
        label: The variable that says the true class; empty without.
        classes: How well the classes are told apart.
        vertices: How well vertices are found.
        residuals: For each regressed variable.
        reasons: Why something is not known, by ``classes``, ``vertices``, ``masses`` or a regression.
    """

    dataset: str
    label: str
    classes: Classes | None
    vertices: Vertices | None
    residuals: tuple[Residuals, ...]
    reasons: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class JetTruth:
    """What the counts of constituents need to know of their jets.

    Args:
        flavours: True classes.
        flavour: [B] index among them, -1 for none or a jet that was not scored.
        pt: [B] in GeV, NaN where unknown.
        eta: [B], NaN where unknown.
        to_gev: What makes GeV of a momentum; NaN if that is not known.
        edges: Bins of pt.
        vertex_share: What share makes a group a vertex.
    """

    flavours: tuple[str, ...]
    flavour: NDArray[np.int8]
    pt: Floats
    eta: Floats
    to_gev: float
    edges: Floats
    vertex_share: float = 0.5


def measure_constituents(file: Predictions, dataset: str, tagger: str, jets: JetTruth) -> Constituents:
    """Counts the classes and vertices of one dataset."""
    columns, fields = file.columns(dataset), file.fields(dataset)
    label, names, probabilities = _label(file, dataset, tagger)
    vertex = _vertex(file, dataset, tagger)
    regressed = {c: v for c, v in file.regressed(dataset, tagger).items() if v != VERTEX}
    reasons = file.without_truth(dataset, tagger)
    if not probabilities:
        reasons["classes"] = f"no probabilities of classes of constituents in '{dataset}', or no label of them"
    if vertex is None:
        reasons["vertices"] = f"no column '{VERTEX}' in '{dataset}'"
    elif TRUE_VERTEX not in fields:
        reasons["vertices"], vertex = f"'{TRUE_VERTEX}' of '{dataset}' is in neither the file nor its test file", None
    elif not (jets.flavour >= 0).any():
        reasons["vertices"], vertex = "no jet is of a known class", None
    need = _momentum_fields(fields, bool(np.isfinite(jets.eta).any())) if vertex else []
    if need is None:
        reasons["masses"] = (
            f"'{dataset}' has no momenta: pt or qOverP, eta or deta or theta, and phi or dphi are needed"
        )
    gev = _to_gev(file, dataset, need[0] if need else "", jets.to_gev)
    if need and np.isnan(gev):
        reasons["masses"], need = f"no file names the unit of '{need[0]}' of '{dataset}', or has the pt of jets", None
    wanted = [*probabilities.values(), *([label] if probabilities else []), *(need or [])]
    wanted += [f for f in (vertex, TRUE_VERTEX) if vertex and f]
    wanted += [*regressed, *regressed.values()]
    collected = {column: Collected(v, file.unit(dataset, v)) for column, v in regressed.items()}
    counts: Ints | None = None
    vertices: Vertices | None = None
    for start, block in file.blocks(dataset, list(dict.fromkeys([*wanted, *([VALID] if VALID in columns else [])]))):
        if not wanted:
            break
        used = _used(block, list(probabilities.values()), wanted)
        if probabilities:
            p = np.stack([block[c][used] for c in probabilities.values()])
            found = confusion(p, _indices(block[label][used], names, list(probabilities)))
            counts = found if counts is None else counts + found
        if vertex:
            part = _vertices(block, used, vertex, jets, start, (need, gev))
            vertices = part if vertices is None else vertices + part
        for column, one in collected.items():
            pt_T = np.repeat(jets.pt[start : start + len(used)], used.sum(1))
            one.add(block[column][used], block[one.variable][used], pt_T)
    residuals = [one.result(jets.edges) for one in collected.values()]
    classes = None if counts is None else Classes(tuple(probabilities), counts)
    return Constituents(
        dataset,
        label if probabilities else "",
        classes,
        vertices,
        tuple(r for r in residuals if r is not None),
        reasons,
    )


def _label(file: Predictions, dataset: str, tagger: str) -> tuple[str, dict[int, str], dict[str, str]]:
    """The label that names most of the tagger's classes, its codes, and the columns of the classes."""
    best: tuple[str, dict[int, str], dict[str, str]] = ("", {}, {})
    for label, names in file.labels(dataset).items():
        columns = classes_of(names, tagger, file.columns(dataset))
        if len(columns) > max(1, len(best[2])):
            best = (label, names, columns)
    return best


def _vertex(file: Predictions, dataset: str, tagger: str) -> str | None:
    columns = file.columns(dataset)
    if f"{tagger}_{VERTEX}" in columns:
        return f"{tagger}_{VERTEX}"
    owner = file.model or (file.taggers() or [""])[0]
    return VERTEX if VERTEX in columns and tagger == owner else None


def _used(block: Mapping[str, Array], probabilities: list[str], fields: list[str]) -> NDArray[np.bool_]:
    """[n, width] the constituents that were scored."""
    if VALID in block:
        valid: NDArray[np.bool_] = block[VALID].astype(bool)
    else:
        valid = np.ones(block[fields[0]].shape, dtype=bool)
    if probabilities:
        valid = valid & np.isfinite(block[probabilities[0]])
    return valid


def _indices(codes: Array, names: Mapping[int, str], classes: list[str]) -> NDArray[np.int8]:
    out = np.full(codes.shape, -1, dtype=np.int8)
    for code, name in names.items():
        if name in classes:
            out[codes == code] = classes.index(name)
    return out


def _momentum_fields(fields: list[str], jet_eta: bool) -> list[str] | None:
    """The fields from which the momenta follow; None if they do not."""
    size = [f for f in ("pt", "qOverP") if f in fields][:1]
    polar = [f for f in ("eta", "theta", *(["deta"] if jet_eta else [])) if f in fields][:1]
    azimuth = [f for f in ("phi", "dphi") if f in fields][:1]
    return [*size, *polar, *azimuth] if size and polar and azimuth else None


def _to_gev(file: Predictions, dataset: str, field: str, usual: float) -> float:
    """What makes GeV of the momenta of constituents, which are in the unit of the jets if nothing else is said."""
    return IN_GEV.get(file.unit(dataset, field).removeprefix("1/"), usual)


def _momenta(
    block: Mapping[str, Array], used: NDArray[np.bool_], need: list[str], eta_T: Floats, gev: float
) -> Momenta:
    size, polar, azimuth = (block[f][used].astype(np.float64) for f in need)
    if need[1] == "theta":
        polar = -np.log(np.tan(polar / 2))
    elif need[1] == "deta":
        polar = polar + eta_T
    if need[0] == "qOverP":
        with np.errstate(divide="ignore"):
            size = np.abs(1 / size) / np.cosh(polar)
    return Momenta(size * gev, polar, azimuth)


def _vertices(
    block: Mapping[str, Any],
    used: NDArray[np.bool_],
    vertex: str,
    jets: JetTruth,
    start: int,
    how: tuple[list[str] | None, float],
) -> Vertices:
    rows = slice(start, start + len(used))
    jet_T = np.nonzero(used)[0].astype(np.int64)
    need, gev = how
    momenta = _momenta(block, used, need, jets.eta[rows][jet_T], gev) if need else None
    return count_vertices(
        jet_T,
        block[TRUE_VERTEX][used].astype(np.int64),
        block[vertex][used].astype(np.int64),
        jets.flavour[rows],
        jets.pt[rows],
        jets.flavours,
        jets.edges,
        momenta,
        jets.vertex_share,
    )
