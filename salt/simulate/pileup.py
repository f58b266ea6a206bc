"""Soft collisions that happen together with the hard one."""

from dataclasses import dataclass, replace

import numpy as np

from salt.simulate.generator import Generator
from salt.simulate.particles import Floats, Ints, Particles, visible

REUSE = 4
"""A pool holds this many soft collisions per event, if as many are needed at all."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Soft collisions to draw from, at random and each time turned by a random angle around the beam.

    Args:
        particles: Particles that reach the detector, in order of the collision.
        first: Row of the first particle of each collision.
        count: Particles of each collision.
    """

    particles: Particles
    first: Ints
    count: Ints

    def overlay(self, events: int, mean: float, rng: np.random.Generator) -> tuple[Particles, Floats]:
        """Soft collisions on top of `events` hard ones, Poisson in number.

        Returns:
            Their particles, numbered by the event they are added to, and for each the random number (standard
            normal in x, y, z) that says where in the beam spot its collision took place, [n, 3].
        """
        event = np.repeat(np.arange(events), rng.poisson(mean, events))
        drawn = rng.integers(len(self.count), size=len(event))
        turn = 2 * np.pi * rng.random(len(event))
        place = rng.standard_normal((len(event), 3))
        size = self.count[drawn]
        which = np.repeat(np.arange(len(event)), size)
        inner = np.arange(len(which)) - np.repeat(np.cumsum(size) - size, size)
        picked = self.particles.take(self.first[drawn][which] + inner)
        cos, sin = np.cos(turn)[which], np.sin(turn)[which]
        turned = replace(
            picked,
            event=event[which],
            px=cos * picked.px - sin * picked.py,
            py=sin * picked.px + cos * picked.py,
            x=cos * picked.x - sin * picked.y,
            y=sin * picked.x + cos * picked.y,
        )
        return turned, place[which]


def make_pool(mean: float, events: int, seed: int, max_eta: float) -> Pool:
    """Generates the soft collisions for `events` hard ones.

    Args:
        mean: Mean number of soft collisions per event.
        events: Number of hard collisions.
        seed: Seed of the generator.
        max_eta: Particles at larger pseudorapidity are left out.
    """
    size = max(1, min(REUSE * events, int(np.ceil(mean * events))))
    generator = Generator("soft", seed)
    parts = []
    for start in range(0, size, 200):
        particles = generator.collide(min(200, size - start))
        seen = particles.take(np.flatnonzero(visible(particles, max_eta)))
        parts.append(replace(seen, event=seen.event + start))
    pool = parts[0]
    for part in parts[1:]:
        pool = pool.concat(part)
    count = np.bincount(pool.event, minlength=size)
    return Pool(pool, np.cumsum(count) - count, count)
