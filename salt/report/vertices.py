"""How well the vertices of jets are found, from the numbers of vertices that constituents share."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from salt.rejection import Floats
from salt.report.shares import Ints, Share

PION_MASS = 0.13957039
"""GeV; Particle Data Group, Prog. Theor. Exp. Phys. 2022, 083C01."""

MASS_BINS: Floats = np.linspace(0.25, 8, 63)
"""GeV, from two pions at rest on."""

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Groups:
    """The groups of at least two labelled constituents of some jets.

    Args:
        of: [T] the group of each constituent, -1 for one that belongs to none of these.
        jet: [V] the jet of each group.
        size: [V] how many labelled constituents it has.
        primary: [V] how many of them are from the primary vertex.
    """

    of: Indices
    jet: Indices
    size: Indices
    primary: Indices


def groups(jet_T: Indices, number_T: Indices, truth_T: Indices) -> Groups:
    """Constituents of one jet with the same number, which must not be negative, are a group.

    Args:
        jet_T: [T] the jet of each constituent.
        number_T: [T] the number that it shares with others of its group.
        truth_T: [T] number of its true vertex, 0 for the primary one, negative for no label.
    """
    belongs = number_T >= 0
    span = int(number_T.max(initial=0)) + 1
    keys, inverse = np.unique(jet_T[belongs] * span + number_T[belongs], return_inverse=True)
    size = np.bincount(inverse, truth_T[belongs] >= 0, len(keys)).astype(np.int64)
    primary = np.bincount(inverse, truth_T[belongs] == 0, len(keys)).astype(np.int64)
    kept = size >= 2
    new = np.where(kept, np.cumsum(kept) - 1, -1)
    of = np.full(len(jet_T), -1, dtype=np.int64)
    of[belongs] = new[inverse]
    return Groups(of, keys[kept] // span, size[kept], primary[kept])


def match(truth: Groups, found: Groups, share: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which true vertices and which groups are each other.

    A group is a vertex if it has more than `share` of its labelled constituents, and these are more than `share` of
    the group: the double majority of the TrackML challenge (Amrouche et al., arXiv:1904.06778, section 3), there for
    tracks. With at least one half no two groups are the same vertex.

    Returns:
        For each true vertex whether it is found, and for each group whether it is a vertex.
    """
    both = (truth.of >= 0) & (found.of >= 0)
    num = max(len(found.size), 1)
    pairs, common = np.unique(truth.of[both] * num + found.of[both], return_counts=True)
    vertex, group = pairs // num, pairs % num
    good = (common > share * truth.size[vertex]) & (common > share * found.size[group])
    of_truth = np.zeros(len(truth.size), dtype=bool)
    of_found = np.zeros(len(found.size), dtype=bool)
    of_truth[vertex[good]], of_found[group[good]] = True, True
    return of_truth, of_found


@dataclass(frozen=True, eq=False)
class Momenta:
    """Momenta of constituents in GeV, with the mass of a pion.

    Args:
        pt: [T] transverse momentum.
        eta: [T] pseudorapidity.
        phi: [T] azimuth; only differences within a jet matter.
    """

    pt: Floats
    eta: Floats
    phi: Floats


def masses(which: Groups, momenta: Momenta) -> Floats:
    """[V] the invariant mass of each group."""
    belongs = which.of >= 0
    pt, eta, phi = momenta.pt[belongs], momenta.eta[belongs], momenta.phi[belongs]
    momentum: list[Floats] = [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)]
    energy = np.sqrt((pt * np.cosh(eta)) ** 2 + PION_MASS**2)
    num = len(which.size)
    e, x, y, z = (np.bincount(which.of[belongs], weights=w, minlength=num).astype(float) for w in (energy, *momentum))
    mass: Floats = np.sqrt(np.maximum(e**2 - x**2 - y**2 - z**2, 0))
    return mass


@dataclass(frozen=True, eq=False)
class Vertices:
    """Counts of vertices by the true class of their jet, which add up over blocks of jets.

    Primary is the true vertex number 0, and a group of which at least half comes from it. All others are secondary.

    Args:
        flavours: True classes of jets.
        edges: [K + 1] bins of the jet's pt in GeV; vertices beyond them count in an outer bin.
        share: What share makes a group a vertex, see `match`.
        truth: [F, K + 2] true secondary vertices of at least two constituents.
        truth_found: [F, K + 2] those that are found.
        groups: [F, K + 2] secondary groups of at least two constituents.
        groups_right: [F, K + 2] those that are a true secondary vertex.
        primary: [F, 2] true primary vertices of at least two constituents, and how many of them are found.
        mass_right: [F, M] groups that are a true secondary vertex, in bins of their mass; None without momenta.
        mass_wrong: [F, M] other secondary groups.
        mass_truth: [F, M] true secondary vertices.
    """

    flavours: tuple[str, ...]
    edges: Floats
    share: float
    truth: Ints
    truth_found: Ints
    groups: Ints
    groups_right: Ints
    primary: Ints
    mass_right: Ints | None
    mass_wrong: Ints | None
    mass_truth: Ints | None

    def __add__(self, other: "Vertices") -> "Vertices":
        def total(one: Ints | None, more: Ints | None) -> Ints | None:
            return None if one is None or more is None else one + more

        return Vertices(
            self.flavours,
            self.edges,
            self.share,
            self.truth + other.truth,
            self.truth_found + other.truth_found,
            self.groups + other.groups,
            self.groups_right + other.groups_right,
            self.primary + other.primary,
            total(self.mass_right, other.mass_right),
            total(self.mass_wrong, other.mass_wrong),
            total(self.mass_truth, other.mass_truth),
        )

    @property
    def efficiency(self) -> Share:
        """[F] true secondary vertices that are found."""
        return Share(self.truth_found.sum(1), self.truth.sum(1))

    @property
    def purity(self) -> Share:
        """[F] secondary groups that are a true secondary vertex."""
        return Share(self.groups_right.sum(1), self.groups.sum(1))

    @property
    def fakes(self) -> Share:
        """[F] secondary groups that are none."""
        return Share((self.groups - self.groups_right).sum(1), self.groups.sum(1))

    def efficiency_in_bins(self, flavour: str) -> Share:
        """[K] the efficiency in bins of the jet's pt."""
        row = self.flavours.index(flavour)
        return Share(self.truth_found[row, 1:-1], self.truth[row, 1:-1])


def count_vertices(
    jet_T: Indices,
    truth_T: Indices,
    found_T: Indices,
    flavour_B: NDArray[np.int8],
    pt_B: Floats,
    flavours: tuple[str, ...],
    edges: Floats,
    momenta: Momenta | None,
    share: float = 0.5,
) -> Vertices:
    """The counts of some jets.

    Args:
        jet_T: [T] the jet of each constituent, from 0.
        truth_T: [T] number of its true vertex, negative for none.
        found_T: [T] number of its group.
        flavour_B: [B] index of the jet's true class, -1 for none: such a jet does not count.
        pt_B: [B] in GeV, NaN if unknown.
        flavours: F true classes.
        edges: [K + 1] bins of pt.
        momenta: Of the constituents, if they are known.
        share: See `match`.
    """
    known = flavour_B[jet_T] >= 0
    jet_T, truth_T, found_T = jet_T[known], truth_T[known], found_T[known]
    truth, found = groups(jet_T, truth_T, truth_T), groups(jet_T, found_T, truth_T)
    is_found, right = match(truth, found, share)
    secondary, is_primary = truth.primary == 0, 2 * found.primary >= found.size
    right = right & ~is_primary
    place_B = np.searchsorted(edges, np.nan_to_num(pt_B, nan=-np.inf), side="right")

    def count(which: Groups, chosen: NDArray[np.bool_]) -> Ints:
        jets = which.jet[chosen]
        shape = (len(flavours), len(edges) + 1)
        cells = flavour_B[jets].astype(np.int64) * shape[1] + place_B[jets]
        return np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape).astype(np.int64)

    def spectrum(which: Groups, chosen: NDArray[np.bool_]) -> Ints | None:
        if momenta is None:
            return None
        mine = Momenta(momenta.pt[known], momenta.eta[known], momenta.phi[known])
        values = masses(which, mine)[chosen].clip(MASS_BINS[0], np.nextafter(MASS_BINS[-1], 0))
        rows = flavour_B[which.jet[chosen]]
        return np.stack([np.histogram(values[rows == f], MASS_BINS)[0] for f in range(len(flavours))]).astype(np.int64)

    every = [count(truth, ~secondary).sum(1), count(truth, ~secondary & is_found).sum(1)]
    return Vertices(
        flavours,
        edges,
        share,
        count(truth, secondary),
        count(truth, secondary & is_found),
        count(found, ~is_primary),
        count(found, right),
        np.stack(every, 1),
        spectrum(found, right),
        spectrum(found, ~is_primary & ~right),
        spectrum(truth, secondary),
    )
