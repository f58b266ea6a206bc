"""Chunks: the unit of work, a pure function of options, split and number."""

import numpy as np

from salt.simulate.detector import margin, reconstruct
from salt.simulate.fields import Records
from salt.simulate.generator import Generator
from salt.simulate.options import SPLITS, Options
from salt.simulate.particles import Ints
from salt.simulate.pileup import make_pool

BLOCK = 50
"""Events that are held in memory at once."""
LARGEST = 500
"""Events of a chunk, but for the first ones, which are smaller so that a few jets come soon."""
STREAMS = 1_000_000
"""Seeds of Pythia that are set aside for each split."""
EVENTS = 1_000_000_000
"""Event numbers that are set aside for each split of each seed."""


def events_of(chunk: int) -> int:
    """Number of events of a chunk: 50, 50, 100, 100, 200, 200, 400, 400, then 500 each."""
    return min(LARGEST, BLOCK * 2 ** (chunk // 2)) if chunk < 10 else LARGEST


def first_event(seed: int, split: str, chunk: int) -> int:
    """Number of the first event of a chunk; no two chunks of any seed and split share an event number."""
    before = sum(events_of(c) for c in range(min(chunk, 10))) + LARGEST * max(0, chunk - 10)
    return (seed * len(SPLITS) + SPLITS.index(split)) * EVENTS + before


def make_chunk(options: Options, split: str, chunk: int) -> dict[str, Records]:
    """The jets of one chunk.

    Args:
        options: What was asked for.
        split: Which file the jets are for.
        chunk: Number of the chunk in its file.

    Returns:
        For each dataset its records; only the classes asked for, and balanced if asked for.
    """
    events = events_of(chunk)
    offset = int(np.random.SeedSequence(options.seed).generate_state(1)[0])
    stream = 2 * (SPLITS.index(split) * STREAMS + chunk)
    rng = np.random.default_rng([options.seed, SPLITS.index(split), chunk])
    generator = Generator(options.process, 1 + (offset + stream) % 900_000_000)
    pool = None
    if options.pileup:
        pool = make_pool(options.pileup, events, 1 + (offset + stream + 1) % 900_000_000, margin(options))
    number = first_event(options.seed, split, chunk)
    blocks = [
        reconstruct(generator.collide(BLOCK), pool, number + start, options, rng) for start in range(0, events, BLOCK)
    ]
    made = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    label = made["jets"]["flavour_label"]
    rows = balanced(label, len(options.classes), rng) if options.balanced else np.flatnonzero(label >= 0)
    return {name: values[rows] for name, values in made.items()}


def balanced(label: Ints, classes: int, rng: np.random.Generator) -> Ints:
    """Rows that hold each class equally often: always one of each class, in random order, after the other."""
    members = [np.flatnonzero(label == c) for c in range(classes)]
    count = min(len(rows) for rows in members)
    groups = np.stack([rows[:count] for rows in members], axis=1)
    return rng.permuted(groups, axis=1).ravel()
