"""What a config says of an adversary."""

from dataclasses import dataclass
from math import isfinite
from typing import Literal, TypeAlias

from salt.errors import ConfigError, unknown

Mode: TypeAlias = Literal["alternate", "reversal", "distance_correlation"]
MODES = ("alternate", "reversal", "distance_correlation")

WHERE = "model.adversary"
NETWORK = ("ratio", "steps", "hidden")
"""Options of an adversary that is a network."""
EXIT = ("tolerance", "patience")
"""Options that say when the balance is reached."""


@dataclass(frozen=True)
class Adversary:
    """Training against a network that tries to read a nuisance from the scores of a classification of jets.

    With the loss L of the tasks and the cross-entropy C of the adversary, the tagger minimises
    ``alpha L - (1 - alpha) C``, and the adversary C.

    Args:
        nuisance: What shall not be readable: a variable of the jets in the files, such as ``pt`` or ``mass``, among
            the inputs of the model or not, or a label, such as whether a jet is simulated.
        classes: The classes whose jets count, which is the background; null for all but the signal of the task's
            rejections, which is ``bjets`` if nothing else is said.
        task: Name of the classification of jets; null for the only one.
        bins: Number of bins of the nuisance with as many jets of the training background each. A nuisance with few
            values has one bin for each.
        mode: What the scores are held against. ``alternate``: in each step first the adversary learns, then the tagger;
            ``reversal``: both at once, with the gradient of the adversary reversed (arXiv:1409.7495);
            ``distance_correlation``: no network, but the squared distance correlation of scores and bins, D, and the
            loss ``alpha L + (1 - alpha) D`` (arXiv:2001.05310).
        alpha: Between 0 and 1: how much the tasks count beside the adversary. 1 is plain training, in which the
            adversary just looks on.
        warmup_epochs: Epochs of plain training, in which the adversary learns to read; at least 1. What can be read
            after them is the balance of 0.
        ratio: Learning rate of the tagger over that of the adversary, whose schedule is the same; 0.2 if not given,
            since an adversary that learns slowly is deceived and not beaten.
        steps: Steps of the adversary in each step of the tagger, on the scores of the same jets; 5 if not given. For
            ``reversal`` it is one.
        hidden: Widths of the hidden layers of the adversary; two of 64 if not given.
        balance: The balance at which the training ends, between 0 (the nuisance is as readable as after the warm-up)
            and 1 (nothing is readable), measured by a fresh network in each validation; null trains to the end.
        tolerance: How far below it a balance counts as reached; 0.05 if not given.
        patience: In how many validations in a row it must be reached; 3 if not given.
    """

    nuisance: str
    classes: list[str] | None = None
    task: str | None = None
    bins: int = 10
    mode: Mode = "alternate"
    alpha: float = 0.5
    warmup_epochs: int = 1
    ratio: float | None = None
    steps: int | None = None
    hidden: list[int] | None = None
    balance: float | None = None
    tolerance: float | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"{WHERE}.mode: " + unknown("mode", self.mode, MODES))
        self._check_effects()
        self._within("alpha", above=0, most=1)
        self._within("balance", above=0, most=1)
        self._within("ratio", above=0)
        self._within("tolerance", least=0)
        for key, least in (("bins", 2), ("warmup_epochs", 1), ("steps", 1), ("patience", 1)):
            self._within(key, least=least)
        if self.hidden is not None and any(size < 1 for size in self.hidden):
            raise ConfigError(f"{WHERE}.hidden is {self.hidden}; widths of layers are at least 1")

    @property
    def has_network(self) -> bool:
        """Whether the adversary is a network."""
        return self.mode != "distance_correlation"

    @property
    def steps_each(self) -> int:
        """Steps of the network in each step of the tagger."""
        return 1 if self.mode == "reversal" else 5 if self.steps is None else self.steps

    @property
    def slower(self) -> float:
        """The rate of the tagger over that of the network."""
        return 0.2 if self.ratio is None else self.ratio

    @property
    def opposes(self) -> bool:
        """Whether the tagger is trained against it at all, after the warm-up."""
        return self.alpha < 1

    @property
    def exit(self) -> tuple[float, int] | None:
        """The balance that is enough, and in how many validations in a row; None to train to the end."""
        if self.balance is None:
            return None
        tolerance = 0.05 if self.tolerance is None else self.tolerance
        return self.balance - tolerance, 3 if self.patience is None else self.patience

    def _check_effects(self) -> None:
        """ConfigError for options that have no effect."""
        unused = [key for key in NETWORK if not self.has_network and getattr(self, key) is not None]
        if self.mode == "reversal" and self.steps is not None:
            unused.append("steps")
        if unused:
            raise ConfigError(f"{WHERE}.{unused[0]} has no effect with mode: {self.mode}; leave it out")
        unused = [key for key in EXIT if self.balance is None and getattr(self, key) is not None]
        if unused:
            raise ConfigError(f"{WHERE}.{unused[0]} has no effect without {WHERE}.balance, which ends the training")
        if self.balance is not None and not self.opposes:
            raise ConfigError(f"{WHERE}.balance is never reached with alpha: 1, which is plain training; leave it out")

    def _within(
        self, key: str, least: float | None = None, above: float | None = None, most: float | None = None
    ) -> None:
        value = getattr(self, key)
        if value is None:
            return
        low = (least is None or value >= least) and (above is None or value > above)
        if not (isfinite(value) and low and (most is None or value <= most)):
            need = f"at least {least:g}" if least is not None else f"above {above:g}"
            raise ConfigError(f"{WHERE}.{key} is {value:g}; it is {need}{f' and at most {most:g}' if most else ''}")
