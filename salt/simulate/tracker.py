"""A parametrised tracker: helices, resolutions, efficiency, fakes."""

from dataclasses import dataclass

import numpy as np

from salt.simulate.particles import Bools, Floats, Ints, Particles, Table, wrap
from salt.simulate.truth import Origin

FIELD = 2.0
"""Magnetic field along the beam in tesla."""
CURVATURE = 0.299792458e-3
"""GeV per (tesla mm): the bending radius is pT / (CURVATURE * field) in mm."""
MAX_ETA = 2.5
"""Tracks exist inside this pseudorapidity."""
MAX_D0 = 3.5
"""Tracks with a larger transverse impact parameter (mm) are not kept."""
MAX_Z0 = 5.0
"""Tracks with a larger longitudinal impact parameter z0 sin(theta) (mm) are not kept."""
BEAM_XY = 0.010
"""Transverse size of the beam spot in mm."""
BEAM_Z = 40.0
"""Length of the beam spot in mm."""
VERTEX_Z = 0.020
"""Resolution of the reconstructed primary vertex along the beam in mm."""


@dataclass(frozen=True, eq=False)
class Perigee(Table):
    """Helix parameters where a track is closest to the beam line (x = y = 0). Lengths in mm, angles in rad.

    The point of closest approach is (-d0 sin(phi), d0 cos(phi), z0). `q_over_p` is in 1/GeV.
    """

    d0: Floats
    z0: Floats
    phi: Floats
    theta: Floats
    q_over_p: Floats


def perigee(particles: Particles, x: Floats, y: Floats, z: Floats) -> Perigee:
    """Follows charged particles back along their helices from (x, y, z) to the beam line.

    With the signed radius rho = q pT / (k B), a particle at (x, y) that flies along phi' circles around
    c = (x + rho sin(phi'), y - rho cos(phi')). At the perigee c = (rho - d0) (sin(phi), -cos(phi)), hence
    d0 = rho - sign(rho) |c|, phi = atan2(sign(rho) c_x, -sign(rho) c_y), and z0 = z - rho (phi - phi') cot(theta).
    This is exact for a homogeneous field and no energy loss.

    Args:
        particles: Charged particles.
        x: Where they were produced, in mm from the beam line.
        y: The same.
        z: The same, along the beam.
    """
    pt, phi_start = particles.pt, particles.phi
    rho = particles.charge * pt / (CURVATURE * FIELD)
    sign = np.sign(rho)
    cx = x + rho * np.sin(phi_start)
    cy = y - rho * np.cos(phi_start)
    phi = np.arctan2(sign * cx, -sign * cy)
    path = rho * wrap(phi - phi_start)
    p = np.sqrt(pt**2 + particles.pz**2)
    return Perigee(
        d0=rho - sign * np.hypot(cx, cy),
        z0=z - path * particles.pz / pt,
        phi=phi,
        theta=np.arctan2(pt, particles.pz),
        q_over_p=particles.charge / p,
    )


@dataclass(frozen=True, eq=False)
class Resolution(Table):
    """Standard deviations of the measured parameters: mm, rad and 1/GeV."""

    d0: Floats
    z0_sin_theta: Floats
    phi: Floats
    theta: Floats
    q_over_p: Floats


def resolution(pt: Floats, theta: Floats, radius: Floats) -> Resolution:
    """Resolutions of the tracker: a constant term and multiple scattering, added in quadrature.

    With s = pT sqrt(sin(theta)), pT in GeV: d0: 12 um (+) 90 um / s. z0 sin(theta): 40 um (+) 110 um / s.
    phi: 0.08 mrad (+) 1.0 mrad / s. theta: 0.4 mrad (+) sin(theta) 1.0 mrad / s.
    q/p, relative: 0.04% pT (+) 1% / sqrt(sin(theta)).
    All but the last are 1.5 times as large for particles produced beyond the innermost layer (33 mm).

    Args:
        pt: Transverse momentum in GeV.
        theta: Polar angle.
        radius: Distance of the production point from the beam line in mm.
    """
    sin = np.sin(theta)
    scattering = 1.0 / (pt * np.sqrt(sin))
    late = np.where(radius > 33.0, 1.5, 1.0)
    return Resolution(
        d0=late * np.hypot(0.012, 0.090 * scattering),
        z0_sin_theta=late * np.hypot(0.040, 0.110 * scattering),
        phi=late * np.hypot(0.08e-3, 1.0e-3 * scattering),
        theta=late * np.hypot(0.4e-3, 1.0e-3 * sin * scattering),
        q_over_p=np.hypot(4e-4 * pt, 0.01 / np.sqrt(sin)) * sin / pt,
    )


def efficiency(pt: Floats, eta: Floats, radius: Floats, plateau: float) -> Floats:
    """Chance that a charged particle leaves a track.

    plateau (1 - 0.15 (eta / 2.5)^2) (1 - 0.25 exp(-(pT - 0.5 GeV) / 0.5 GeV)) g(r), where g falls linearly from 1
    for production inside r = 30 mm to 0 at 200 mm.

    Args:
        pt: Transverse momentum in GeV.
        eta: Pseudorapidity.
        radius: Distance of the production point from the beam line in mm.
        plateau: Efficiency of a central, prompt particle of high momentum.
    """
    slow = 1.0 - 0.25 * np.exp(-(pt - 0.5) / 0.5)
    shape = (1.0 - 0.15 * (eta / MAX_ETA) ** 2) * np.clip(slow, 0.0, 1.0) * np.clip((200.0 - radius) / 170.0, 0.0, 1.0)
    return np.where(np.abs(eta) < MAX_ETA, plateau * shape, 0.0)


@dataclass(frozen=True, eq=False)
class Tracks(Table):
    """Reconstructed tracks. Lengths in mm, momenta in GeV.

    Args:
        event: Event of the track.
        d0: Transverse impact parameter, relative to the beam line.
        z0_sin_theta: Longitudinal impact parameter relative to the primary vertex, times sin(theta).
        phi: Azimuth at the perigee.
        theta: Polar angle.
        q_over_p: Charge over momentum.
        sigma_d0: Uncertainty of `d0`.
        sigma_z0: Uncertainty of `z0_sin_theta`.
        sigma_phi: Uncertainty of `phi`.
        sigma_theta: Uncertainty of `theta`.
        sigma_q_over_p: Uncertainty of `q_over_p`.
        origin: Its true `Origin`.
        x: True production point relative to the hard collision.
        y: The same.
        z: The same.
    """

    event: Ints
    d0: Floats
    z0_sin_theta: Floats
    phi: Floats
    theta: Floats
    q_over_p: Floats
    sigma_d0: Floats
    sigma_z0: Floats
    sigma_phi: Floats
    sigma_theta: Floats
    sigma_q_over_p: Floats
    origin: Ints
    x: Floats
    y: Floats
    z: Floats

    @property
    def eta(self) -> Floats:
        """Pseudorapidity."""
        eta: Floats = -np.log(np.tan(self.theta / 2))
        return eta

    @property
    def pt(self) -> Floats:
        """Transverse momentum in GeV."""
        pt: Floats = np.sin(self.theta) / np.abs(self.q_over_p)
        return pt

    @property
    def kept(self) -> Bools:
        """Whether the impact parameters are inside the limits of the track selection."""
        return (np.abs(self.d0) < MAX_D0) & (np.abs(self.z0_sin_theta) < MAX_Z0)


def measure(
    particles: Particles, origin: Ints, shift: Floats, hard: Floats, vertex_z: Floats, rng: np.random.Generator
) -> Tracks:
    """Tracks of charged particles, with uncorrelated Gaussian errors of the size that `resolution` says.

    Args:
        particles: Charged particles that leave a track; production points are relative to their own collision.
        origin: The `Origin` of each.
        shift: True position of the collision that each comes from, [n, 3] in mm.
        hard: True position of the hard collision of its event, [n, 3].
        vertex_z: Reconstructed position of that collision along the beam, [n].
        rng: Random numbers.
    """
    x, y, z = particles.x + shift[:, 0], particles.y + shift[:, 1], particles.z + shift[:, 2]
    true = perigee(particles, x, y, z)
    sigma = resolution(particles.pt, true.theta, np.hypot(x, y))
    noise = rng.standard_normal((5, len(particles)))
    q_over_p = true.q_over_p + noise[4] * sigma.q_over_p
    # Nothing is measured above the energy of a beam, so that a track of no curvature has a finite momentum.
    stiffest = 1.0 / 6500.0
    return Tracks(
        event=particles.event,
        d0=true.d0 + noise[0] * sigma.d0,
        z0_sin_theta=(true.z0 - vertex_z) * np.sin(true.theta) + noise[1] * sigma.z0_sin_theta,
        phi=wrap(true.phi + noise[2] * sigma.phi),
        theta=np.clip(true.theta + noise[3] * sigma.theta, 0.01, np.pi - 0.01),
        q_over_p=np.copysign(np.maximum(np.abs(q_over_p), stiffest), q_over_p),
        sigma_d0=sigma.d0,
        sigma_z0=sigma.z0_sin_theta,
        sigma_phi=sigma.phi,
        sigma_theta=sigma.theta,
        sigma_q_over_p=sigma.q_over_p,
        origin=origin,
        x=x - hard[:, 0],
        y=y - hard[:, 1],
        z=z - hard[:, 2],
    )


def fakes(event: Ints, eta: Floats, phi: Floats, mean: float, rng: np.random.Generator) -> tuple[Tracks, Ints]:
    """Fake tracks around jets: Poisson in number, flat in the cone, pT = 0.5 GeV + Exp(1 GeV).

    Their impact parameters are Gaussian with widths of 0.5 mm (d0) and 1 mm (z0 sin(theta)); their uncertainties
    are those of real tracks of the same momentum.

    Args:
        event: Event of each jet.
        eta: Pseudorapidity of each jet.
        phi: Azimuth of each jet.
        mean: Mean number of fakes per jet.
        rng: Random numbers.

    Returns:
        The fakes, and the row of the jet that each belongs to.
    """
    jet = np.repeat(np.arange(len(event)), rng.poisson(mean, len(event)))
    n = len(jet)
    distance, angle = 0.4 * np.sqrt(rng.random(n)), 2 * np.pi * rng.random(n)
    track_eta = eta[jet] + distance * np.cos(angle)
    theta = 2 * np.arctan(np.exp(-track_eta))
    pt = 0.5 + rng.exponential(1.0, n)
    charge = rng.choice([-1.0, 1.0], n)
    sigma = resolution(pt, theta, np.zeros(n))
    tracks = Tracks(
        event=event[jet],
        d0=0.5 * rng.standard_normal(n),
        z0_sin_theta=rng.standard_normal(n),
        phi=wrap(phi[jet] + distance * np.sin(angle)),
        theta=theta,
        q_over_p=charge * np.sin(theta) / pt,
        sigma_d0=sigma.d0,
        sigma_z0=sigma.z0_sin_theta,
        sigma_phi=sigma.phi,
        sigma_theta=sigma.theta,
        sigma_q_over_p=sigma.q_over_p,
        origin=np.full(n, int(Origin.FAKE)),
        x=np.zeros(n),
        y=np.zeros(n),
        z=np.zeros(n),
    )
    seen = np.flatnonzero((np.abs(track_eta) < MAX_ETA) & tracks.kept)
    return tracks.take(seen), jet[seen]
