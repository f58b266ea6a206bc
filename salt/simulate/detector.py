"""From generated particles to the records of jets, tracks and flows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salt.simulate import tracker
from salt.simulate.calorimeter import Neutrals, deposit
from salt.simulate.fields import PADDING, Records, Slots, arrange, records
from salt.simulate.jets import RADIUS, Jets, JetTruth, cluster, label
from salt.simulate.options import Options
from salt.simulate.particles import Floats, Ints, Particles, nearest, visible, wrap
from salt.simulate.pileup import Pool
from salt.simulate.tracker import Tracks
from salt.simulate.truth import Kind, Origin, ancestors, hadrons, origins, vertex_indices

PION_MASS = 0.13957
"""Mass in GeV that tracks are given in jets."""
SAME_VERTEX = 2.0
"""Tracks with |z0 sin(theta)| (mm) below this enter jets; others count as pile-up there."""
MIN_FLOW_PT = 0.5
"""Neutral objects above this transverse momentum (GeV) are kept as flows."""
GEV = 1000.0
"""MeV in a GeV."""


def margin(options: Options) -> float:
    """Largest pseudorapidity at which particles can matter for the jets that are kept."""
    return options.max_eta + 2 * RADIUS


@dataclass(frozen=True, eq=False)
class Detected:
    """What the detector saw of several events.

    Args:
        tracks: Kept tracks.
        neutrals: Everything the calorimeter saw that left no track.
        in_jets: Rows of the tracks that enter jets.
    """

    tracks: Tracks
    neutrals: Neutrals
    in_jets: Ints


def detect(hard: Particles, pool: Pool | None, options: Options, rng: np.random.Generator) -> Detected:
    """Runs tracker and calorimeter over hard collisions and their pile-up."""
    events = int(hard.event[-1]) + 1
    beam = np.array([tracker.BEAM_XY, tracker.BEAM_XY, tracker.BEAM_Z])
    place = rng.standard_normal((events, 3)) * beam
    vertex_z = place[:, 2] + tracker.VERTEX_Z * rng.standard_normal(events)

    rows = np.flatnonzero(visible(hard, margin(options)))
    seen = ancestors(hard, rows)
    particles, origin = hard.take(rows), origins(seen)
    prompt = np.isin(np.abs(particles.pdg), (11, 13)) & seen[:, Kind.BOSON]
    shift = place[particles.event]
    if pool is not None:
        soft, soft_place = pool.overlay(events, options.pileup, rng)
        particles = particles.concat(soft)
        origin = np.concatenate([origin, np.full(len(soft), int(Origin.PILEUP))])
        prompt = np.concatenate([prompt, np.zeros(len(soft), dtype=bool)])
        shift = np.concatenate([shift, soft_place * beam])

    radius = np.hypot(particles.x + shift[:, 0], particles.y + shift[:, 1])
    chance = tracker.efficiency(particles.pt, particles.eta, radius, options.track_efficiency)
    chance *= (particles.charge != 0) & (particles.pt > options.min_track_pt)
    hit = np.flatnonzero(rng.random(len(particles)) < chance)
    owner = particles.event[hit]
    tracks = tracker.measure(particles.take(hit), origin[hit], shift[hit], place[owner], vertex_z[owner], rng)
    kept = np.flatnonzero(tracks.kept)
    tracks, hit = tracks.take(kept), hit[kept]

    without = ~prompt
    without[hit] = False
    neutrals = deposit(particles.take(np.flatnonzero(without)), rng)
    in_jets = np.flatnonzero((np.abs(tracks.z0_sin_theta) < SAME_VERTEX) & ~prompt[hit])
    return Detected(tracks, neutrals, in_jets)


def reconstruct(
    hard: Particles, pool: Pool | None, first_event: int, options: Options, rng: np.random.Generator
) -> dict[str, Records]:
    """The records of all jets of some hard collisions, whatever their flavour.

    Args:
        hard: Hard collisions.
        pool: Soft collisions to add.
        first_event: Number of the first event.
        options: What was asked for.
        rng: Random numbers.

    Returns:
        For each dataset its records. ``flavour_label`` is -1 for flavours that were not asked for.
    """
    seen = detect(hard, pool, options, rng)
    momenta = np.concatenate([_track_momenta(seen.tracks.take(seen.in_jets)), _neutral_momenta(seen.neutrals)])
    event = np.concatenate([seen.tracks.event[seen.in_jets], seen.neutrals.event])
    jets = cluster(event, momenta, int(hard.event[-1]) + 1, options.min_pt, options.max_eta)
    truth = label(jets, hadrons(hard))
    fakes, fake_jet = tracker.fakes(jets.event, jets.eta, jets.phi, options.fakes, rng)
    track_jet = nearest(jets, seen.tracks.event, seen.tracks.eta, seen.tracks.phi, RADIUS)
    columns, slots = _track_columns(seen.tracks.concat(fakes), np.concatenate([track_jet, fake_jet]), jets)
    bits = options.mantissa_bits
    return {
        "jets": records("jets", _jet_columns(jets, truth, slots.count, first_event, options), bits),
        "tracks": records("tracks", columns, bits),
        "flows": records("flows", _flow_columns(seen.neutrals, jets), bits),
    }


def _track_momenta(tracks: Tracks) -> Floats:
    pt, pz = tracks.pt, np.cos(tracks.theta) / np.abs(tracks.q_over_p)
    energy = np.sqrt(pt**2 + pz**2 + PION_MASS**2)
    return np.stack([pt * np.cos(tracks.phi), pt * np.sin(tracks.phi), pz, energy], axis=1)


def _neutral_momenta(neutrals: Neutrals) -> Floats:
    pt = neutrals.pt
    px, py = pt * np.cos(neutrals.phi), pt * np.sin(neutrals.phi)
    return np.stack([px, py, pt * np.sinh(neutrals.eta), neutrals.energy], axis=1)


def _jet_columns(
    jets: Jets, truth: JetTruth, n_tracks: Ints, first_event: int, options: Options
) -> dict[str, NDArray[Any]]:
    codes = {"bjets": 5, "cjets": 4, "taujets": 15, "ujets": 0}
    flavour = np.full(len(jets), -1)
    for index, name in enumerate(options.classes):
        flavour[truth.flavour == codes[name]] = index
    return {
        "pt": jets.pt * GEV,
        "eta": jets.eta,
        "phi": jets.phi,
        "mass": jets.mass * GEV,
        "energy": jets.energy * GEV,
        "n_tracks": n_tracks,
        "eventNumber": jets.event + first_event,
        "jetNumber": jets.number,
        "flavour_label": flavour,
        "HadronConeExclTruthLabelID": truth.flavour,
        "HadronConeExclTruthLabelPt": truth.pt * GEV,
        "HadronConeExclTruthLabelLxy": truth.lxy,
    }


def _track_columns(tracks: Tracks, jet: Ints, jets: Jets) -> tuple[dict[str, NDArray[Any]], Slots]:
    deta = tracks.eta - jets.eta[jet]
    dphi = wrap(tracks.phi - jets.phi[jet])
    d0_significance, z0_significance = signed_significances(tracks, deta, dphi)
    slots = arrange(jet, np.abs(d0_significance), len(jets))
    flat: dict[str, NDArray[Any]] = {
        "pt": tracks.pt * GEV,
        "d0": tracks.d0,
        "z0SinTheta": tracks.z0_sin_theta,
        "deta": deta,
        "dphi": dphi,
        "qOverP": tracks.q_over_p / GEV,
        "d0Uncertainty": tracks.sigma_d0,
        "z0SinThetaUncertainty": tracks.sigma_z0,
        "phiUncertainty": tracks.sigma_phi,
        "thetaUncertainty": tracks.sigma_theta,
        "qOverPUncertainty": tracks.sigma_q_over_p / GEV,
        "IP3D_signed_d0_significance": d0_significance,
        "IP3D_signed_z0_significance": z0_significance,
        "ftagTruthOriginLabel": tracks.origin,
        "valid": np.ones(len(jet), dtype=bool),
    }
    columns = {name: slots.fill(values, PADDING.get(name, 0)) for name, values in flat.items()}
    xyz = np.stack([slots.fill(values) for values in (tracks.x, tracks.y, tracks.z)], axis=-1)
    known = columns["valid"] & (columns["ftagTruthOriginLabel"] >= Origin.PRIMARY)
    columns["ftagTruthVertexIndex"] = vertex_indices(xyz, known)
    return columns, slots


def signed_significances(tracks: Tracks, deta: Floats, dphi: Floats) -> tuple[Floats, Floats]:
    """Impact parameters over their uncertainties, positive where the track crosses the jet axis in front.

    The sign of d0 is that of -d0 sin(dphi), the sign of z0 that of -z0 deta; the uncertainties include the size
    of the beam spot and the error of the primary vertex.

    Args:
        tracks: The tracks.
        deta: Pseudorapidity of each minus that of its jet.
        dphi: Azimuth of each minus that of its jet.
    """
    sigma_d0 = np.hypot(tracks.sigma_d0, tracker.BEAM_XY)
    sigma_z0 = np.hypot(tracks.sigma_z0, tracker.VERTEX_Z * np.sin(tracks.theta))
    d0 = np.copysign(np.abs(tracks.d0), -tracks.d0 * np.sin(dphi)) / sigma_d0
    z0 = np.copysign(np.abs(tracks.z0_sin_theta), -tracks.z0_sin_theta * deta) / sigma_z0
    return d0, z0


def _flow_columns(neutrals: Neutrals, jets: Jets) -> dict[str, NDArray[Any]]:
    hard = neutrals.take(np.flatnonzero(neutrals.pt > MIN_FLOW_PT))
    jet = nearest(jets, hard.event, hard.eta, hard.phi, RADIUS)
    slots = arrange(jet, hard.pt, len(jets))
    flat: dict[str, NDArray[Any]] = {
        "pt": hard.pt * GEV,
        "deta": hard.eta - jets.eta[jet],
        "dphi": wrap(hard.phi - jets.phi[jet]),
        "energy": hard.energy * GEV,
        "isPhoton": hard.electromagnetic.astype(np.int8),
        "valid": np.ones(len(jet), dtype=bool),
    }
    return {name: slots.fill(values) for name, values in flat.items()}
