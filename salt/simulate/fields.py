"""The columns of the files: one table of names, types, units and meanings."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salt.simulate.particles import Ints

WIDTH = 40
"""Constituents of a jet that a file holds; further ones are cut off."""

Records = NDArray[np.void]


@dataclass(frozen=True)
class Field:
    """One column.

    Args:
        name: Its name in the file.
        dtype: Its type in the file.
        unit: Its unit, empty for pure numbers.
        meaning: What it is.
        truth: Known from the generator only: a label or a target, never an input.
    """

    name: str
    dtype: str
    unit: str
    meaning: str
    truth: bool = False


VALID = Field("valid", "?", "", "a real constituent, not padding", truth=True)

FIELDS: dict[str, tuple[Field, ...]] = {
    "jets": (
        Field("pt", "f4", "MeV", "transverse momentum"),
        Field("eta", "f4", "", "pseudorapidity"),
        Field("phi", "f4", "rad", "azimuth"),
        Field("mass", "f4", "MeV", "invariant mass"),
        Field("energy", "f4", "MeV", "energy"),
        Field("n_tracks", "i2", "", "tracks in the jet, also those cut off in the file"),
        Field("eventNumber", "i8", "", "number of the collision, never shared by files or seeds", truth=True),
        Field("jetNumber", "i2", "", "number of the jet in its event, in order of falling pt", truth=True),
        Field("flavour_label", "i1", "", "index of the class, see the attribute of that name", truth=True),
        Field("HadronConeExclTruthLabelID", "i1", "", "5 b, 4 c, 15 tau, 0 light", truth=True),
        Field("HadronConeExclTruthLabelPt", "f4", "MeV", "pt of the labelling hadron, NaN without", truth=True),
        Field("HadronConeExclTruthLabelLxy", "f4", "mm", "its transverse decay length, NaN without", truth=True),
    ),
    "tracks": (
        Field("pt", "f4", "MeV", "transverse momentum"),
        Field("d0", "f4", "mm", "transverse impact parameter"),
        Field("z0SinTheta", "f4", "mm", "longitudinal impact parameter times sin(theta)"),
        Field("deta", "f4", "", "eta of the track minus that of the jet"),
        Field("dphi", "f4", "rad", "phi of the track minus that of the jet"),
        Field("qOverP", "f4", "1/MeV", "charge over momentum"),
        Field("d0Uncertainty", "f4", "mm", "standard deviation of d0"),
        Field("z0SinThetaUncertainty", "f4", "mm", "standard deviation of z0SinTheta"),
        Field("phiUncertainty", "f4", "rad", "standard deviation of phi"),
        Field("thetaUncertainty", "f4", "rad", "standard deviation of theta"),
        Field("qOverPUncertainty", "f4", "1/MeV", "standard deviation of qOverP"),
        Field("IP3D_signed_d0_significance", "f4", "", "lifetime-signed significance of d0"),
        Field("IP3D_signed_z0_significance", "f4", "", "lifetime-signed significance of z0SinTheta"),
        Field("ftagTruthOriginLabel", "i1", "", "where the track comes from", truth=True),
        Field("ftagTruthVertexIndex", "i1", "", "its true vertex: 0 primary, -2 none", truth=True),
        VALID,
    ),
    "flows": (
        Field("pt", "f4", "MeV", "transverse momentum"),
        Field("deta", "f4", "", "eta of the object minus that of the jet"),
        Field("dphi", "f4", "rad", "phi of the object minus that of the jet"),
        Field("energy", "f4", "MeV", "energy"),
        Field("isPhoton", "i1", "", "1 measured as electromagnetic, 0 as hadronic"),
        VALID,
    ),
}
"""For each dataset its columns in order."""

PADDING = {"ftagTruthOriginLabel": -1, "ftagTruthVertexIndex": -2}
"""What padded entries hold where it is not zero."""


def dtype(dataset: str) -> np.dtype[np.void]:
    """The compound type of one dataset."""
    return np.dtype([(f.name, f.dtype) for f in FIELDS[dataset]])


def records(dataset: str, columns: dict[str, NDArray[Any]], bits: int = 23) -> Records:
    """One compound array from its columns, floats rounded to `bits` mantissa bits."""
    names = [f.name for f in FIELDS[dataset]]
    result = np.zeros(columns[names[0]].shape, dtype=dtype(dataset))
    for field in FIELDS[dataset]:
        values = columns[field.name]
        result[field.name] = shorten(values.astype(np.float32), bits) if field.dtype == "f4" else values
    return result


def shorten(values: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """Rounds to `bits` explicit mantissa bits, which makes floats compress well; NaN stays NaN."""
    drop = 23 - bits
    if drop == 0:
        return values
    raw = np.ascontiguousarray(values).view(np.uint32)
    half = np.uint32(1 << (drop - 1))
    rounded = ((raw + half) >> np.uint32(drop)) << np.uint32(drop)
    return np.where(np.isfinite(values), rounded.view(np.float32), values).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Slots:
    """Places of constituents in arrays [B, WIDTH].

    Args:
        chosen: Rows of the constituents that have a place.
        jet: Row of the jet of each.
        slot: Place of each in its jet.
        count: Constituents of each jet, with and without a place.
    """

    chosen: Ints
    jet: Ints
    slot: Ints
    count: Ints

    def fill(self, values: NDArray[Any], padding: Any = 0) -> NDArray[Any]:
        """Brings flat values of all constituents to [B, WIDTH]."""
        result = np.full((len(self.count), WIDTH), padding, dtype=values.dtype)
        result[self.jet, self.slot] = values[self.chosen]
        return result


def arrange(jet: Ints, key: NDArray[np.float64], jets: int) -> Slots:
    """Sorts the constituents of each jet by falling `key` and gives the first ones a place.

    Args:
        jet: Row of the jet of each constituent, -1 for none.
        key: What they are sorted by.
        jets: Number of jets.
    """
    inside = np.flatnonzero(jet >= 0)
    order = inside[np.lexsort((-key[inside], jet[inside]))]
    count = np.bincount(jet[order], minlength=jets)
    slot = np.arange(len(order)) - (np.cumsum(count) - count)[jet[order]]
    placed = slot < WIDTH
    return Slots(order[placed], jet[order[placed]], slot[placed], count)
