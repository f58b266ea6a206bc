"""The parametrised tracker against integration of the equation of motion, and against its own formulas."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salt.simulate import tracker
from salt.simulate.calorimeter import deposit
from salt.simulate.detector import detect, signed_significances
from salt.simulate.options import Options
from salt.simulate.particles import Particles
from salt.simulate.truth import Origin


def pions(px, py, pz, charge, x=0.0, y=0.0, z=0.0, event=None):
    """Charged pions that no hadron is an ancestor of."""
    px, py, pz, charge, x, y, z = (np.atleast_1d(np.asarray(a, dtype=float)) for a in (px, py, pz, charge, x, y, z))
    n = len(px)
    fill = [np.broadcast_to(a, n).copy() for a in (x, y, z)]
    return Particles(
        event=np.zeros(n, dtype=np.int64) if event is None else event,
        pdg=np.where(charge > 0, 211, -211),
        final=np.ones(n, dtype=bool),
        mother=np.full(n, -1),
        charge=charge,
        px=px,
        py=py,
        pz=pz,
        energy=np.sqrt(px**2 + py**2 + pz**2 + 0.13957**2),
        x=fill[0],
        y=fill[1],
        z=fill[2],
    )


def fly(position, momentum, charge, length, steps=400):
    """Integrates dp/ds = 0.3 q (p / |p|) x B by the midpoint rule; lengths in mm, momenta in GeV, B along z."""
    field = np.array([0.0, 0.0, tracker.FIELD])
    position, momentum = np.array(position, dtype=float), np.array(momentum, dtype=float)
    step = length / steps
    for _ in range(steps):
        half = momentum + step / 2 * 0.299792458e-3 * charge * np.cross(momentum / np.linalg.norm(momentum), field)
        position = position + step * half / np.linalg.norm(half)
        momentum = momentum + step * 0.299792458e-3 * charge * np.cross(half / np.linalg.norm(half), field)
    return position, momentum


@settings(max_examples=15, deadline=None)
@given(
    d0=st.floats(-3, 3),
    z0=st.floats(-50, 50),
    phi=st.floats(-3, 3),
    theta=st.floats(0.3, 2.8),
    pt=st.floats(0.5, 20),
    charge=st.sampled_from([-1.0, 1.0]),
    length=st.floats(0, 100),
)
def test_perigee_undoes_the_flight_through_the_field(d0, z0, phi, theta, pt, charge, length):
    start = (-d0 * np.sin(phi), d0 * np.cos(phi), z0)
    momentum = (pt * np.cos(phi), pt * np.sin(phi), pt / np.tan(theta))
    position, later = fly(start, momentum, charge, length)
    found = tracker.perigee(pions(*later, charge), *(np.array([c]) for c in position))
    assert found.d0[0] == pytest.approx(d0, abs=1e-3)
    assert found.z0[0] == pytest.approx(z0, abs=1e-3)
    assert np.cos(found.phi[0] - phi) == pytest.approx(1, abs=1e-8)
    assert found.theta[0] == pytest.approx(theta, abs=1e-6)
    assert found.q_over_p[0] == pytest.approx(charge * np.sin(theta) / pt, rel=1e-6)


def test_perigee_of_a_straight_line():
    # Along +x at y = 1 mm: closest at (0, 1), where d0 cos(phi) = 1. Along +x at y = -1: d0 = -1.
    found = tracker.perigee(
        pions([1e7, 1e7], [0, 0], [1e7, 0], [1, 1]), np.array([5.0, 5.0]), np.array([1.0, -1.0]), np.zeros(2)
    )
    np.testing.assert_allclose(found.d0, [1, -1], atol=1e-5)
    np.testing.assert_allclose(found.z0, [-5, 0], atol=1e-5)


def test_pulls_are_standard_normal():
    rng = np.random.default_rng(3)
    n = 20_000
    pt, phi, eta = rng.uniform(0.5, 20, n), rng.uniform(-3, 3, n), rng.uniform(-2.4, 2.4, n)
    particles = pions(pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), rng.choice([-1, 1], n))
    shift = rng.normal(0, [0.01, 0.01, 40], (n, 3))
    truth = tracker.perigee(particles, *shift.T)
    seen = tracker.measure(particles, np.full(n, 2), shift, shift, shift[:, 2], rng)
    sin = np.sin(truth.theta)
    for value, true, sigma in (
        (seen.d0, truth.d0, seen.sigma_d0),
        (seen.z0_sin_theta, (truth.z0 - shift[:, 2]) * sin, seen.sigma_z0),
        (seen.theta, truth.theta, seen.sigma_theta),
        (np.sin(seen.phi - truth.phi), 0, seen.sigma_phi),
        (seen.q_over_p, truth.q_over_p, seen.sigma_q_over_p),
    ):
        pull = (value - true) / sigma
        assert abs(pull.mean()) < 4 / np.sqrt(n)
        assert abs(pull.std() - 1) < 4 / np.sqrt(2 * n)
        assert abs(np.mean(np.abs(pull) < 1) - 0.6827) < 4 * np.sqrt(0.6827 * 0.3173 / n)


def test_resolutions_by_hand():
    central = tracker.resolution(np.array([1.0, 1.0]), np.full(2, np.pi / 2), np.array([0.0, 34.0]))
    np.testing.assert_allclose(central.d0, np.hypot(0.012, 0.090) * np.array([1, 1.5]))
    np.testing.assert_allclose(central.z0_sin_theta[0], np.hypot(0.040, 0.110))
    np.testing.assert_allclose(central.q_over_p, np.hypot(4e-4, 0.01))


@pytest.mark.parametrize(
    ("pt", "eta", "radius", "expected"),
    [
        (50, 0, 0, 0.9),
        (50, 2.499, 0, 0.9 * 0.85),
        (0.5, 0, 0, 0.9 * 0.75),
        (50, 0, 115, 0.45),
        (50, 0, 201, 0),
        (50, 2.6, 0, 0),
    ],
)
def test_efficiency_by_hand(pt, eta, radius, expected):
    found = tracker.efficiency(np.array([pt]), np.array([eta]), np.array([radius]), 0.9)
    assert found[0] == pytest.approx(expected, abs=1e-3)


def test_detector_finds_tracks_at_the_configured_rate():
    rng = np.random.default_rng(4)
    n = 20_000
    phi = rng.uniform(-3, 3, n)
    particles = pions(5 * np.cos(phi), 5 * np.sin(phi), np.zeros(n), rng.choice([-1, 1], n))
    seen = detect(particles, None, Options(track_efficiency=0.8), rng)
    assert abs(len(seen.tracks.event) / n - 0.8) < 4 * np.sqrt(0.8 * 0.2 / n)
    assert np.all(seen.tracks.origin == Origin.PRIMARY)
    # What leaves no track is seen by the calorimeter instead.
    assert len(seen.neutrals.event) == n - len(seen.tracks.event)


def test_fakes_come_at_the_configured_rate_inside_the_cone():
    rng = np.random.default_rng(5)
    jets = 10_000
    eta, phi = rng.uniform(-1, 1, jets), rng.uniform(-3.14, 3.14, jets)
    tracks, jet = tracker.fakes(np.arange(jets), eta, phi, 0.7, rng)
    assert abs(len(jet) / jets - 0.7) < 4 * np.sqrt(0.7 / jets)
    assert np.all(tracks.origin == Origin.FAKE)
    dphi = np.angle(np.exp(1j * (tracks.phi - phi[jet])))
    assert np.hypot(tracks.eta - eta[jet], dphi).max() < 0.4


def test_lifetime_sign_is_positive_in_front_of_the_primary_vertex():
    # A jet along +x; decays 2 mm downstream and, impossibly, 2 mm upstream, with tracks to either side.
    tracks_from = pions([50, 50, 50, 50], [10, -10, 10, -10], [8, -8, 8, -8], [1, -1, 1, -1], x=[2, 2, -2, -2])
    shift = np.zeros((4, 3))
    seen = tracker.measure(tracks_from, np.full(4, 2), shift, shift, np.zeros(4), np.random.default_rng(6))
    d0, z0 = signed_significances(seen, seen.eta, seen.phi)
    assert np.all(np.sign(d0) == [1, 1, -1, -1])
    assert np.all(np.sign(z0) == [1, 1, -1, -1])
    assert np.abs(d0).min() > 10


def test_calorimeter_is_right_on_average_and_blind_to_muons_and_curlers():
    n = 20_000
    photons = pions(np.full(n, 1.0), np.zeros(n), np.zeros(n), np.zeros(n))
    photons.pdg[:] = 22
    photons.energy[:] = 1.0
    seen = deposit(photons, np.random.default_rng(7))
    width = np.hypot(0.1, 0.007)
    assert abs(seen.energy.mean() - 1) < 4 * width / np.sqrt(n)
    assert seen.energy.std() == pytest.approx(width, rel=0.03)
    assert np.all(seen.electromagnetic)
    soft = pions([0.3, 5.0], [0, 0], [0, 0], [1, 1])
    soft.pdg[1] = 13
    assert len(deposit(soft, np.random.default_rng(8)).event) == 0
