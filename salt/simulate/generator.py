"""Collisions from Pythia 8 as flat arrays."""

from typing import Any

import numpy as np

from salt.errors import SaltError
from salt.simulate.options import Process
from salt.simulate.particles import Floats, Ints, Particles
from salt.simulate.truth import Kind, kinds

MISSING = 'simulation needs Pythia 8 and FastJet\ninstall them with: pip install "salt-tagger[simulate]"'

SETTINGS: dict[str, tuple[str, ...]] = {
    "ttbar": ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on"),
    "dijet": ("HardQCD:all = on", "PhaseSpace:pTHatMin = 30"),
    "zprime": (
        "NewGaugeBoson:ffbar2gmZZprime = on",
        "Zprime:gmZmode = 3",
        "32:m0 = 2500",
        "32:onMode = off",
        "32:onIfAny = 1 2 3 4 5",
    ),
    "soft": ("SoftQCD:nonDiffractive = on",),
}
"""Pythia's settings for each hard process, and for the soft collisions of pile-up."""


class Generator:
    """One initialised Pythia: proton collisions at 13 TeV with its default (Monash) tune and underlying event.

    See C. Bierlich et al., A comprehensive guide to the physics and usage of PYTHIA 8.3, arXiv:2203.11601, and
    P. Skands et al., Tuning PYTHIA 8.1: the Monash 2013 tune, arXiv:1404.5630.

    Args:
        process: A hard process, or ``soft``.
        seed: Seed of Pythia's own random numbers, 1 to 900 000 000.

    Raises:
        SaltError: Pythia is not installed or does not start.
    """

    def __init__(self, process: Process | str, seed: int) -> None:
        try:
            import pythia8mc
        except ImportError as error:
            raise SaltError(MISSING) from error
        self._pythia = pythia8mc.Pythia("", False)
        common = ("Print:quiet = on", "Beams:eCM = 13000", "Random:setSeed = on", f"Random:seed = {seed}")
        for line in common + SETTINGS[process]:
            self._pythia.readString(line)
        if not self._pythia.init():
            raise SaltError(f"Pythia could not be set up for the process '{process}'")
        self._charges: dict[int, float] = {}

    def collide(self, count: int) -> Particles:
        """The next `count` collisions."""
        import awkward as ak

        record = self._pythia.nextBatch(count).prt
        sizes = ak.num(record).to_numpy().astype(np.int64)
        start = np.repeat(np.cumsum(sizes) - sizes, sizes)
        flat = ak.flatten(record)

        def column(values: Any) -> Floats:
            return np.asarray(values.to_numpy(), dtype=np.float64)

        pdg = flat.id.to_numpy().astype(np.int64)
        mother = flat.mother1.to_numpy().astype(np.int64)
        mother = np.where(mother > 0, mother + start, -1)
        momentum = np.stack([column(flat.p.px), column(flat.p.py), column(flat.p.pz)])
        x, y, z = production_points(pdg, mother, column(flat.tau), momentum, column(flat.m))
        return Particles(
            event=np.repeat(np.arange(len(sizes)), sizes),
            pdg=pdg,
            final=flat.status.to_numpy() > 0,
            mother=mother,
            charge=self._charge(pdg),
            px=momentum[0],
            py=momentum[1],
            pz=momentum[2],
            energy=column(flat.p.e),
            x=x,
            y=y,
            z=z,
        )

    def _charge(self, pdg: Ints) -> Floats:
        codes, inverse = np.unique(pdg, return_inverse=True)
        for code in codes.tolist():
            if code not in self._charges:
                self._charges[code] = float(self._pythia.particleData.charge(code))
        return np.array([self._charges[code] for code in codes.tolist()])[inverse]


def production_points(pdg: Ints, mother: Ints, lifetime: Floats, momentum: Floats, mass: Floats) -> Floats:
    """Where each particle was produced, in mm from its collision: the flights of all its ancestors added up.

    A particle that lives for the proper time tau flies tau p / m before it decays; partons do not fly. (Pythia's own
    production vertices are the same, but its batches hand them over in the wrong rows.)

    Args:
        pdg: Particle codes, [n].
        mother: Row of the mother, -1 for none, [n].
        lifetime: Proper lifetimes in mm, [n].
        momentum: Momenta in GeV, [3, n].
        mass: Masses in GeV, [n].
    """
    parton = kinds(pdg) == Kind.PARTON
    # A last row that stands for "no ancestor" and did not fly.
    flying = np.append(~parton & (lifetime > 0) & (mass > 0), False)
    scale = np.zeros(len(pdg) + 1)
    scale[flying] = lifetime[flying[:-1]] / mass[flying[:-1]]
    flight = np.concatenate([momentum, np.zeros((3, 1))], axis=1) * scale
    root = len(pdg)
    above = np.append(np.where((mother < 0) | parton | parton[mother], root, mother), root)
    point: Floats = flight[:, above]
    while np.any(above != root):
        point = point + point[:, above]
        above = above[above]
    return point[:, :-1]
