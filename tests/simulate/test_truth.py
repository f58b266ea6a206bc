"""Ancestry, labels and vertices on decays written down by hand, and Pythia's own vertices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salt.simulate.fields import WIDTH, arrange, shorten
from salt.simulate.generator import Generator
from salt.simulate.jets import Jets, label
from salt.simulate.particles import Particles, nearest
from salt.simulate.truth import Hadrons, Kind, Origin, ancestors, hadrons, kinds, origins, vertex_indices


def test_kinds_of_known_particles():
    codes = {
        521: Kind.BOTTOM, -511: Kind.BOTTOM, 5122: Kind.BOTTOM, 541: Kind.BOTTOM, 20523: Kind.BOTTOM,
        411: Kind.CHARM, -4122: Kind.CHARM, 10421: Kind.CHARM, 310: Kind.STRANGE, 3122: Kind.STRANGE,
        443: Kind.OTHER, 553: Kind.OTHER, 211: Kind.OTHER, 22: Kind.OTHER, 11: Kind.OTHER, 2212: Kind.OTHER,
        -15: Kind.TAU, 24: Kind.BOSON, 5: Kind.PARTON, 21: Kind.PARTON, 5101: Kind.PARTON, 2203: Kind.PARTON,
        90: Kind.PARTON,
    }  # fmt: skip
    np.testing.assert_array_equal(kinds(np.array(list(codes))), list(codes.values()))


def family(members):
    """Particles from (pdg, mother, px, x) each; those that are nobody's mother are final."""
    pdg, mother, px, x = (np.array(column) for column in zip(*members, strict=True))
    n = len(pdg)
    zero = np.zeros(n)
    px, x = px.astype(float), x.astype(float)
    final = ~np.isin(np.arange(n), mother)
    return Particles(np.zeros(n, dtype=np.int64), pdg, final, mother, zero, px, zero, zero, px, x, zero, zero)


DECAYS = family(
    [
        (5, -1, 80, 0),  # 0: b quark
        (513, 0, 70, 0),  # 1: B*
        (511, 1, 69, 0),  # 2: B0
        (-411, 2, 40, 3),  # 3: D-
        (211, 2, 20, 3),  # 4: pi from B
        (310, 3, 20, 5),  # 5: K0S from D
        (-211, 5, 10, 50),  # 6: pi from K0S from D from B
        (24, -1, 80, 0),  # 7: W
        (-15, 7, 60, 0),  # 8: tau
        (211, 8, 30, 2),  # 9: pi from tau
        (3122, 0, 9, 0),  # 10: Lambda
        (2212, 10, 8, 70),  # 11: p from Lambda
        (113, 0, 9, 0),  # 12: rho
        (211, 12, 5, 0),  # 13: pi from rho
        (431, 0, 30, 0),  # 14: prompt Ds
        (-15, 14, 20, 4),  # 15: tau from Ds
        (-11, 15, 10, 6),  # 16: e from tau from Ds
    ]
)


def test_origins_of_decay_products():
    rows = np.array([4, 6, 9, 11, 13, 16])
    wanted = [Origin.FROM_B, Origin.FROM_BC, Origin.FROM_TAU, Origin.OTHER_SECONDARY, Origin.PRIMARY, Origin.FROM_C]
    np.testing.assert_array_equal(origins(ancestors(DECAYS, rows)), wanted)


def test_labelling_hadrons_are_the_last_of_their_flavour():
    found = hadrons(DECAYS)
    # B0 (not B*), its D-, the hadronic tau, Ds; the tau from Ds is leptonic.
    np.testing.assert_array_equal(found.flavour, [5, 4, 15, 4])
    np.testing.assert_array_equal(found.pt, [69, 40, 60, 30])
    np.testing.assert_array_equal(found.lxy, [3, 5, 2, 4])


def test_a_hadron_labels_its_nearest_jet_and_b_goes_before_c():
    eta, phi = np.array([0, 0.25, 0]), np.array([3.1, 3.1, 0])
    jets = Jets(np.array([0, 0, 1]), np.array([0, 1, 0]), np.full(3, 9.0), eta, phi, np.ones(3), np.full(3, 9.0))
    found = Hadrons(
        event=np.array([0, 0, 0, 1]),
        flavour=np.array([4, 5, 5, 15]),
        pt=np.array([50.0, 20.0, 30.0, 40.0]),
        eta=np.array([0.0, 0.01, 0.02, 0.29]),
        phi=np.array([-3.1, 3.1, 3.1, 0.0]),  # the first lies across the seam of phi
        lxy=np.array([1.0, 2.0, 3.0, 4.0]),
    )
    truth = label(jets, found)
    np.testing.assert_array_equal(truth.flavour, [5, 0, 15])
    np.testing.assert_array_equal(truth.pt, [30, np.nan, np.nan])
    np.testing.assert_array_equal(truth.lxy, [3, np.nan, np.nan])


def reference_vertices(xyz, known, distance=0.1):
    """Vertices of one jet by walking the graph of neighbours."""
    index = np.full(len(xyz), -2)
    points = [(0.0, -1, np.zeros(3))] + [(float(np.linalg.norm(p)), i, p) for i, p in enumerate(xyz) if known[i]]
    points.sort(key=lambda item: item[:2])
    done, number = set(), 0
    for _, seed, position in points:
        if seed in done:
            continue
        todo, group = [(seed, position)], set()
        while todo:
            i, p = todo.pop()
            if i in group:
                continue
            group.add(i)
            todo += [(j, q) for _, j, q in points if np.sum((q - p) ** 2) < distance**2]
        for i in group - {-1}:
            index[i] = number
        done |= group
        number += 1
    return index


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000))
def test_vertex_indices_equal_a_walk_over_neighbours(seed):
    rng = np.random.default_rng(seed)
    xyz = rng.normal(0, rng.choice([0.03, 0.1, 0.3]), (4, 12, 3))
    xyz[:, 1] = xyz[:, 0]
    known = rng.random((4, 12)) < 0.8
    found = vertex_indices(xyz, known)
    for jet in range(4):
        np.testing.assert_array_equal(found[jet], reference_vertices(xyz[jet], known[jet]))


def test_production_points_are_those_of_pythia():
    particles = Generator("ttbar", 5).collide(3)
    direct = Generator("ttbar", 5)._pythia
    for event in range(3):
        direct.next()
        points = np.array([(p.xProd(), p.yProd(), p.zProd()) for p in direct.event])
        mine = particles.event == event
        found = np.stack([particles.x, particles.y, particles.z], axis=1)[mine]
        np.testing.assert_allclose(found, points, rtol=1e-8, atol=1e-9)
        np.testing.assert_array_equal(particles.final[mine], [p.isFinal() for p in direct.event])
        np.testing.assert_array_equal(particles.charge[mine], [p.charge() for p in direct.event])


@given(st.integers(0, 10_000))
def test_nearest_equals_a_double_loop(seed):
    rng = np.random.default_rng(seed)
    event = np.sort(rng.integers(0, 4, 7))
    zero = np.zeros(7)
    jets = Jets(event, zero, zero, rng.normal(size=7), rng.uniform(-np.pi, np.pi, 7), zero, zero)
    objects = rng.integers(0, 4, 20), rng.normal(size=20), rng.uniform(-np.pi, np.pi, 20)
    found = nearest(jets, *objects, radius=0.8)
    for i, (e, eta, phi) in enumerate(zip(*objects, strict=True)):
        distance = np.hypot(jets.eta - eta, np.angle(np.exp(1j * (jets.phi - phi))))
        distance[(event != e) | (distance >= 0.8)] = np.inf
        assert found[i] == (np.argmin(distance) if np.isfinite(distance).any() else -1)


def test_arrange_sorts_cuts_off_and_counts():
    jet = np.array([1, -1, 0, 1] + [2] * (WIDTH + 5))
    key = np.concatenate([[1.0, 9.0, 5.0, 2.0], np.arange(WIDTH + 5)])
    slots = arrange(jet, key, 4)
    filled = slots.fill(key, -1)
    np.testing.assert_array_equal(slots.count, [1, 2, WIDTH + 5, 0])
    np.testing.assert_array_equal(filled[0, :2], [5, -1])
    np.testing.assert_array_equal(filled[1, :3], [2, 1, -1])
    np.testing.assert_array_equal(filled[2], np.arange(WIDTH + 5)[::-1][:WIDTH])
    assert np.all(filled[3] == -1)


@given(st.floats(width=32), st.integers(4, 23))
def test_shortened_floats_are_near_and_short(value, bits):
    with np.errstate(over="ignore"):
        found = shorten(np.array([value], dtype=np.float32), bits)[0]
    if not np.isfinite(value) or abs(value) > 1e38:
        assert np.isnan(found) if np.isnan(value) else True
    else:
        assert abs(found - value) <= abs(value) * 2.0 ** -(bits + 1) + 1e-38
        assert int(found.view(np.uint32)) % 2 ** (23 - bits) == 0


@pytest.mark.parametrize("process", ["dijet", "zprime"])
def test_other_processes_start(process):
    particles = Generator(process, 1).collide(2)
    assert particles.event[-1] == 1
    assert np.abs(particles.charge[particles.final].sum()) == 4  # two collisions of two protons
