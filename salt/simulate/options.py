"""What a user may choose about the simulated jets."""

from dataclasses import dataclass
from typing import Literal

from salt.errors import ConfigError, unknown

FLAVOURS = ("bjets", "cjets", "ujets", "taujets")
"""All flavours of a jet."""

SPLITS = ("train", "val", "test")
"""The files of one simulation, each made of its own collisions."""

Process = Literal["ttbar", "dijet", "zprime"]


@dataclass(frozen=True)
class Options:
    """The physics of a simulation. Equal options and seeds give equal jets.

    Args:
        seed: Seed of everything that is random.
        process: Hard process.
        pileup: Mean number of soft collisions on top of each hard one.
        balanced: Keep equally many jets of each class instead of the mix as it comes.
        classes: The flavours to keep, in the order of their integer values.
        min_pt: Lowest transverse momentum of a jet in GeV.
        max_eta: Largest absolute pseudorapidity of a jet.
        min_track_pt: Lowest transverse momentum of a track in GeV.
        track_efficiency: Tracking efficiency of a central, prompt particle of high momentum.
        fakes: Mean number of fake tracks in a jet.
        mantissa_bits: Explicit mantissa bits that floats keep (of 23); fewer make smaller files.
    """

    seed: int = 1
    process: Process = "ttbar"
    pileup: float = 0.0
    balanced: bool = False
    classes: tuple[str, ...] = ("bjets", "cjets", "ujets")
    min_pt: float = 20.0
    max_eta: float = 2.5
    min_track_pt: float = 0.5
    track_efficiency: float = 0.96
    fakes: float = 0.2
    mantissa_bits: int = 23

    def __post_init__(self) -> None:
        for name in self.classes:
            if name not in FLAVOURS:
                raise ConfigError(unknown("class", name, FLAVOURS, "of simulated jets"))
        if not self.classes or len(set(self.classes)) < len(self.classes):
            raise ConfigError("classes must name each wanted flavour once: " + ", ".join(FLAVOURS))
        ranges: dict[str, tuple[float, float, float]] = {
            "seed": (self.seed, 0, 100_000_000),
            "pileup": (self.pileup, 0, 500),
            "min_pt": (self.min_pt, 5, 5000),
            "max_eta": (self.max_eta, 0.1, 4.5),
            "min_track_pt": (self.min_track_pt, 0.4, 100),
            "track_efficiency": (self.track_efficiency, 0, 1),
            "fakes": (self.fakes, 0, 20),
            "mantissa_bits": (self.mantissa_bits, 4, 23),
        }
        for name, (value, low, high) in ranges.items():
            if not low <= value <= high:
                raise ConfigError(f"{name} is {value}; it must be from {low} to {high}")
