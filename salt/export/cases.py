"""Jets on which an exported model is tried: real and made-up ones, of any number of constituents, in any order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from salt.batch import JetBatch
from salt.inputs import JETS
from salt.model import JetTagger
from salt.ragged import Ragged

COUNTS = (0, 1, 2, 7, 40, 200)
"""Numbers of constituents of an input."""

REPEATS = 3
"""Jets of each number."""


@dataclass(frozen=True, eq=False)
class Case:
    """One jet.

    Args:
        words: What it is, for messages.
        jets: [1, F].
        constituents: For each other input its [n, F] rows.
    """

    words: str
    jets: Tensor
    constituents: Mapping[str, Tensor]


def make_cases(model: JetTagger, real: JetBatch | None, seed: int = 1) -> list[Case]:
    """Jets for each number of constituents, and each a second time with its constituents in another order.

    Args:
        model: Whose inputs they have. Made-up jets have values around the mean of each variable.
        real: Jets of a file. For a jet of more constituents than any has, those of several jets stand together.
        seed: Of random numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    cases = []
    for number in range(REPEATS * len(COUNTS)):
        counts = _counts(model.constituents, number)
        cases.append(_random(model, counts, generator))
        if real is not None:
            cases.append(_real(real, counts, number))
    return cases + [_shuffled(case, generator) for case in cases if case.constituents]


def together(cases: Sequence[Case]) -> JetBatch:
    """The cases as one batch."""
    counts = {name: torch.tensor([len(c.constituents[name]) for c in cases]) for name in cases[0].constituents}
    return JetBatch(
        torch.cat([case.jets for case in cases]),
        {n: Ragged.from_counts(torch.cat([c.constituents[n] for c in cases]), k) for n, k in counts.items()},
        {},
        torch.arange(len(cases)),
        {},
    )


def _counts(names: Sequence[str], number: int) -> dict[str, int]:
    """First as many of each input, later of each input another number."""
    shift = number // len(COUNTS)
    return {name: COUNTS[(number + shift * k) % len(COUNTS)] for k, name in enumerate(names)}


def _random(model: JetTagger, counts: Mapping[str, int], generator: torch.Generator) -> Case:
    def draw(name: str, rows: int) -> Tensor:
        scale = model.normalise[name]
        mean, std = scale.mean, scale.std
        assert isinstance(mean, Tensor)
        assert isinstance(std, Tensor)
        return mean + std * torch.randn(rows, len(mean), generator=generator)

    words = f"a random jet of {_in_words(counts)}"
    return Case(words, draw(JETS, 1), {name: draw(name, count) for name, count in counts.items()})


def _real(real: JetBatch, counts: Mapping[str, int], number: int) -> Case:
    jet = number * 7919 % len(real)
    constituents = {}
    for name, count in counts.items():
        x = real.constituents[name]
        rows = (int(x.host_offsets[jet]) + torch.arange(count)) % max(1, x.values.shape[0])
        constituents[name] = x.values[rows if x.values.shape[0] else slice(0)]
    found = {name: len(values) for name, values in constituents.items()}
    return Case(f"a jet of row {int(real.rows[jet])} with {_in_words(found)}", real.jets[jet : jet + 1], constituents)


def _shuffled(case: Case, generator: torch.Generator) -> Case:
    mixed = {n: x[torch.randperm(len(x), generator=generator)] for n, x in case.constituents.items()}
    return Case(f"{case.words} in another order", case.jets, mixed)


def _in_words(counts: Mapping[str, int]) -> str:
    return " and ".join(f"{count} {name}" for name, count in counts.items()) or "no constituents"
