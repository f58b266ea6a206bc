"""A parametrised calorimeter: neutral objects."""

from dataclasses import dataclass

import numpy as np

from salt.simulate.particles import Bools, Floats, Ints, Particles, Table, wrap


@dataclass(frozen=True, eq=False)
class Neutrals(Table):
    """What the calorimeter measures of particles without a track. Energies in GeV.

    Args:
        event: Event of the object.
        energy: Measured energy.
        eta: Measured pseudorapidity.
        phi: Measured azimuth.
        electromagnetic: Whether it looks like a photon.
    """

    event: Ints
    energy: Floats
    eta: Floats
    phi: Floats
    electromagnetic: Bools

    @property
    def pt(self) -> Floats:
        """Transverse momentum in GeV, of a massless object."""
        pt: Floats = self.energy / np.cosh(self.eta)
        return pt


def energy_resolution(energy: Floats, electromagnetic: Bools) -> Floats:
    """Relative: 10% / sqrt(E) (+) 0.7% electromagnetic, 50% / sqrt(E) (+) 3% hadronic, with E in GeV."""
    root = np.sqrt(np.maximum(energy, 1e-3))
    return np.where(electromagnetic, np.hypot(0.10 / root, 0.007), np.hypot(0.50 / root, 0.03))


def deposit(particles: Particles, rng: np.random.Generator) -> Neutrals:
    """Objects from particles without a track, one each.

    The energy is log-normal around the truth with the relative width of `energy_resolution` (so it is positive and
    right on average); eta and phi are Gaussian with 0.003 (electromagnetic) or 0.02 (hadronic). Charged particles
    below 0.35 GeV curl up in the field before the calorimeter, and muons leave next to nothing there.
    """
    code = np.abs(particles.pdg)
    reaching = ((particles.charge == 0) | (particles.pt > 0.35)) & (code != 13)
    seen = particles.take(np.flatnonzero(reaching))
    electromagnetic = np.isin(seen.pdg, (22, 11, -11))
    width = np.sqrt(np.log1p(energy_resolution(seen.energy, electromagnetic) ** 2))
    noise = rng.standard_normal((3, len(seen)))
    blur = np.where(electromagnetic, 0.003, 0.02)
    return Neutrals(
        event=seen.event,
        energy=seen.energy * np.exp(width * noise[0] - width**2 / 2),
        eta=seen.eta + blur * noise[1],
        phi=wrap(seen.phi + blur * noise[2]),
        electromagnetic=electromagnetic,
    )
