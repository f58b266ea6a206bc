"""Jets from measured objects, and the hadrons that label them."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from salt.simulate.particles import Floats, Ints, Table, nearest, pseudorapidity
from salt.simulate.truth import Hadrons

RADIUS = 0.4
"""Radius parameter of the jets, and of the cone in which constituents belong to them."""
LABEL_RADIUS = 0.3
"""Hadrons within this distance of a jet can label it."""


@dataclass(frozen=True, eq=False)
class Jets(Table):
    """Jets in order of event, then falling pt. Energies in GeV.

    Args:
        event: Event of the jet.
        number: Number of the jet in its event.
        pt: Transverse momentum.
        eta: Pseudorapidity.
        phi: Azimuth.
        mass: Invariant mass.
        energy: Energy.
    """

    event: Ints
    number: Ints
    pt: Floats
    eta: Floats
    phi: Floats
    mass: Floats
    energy: Floats

    def __len__(self) -> int:
        return len(self.event)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the banner that FastJet prints from C++ off the standard output."""
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def cluster(event: Ints, momentum: Floats, events: int, min_pt: float, max_eta: float) -> Jets:
    """Anti-kt jets (R = 0.4) of each event.

    See M. Cacciari, G. Salam, G. Soyez, The anti-kt jet clustering algorithm, arXiv:0802.1189, and FastJet user
    manual, arXiv:1111.6097.

    Args:
        event: Event of each object.
        momentum: px, py, pz, E of each object in GeV, [n, 4].
        events: Number of events.
        min_pt: Lowest transverse momentum of a jet.
        max_eta: Largest absolute pseudorapidity of a jet.
    """
    import awkward as ak
    import fastjet

    order = np.argsort(event, kind="stable")
    columns = dict(zip(("px", "py", "pz", "E"), momentum[order].T, strict=True))
    objects = ak.unflatten(ak.zip(columns), np.bincount(event, minlength=events))
    with _quiet():
        sequence = fastjet.ClusterSequence(objects, fastjet.JetDefinition(fastjet.antikt_algorithm, RADIUS))
        found = sequence.inclusive_jets(min_pt=min_pt)
    flat = ak.flatten(found)
    px, py, pz, energy = (np.asarray(flat[name].to_numpy(), dtype=np.float64) for name in ("px", "py", "pz", "E"))
    owner = np.repeat(np.arange(events), ak.num(found).to_numpy())
    pt, eta = np.hypot(px, py), pseudorapidity(px, py, pz)
    inside = np.flatnonzero((np.abs(eta) < max_eta) & (pt > min_pt))
    rows = inside[np.lexsort((-pt[inside], owner[inside]))]
    mass = np.sqrt(np.maximum(energy**2 - pt**2 - pz**2, 0.0))
    count = np.bincount(owner[rows], minlength=events)
    number = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
    return Jets(owner[rows], number, pt[rows], eta[rows], np.arctan2(py, px)[rows], mass[rows], energy[rows])


@dataclass(frozen=True, eq=False)
class JetTruth(Table):
    """What labels a jet.

    Args:
        flavour: 5, 4, 15, or 0 for a light jet.
        pt: Transverse momentum of the b- or c-hadron in GeV, NaN without.
        lxy: Its transverse decay length in mm, NaN without.
    """

    flavour: Ints
    pt: Floats
    lxy: Floats


def label(jets: Jets, hadrons: Hadrons) -> JetTruth:
    """Labels each jet by the hadrons in dR < 0.3, each of which counts for its nearest jet only.

    b goes before c, c before tau; of several hadrons of that flavour the one of largest pT gives pT and length.
    """
    owner = nearest(jets, hadrons.event, hadrons.eta, hadrons.phi, LABEL_RADIUS)
    truth = JetTruth(np.zeros(len(jets), dtype=np.int64), np.full(len(jets), np.nan), np.full(len(jets), np.nan))
    for flavour in (15, 4, 5):
        rows = np.flatnonzero((owner >= 0) & (hadrons.flavour == flavour))
        rows = rows[np.argsort(hadrons.pt[rows], kind="stable")]
        truth.flavour[owner[rows]] = flavour
        # Of several assignments to one place the last stays: the hadron of largest pT.
        truth.pt[owner[rows]] = np.nan if flavour == 15 else hadrons.pt[rows]
        truth.lxy[owner[rows]] = np.nan if flavour == 15 else hadrons.lxy[rows]
    return truth
