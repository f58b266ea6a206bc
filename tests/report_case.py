"""A test file and the scores of two taggers on it, made up."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

FLAVOURS = ("bjets", "cjets", "ujets")
SHORT = ("pb", "pc", "pu")
ORIGINS = ("Pileup", "Fake", "Primary", "FromB", "FromBC", "FromC", "FromTau", "OtherSecondary")
WIDTH = 8

Table = NDArray[Any]


def probabilities(rng: np.random.Generator, truth: Table, num: int, strength: float) -> Table:
    """[num, ...] that favour the true class."""
    logits = rng.normal(0, 1, (num, *truth.shape)) + strength * (np.arange(num).reshape(-1, *[1] * truth.ndim) == truth)
    p = np.exp(logits)
    return (p / p.sum(0)).astype("f4")


def make_test_file(path: Path, num: int = 3000, seed: int = 0) -> dict[str, Table]:
    """Jets in MeV with flavours, and tracks with origins, vertices and momenta."""
    rng = np.random.default_rng(seed)
    fields = [("pt", "f4"), ("eta", "f4"), ("flavour_label", "i1"), ("eventNumber", "i8"), ("HadronPt", "f4")]
    jets = np.zeros(num, fields)
    jets["pt"] = 1000 * (20 + rng.exponential(40, num))
    jets["eta"] = rng.uniform(-2.5, 2.5, num)
    jets["flavour_label"] = rng.choice(3, num, p=[0.3, 0.2, 0.5])
    jets["eventNumber"] = np.arange(num)
    jets["HadronPt"] = np.where(jets["flavour_label"] < 2, jets["pt"] * rng.uniform(0.5, 1, num), np.nan)
    labels = [("ftagTruthOriginLabel", "i1"), ("ftagTruthVertexIndex", "i1"), ("valid", "?")]
    tracks = np.zeros((num, WIDTH), [*((v, "f4") for v in ("pt", "deta", "dphi")), *labels])
    tracks["valid"] = np.arange(WIDTH) < rng.integers(0, WIDTH + 1, num)[:, None]
    tracks["pt"] = 500 + rng.exponential(3000, tracks.shape)
    tracks["deta"], tracks["dphi"] = rng.normal(0, 0.1, (2, *tracks.shape))
    tracks["ftagTruthOriginLabel"] = np.where(tracks["valid"], rng.integers(0, 8, tracks.shape), -1)
    tracks["ftagTruthVertexIndex"] = np.where(tracks["valid"], rng.integers(-2, 3, tracks.shape), -2)
    with h5py.File(path, "w") as file:
        file["jets"], file["tracks"] = jets, tracks
        file["jets"].attrs["flavour_label"] = list(FLAVOURS)
        file.attrs["units"] = '{"jets": {"pt": "MeV"}}'
    return {"jets": jets, "tracks": tracks}


def make_predictions(
    path: Path,
    tables: dict[str, Table],
    model: str = "mine",
    test_files: Sequence[Path] = (),
    seed: int = 1,
    strength: float = 2.0,
    copied: Sequence[str] = ("pt", "eta", "flavour_label", "eventNumber"),
    unscored: int = 0,
    parts: Sequence[str] = ("classes", "regression", "tracks"),
) -> dict[str, Table]:
    """What `main test` would write; the first jets are not scored."""
    rng = np.random.default_rng(seed)
    jets, tracks = tables["jets"], tables["tracks"]
    names = [(f"{model}_{name}", "f4") for name in SHORT] if "classes" in parts else []
    regressed = [(f"{model}_HadronPt", "f4")] if "regression" in parts else []
    out = np.zeros(len(jets), [*((f, jets.dtype[f]) for f in copied), *names, *regressed])
    for name in copied:
        out[name] = jets[name]
    for (column, _), p in zip(names, probabilities(rng, jets["flavour_label"], 3, strength), strict=False):
        out[column] = p
        out[column][:unscored] = np.nan
    if regressed:
        out[f"{model}_HadronPt"] = jets["pt"] * rng.normal(0.75, 0.2, len(jets))
    origins = [(f"{model}_p{name}", "f4") for name in ORIGINS]
    momenta = [(f"{model}_pt", "f4")] if "momenta" in parts else []
    rows = np.zeros(tracks.shape, [*origins, *momenta, ("VertexIndex", "i4"), ("valid", "?")])
    for column, _ in momenta:
        rows[column] = np.where(tracks["valid"], tracks["pt"] * rng.normal(1.1, 0.3, tracks.shape), np.nan)
    for (column, _), p in zip(origins, probabilities(rng, tracks["ftagTruthOriginLabel"], 8, 2.0), strict=True):
        rows[column] = np.where(tracks["valid"], p, np.nan)
    guess = np.where(rng.random(tracks.shape) < 0.8, tracks["ftagTruthVertexIndex"], rng.integers(0, 4, tracks.shape))
    rows["VertexIndex"] = np.where(tracks["valid"], guess + 2, -1)
    rows["valid"] = tracks["valid"]
    with h5py.File(path, "w") as file:
        file["jets"] = out
        if "tracks" in parts:
            file["tracks"] = rows
        if "flavour_label" in copied:
            file["jets"].attrs["flavour_label"] = list(FLAVOURS)
        file.attrs["model"] = model
        if test_files:
            file.attrs["test_files"] = [str(p) for p in test_files]
    return {"jets": out, "tracks": rows}
