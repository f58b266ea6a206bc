"""Flat tables of generated particles, and the few formulas that all stages share."""

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Table:
    """Base of frozen dataclasses whose fields are arrays of one length: rows are picked from all at once."""

    def take(self, rows: Any) -> Self:
        """The rows that an index array, a mask or a slice picks."""
        return type(self)(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})  # type: ignore[arg-type]

    def concat(self, other: Self) -> Self:
        """The rows of this table, then those of the other."""
        return type(self)(
            **{
                f.name: np.concatenate([getattr(self, f.name), getattr(other, f.name)])
                for f in fields(self)  # type: ignore[arg-type]
            }
        )


@dataclass(frozen=True, eq=False)
class Particles(Table):
    """All particles of several collisions, one after the other. Momenta in GeV, lengths in mm.

    Args:
        event: Index of the collision, ascending.
        pdg: Particle code of the Particle Data Group.
        final: Whether the particle reaches the detector.
        mother: Row of the (first) mother in this table; -1 for none.
        charge: Electric charge in units of e.
        px: Momentum.
        py: Momentum.
        pz: Momentum, along the beam.
        energy: Energy.
        x: Where the particle was produced, relative to the collision.
        y: Where the particle was produced.
        z: Where the particle was produced.
    """

    event: Ints
    pdg: Ints
    final: Bools
    mother: Ints
    charge: Floats
    px: Floats
    py: Floats
    pz: Floats
    energy: Floats
    x: Floats
    y: Floats
    z: Floats

    def __len__(self) -> int:
        return len(self.event)

    @property
    def pt(self) -> Floats:
        """Transverse momentum in GeV."""
        return np.hypot(self.px, self.py)

    @property
    def eta(self) -> Floats:
        """Pseudorapidity."""
        return pseudorapidity(self.px, self.py, self.pz)

    @property
    def phi(self) -> Floats:
        """Azimuth in (-pi, pi]."""
        return np.arctan2(self.py, self.px)


def pseudorapidity(px: Floats, py: Floats, pz: Floats) -> Floats:
    """asinh(pz / pT), at most 20 in size."""
    pt = np.maximum(np.hypot(px, py), 1e-12)
    eta: Floats = np.clip(np.arcsinh(pz / pt), -20.0, 20.0)
    return eta


def wrap(phi: Floats) -> Floats:
    """An angle brought to [-pi, pi)."""
    wrapped: Floats = (phi + np.pi) % (2 * np.pi) - np.pi
    return wrapped


def visible(particles: Particles, max_eta: float) -> Bools:
    """Final particles inside `max_eta` that are no neutrinos and not too soft to matter (100 MeV)."""
    inside = particles.final & ~np.isin(np.abs(particles.pdg), (12, 14, 16))
    return inside & (np.abs(particles.eta) < max_eta) & (particles.pt > 0.1)


def nearest(jets: Table, event: Ints, eta: Floats, phi: Floats, radius: float) -> Ints:
    """For each object the row of the nearest jet of its event within dR < `radius`, or -1.

    Args:
        jets: A table with ``event`` (ascending), ``eta`` and ``phi``.
        event: Event of each object.
        eta: Pseudorapidity of each object.
        phi: Azimuth of each object.
        radius: Largest distance in (eta, phi).
    """
    jet_event, jet_eta, jet_phi = jets.event, jets.eta, jets.phi  # type: ignore[attr-defined]
    first = np.searchsorted(jet_event, event, side="left")
    count = np.searchsorted(jet_event, event, side="right") - first
    best = np.full(len(event), -1, dtype=np.int64)
    closest = np.full(len(event), radius**2)
    for number in range(int(count.max(initial=0))):
        having = np.flatnonzero(count > number)
        row = first[having] + number
        distance = (jet_eta[row] - eta[having]) ** 2 + wrap(jet_phi[row] - phi[having]) ** 2
        closer = distance < closest[having]
        best[having[closer]] = row[closer]
        closest[having[closer]] = distance[closer]
    return best
