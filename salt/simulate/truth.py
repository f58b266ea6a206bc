"""What really happened: ancestry of particles, heavy hadrons, true vertices."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from salt.simulate.particles import Bools, Floats, Ints, Particles, Table


class Origin(IntEnum):
    """Values of ``ftagTruthOriginLabel``: where a track comes from."""

    PILEUP = 0
    FAKE = 1
    PRIMARY = 2
    FROM_B = 3
    FROM_BC = 4
    FROM_C = 5
    FROM_TAU = 6
    OTHER_SECONDARY = 7


ORIGINS = ("Pileup", "Fake", "Primary", "FromB", "FromBC", "FromC", "FromTau", "OtherSecondary")
"""Names of the origins in the order of their values."""


class Kind(IntEnum):
    """What an ancestor tells about the origin of a particle."""

    PARTON = 0
    OTHER = 1
    BOTTOM = 2
    CHARM = 3
    STRANGE = 4
    TAU = 5
    BOSON = 6


def kinds(pdg: Ints) -> Ints:
    """The `Kind` of each particle, read off its PDG code.

    Bottom and charm are open-flavour hadrons (the heavier flavour decides), strange the hadrons that decay weakly
    after centimetres (K0S, K0L, Lambda, Sigma+-, Xi, Omega). Quarks, gluons, diquarks and beams are partons.
    """
    code = np.abs(pdg)
    quarks = code % 10_000
    q1, q2, q3 = quarks // 1000, quarks // 100 % 10, quarks // 10 % 10
    hadron = (code > 100) & (q2 > 0) & (q3 > 0)
    heaviest = np.where(q1 > 0, q1, q2)
    onium = (q1 == 0) & (q2 == q3)
    strange = np.isin(code, (130, 310, 3122, 3112, 3222, 3312, 3322, 3334))
    parton = (code <= 6) | (code == 21) | (code == 90) | ((q1 > 0) & (q2 > 0) & (q3 == 0)) | (code == 990)
    kind = np.full(len(code), int(Kind.OTHER))
    kind[hadron & ~onium & (heaviest == 5)] = Kind.BOTTOM
    kind[hadron & ~onium & (heaviest == 4)] = Kind.CHARM
    kind[strange] = Kind.STRANGE
    kind[code == 15] = Kind.TAU
    kind[np.isin(code, (23, 24, 25))] = Kind.BOSON
    kind[parton] = Kind.PARTON
    return kind


def ancestors(particles: Particles, rows: Ints) -> Bools:
    """For each of `rows` which kinds are among its ancestors up to the nearest parton: [rows, kinds]."""
    kind = kinds(particles.pdg)
    seen = np.zeros((len(rows), len(Kind)), dtype=bool)
    place = np.arange(len(rows))
    current = particles.mother[rows]
    while True:
        walking = current >= 0
        place, current = place[walking], current[walking]
        if not len(place):
            return seen
        seen[place, kind[current]] = True
        current = np.where(kind[current] == Kind.PARTON, -1, particles.mother[current])


def origins(seen: Bools) -> Ints:
    """The origin label of each particle from its ancestors: heavy flavour first, then tau, then strange hadrons."""
    bottom, charm = seen[:, Kind.BOTTOM], seen[:, Kind.CHARM]
    return np.select(
        [bottom & charm, bottom, charm, seen[:, Kind.TAU], seen[:, Kind.STRANGE]],
        [Origin.FROM_BC, Origin.FROM_B, Origin.FROM_C, Origin.FROM_TAU, Origin.OTHER_SECONDARY],
        Origin.PRIMARY,
    ).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Hadrons(Table):
    """What labels a jet: weakly decaying b- and c-hadrons, and taus that decay to hadrons.

    Args:
        event: Index of the collision.
        flavour: 5, 4 or 15.
        pt: Transverse momentum in GeV.
        eta: Pseudorapidity.
        phi: Azimuth.
        lxy: Transverse distance from the collision to the decay in mm.
    """

    event: Ints
    flavour: Ints
    pt: Floats
    eta: Floats
    phi: Floats
    lxy: Floats


def hadrons(particles: Particles, min_pt: float = 5.0) -> Hadrons:
    """The hadrons and taus above `min_pt` GeV that label jets.

    A b-hadron counts where it decays to no further b-hadron, a c-hadron likewise, a tau where it decays to neither
    a tau nor an electron or muon.
    """
    kind = kinds(particles.pdg)
    mother = particles.mother
    born = np.flatnonzero(mother >= 0)
    same = born[kind[born] == kind[mother[born]]]
    goes_on = np.zeros(len(particles), dtype=bool)
    goes_on[mother[same]] = True
    lepton = born[np.isin(np.abs(particles.pdg[born]), (11, 13))]
    leptonic = np.zeros(len(particles), dtype=bool)
    leptonic[mother[lepton]] = True
    lxy = np.zeros(len(particles))
    lxy[mother[born]] = np.hypot(particles.x[born], particles.y[born])
    wanted = np.isin(kind, (Kind.BOTTOM, Kind.CHARM, Kind.TAU)) & ~goes_on & ~particles.final
    wanted &= ~((kind == Kind.TAU) & leptonic) & (particles.pt > min_pt)
    rows = np.flatnonzero(wanted)
    chosen = particles.take(rows)
    flavour = np.select([kind[rows] == Kind.BOTTOM, kind[rows] == Kind.CHARM], [5, 4], 15)
    return Hadrons(particles.event[rows], flavour.astype(np.int64), chosen.pt, chosen.eta, chosen.phi, lxy[rows])


def vertex_indices(xyz: Floats, known: Bools, distance: float = 0.1) -> Ints:
    """Groups the constituents of each jet by their true vertex.

    Production points are joined where a chain of steps of less than `distance` mm links them. The group that
    includes the collision itself (the origin of the coordinates) has index 0; the others count up from 1 with
    their distance from it.

    Args:
        xyz: Production points relative to the collision in mm, [B, M, 3].
        known: Whether a constituent has a true vertex, [B, M].
        distance: Points closer than this share a vertex.

    Returns:
        Index of the vertex [B, M]; -2 where there is none.
    """
    jets, width = known.shape
    points = np.concatenate([np.zeros((jets, 1, 3)), xyz], axis=1)
    real = np.concatenate([np.ones((jets, 1), dtype=bool), known], axis=1)
    gap = np.sum((points[:, :, None] - points[:, None]) ** 2, axis=-1)
    linked = (gap < distance**2) & real[:, :, None] & real[:, None]
    # Slots in order of distance from the collision, so that the smallest slot of a group is its nearest point.
    rank = np.argsort(np.argsort(np.where(real, gap[:, 0], np.inf), axis=1, kind="stable"), axis=1)
    group = rank
    while True:
        smallest = np.min(np.where(linked, group[:, None, :], width + 1), axis=2)
        smallest = np.where(real, np.minimum(smallest, group), group)
        if np.array_equal(smallest, group):
            break
        group = smallest
    leader = real & (group == rank)
    of_rank = np.zeros((jets, width + 1), dtype=np.int64)
    np.put_along_axis(of_rank, rank, leader.astype(np.int64), axis=1)
    index = np.take_along_axis(np.cumsum(of_rank, axis=1) - 1, group, axis=1)
    return np.where(known, index[:, 1:], -2)
