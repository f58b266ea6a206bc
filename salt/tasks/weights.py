"""How much each target counts in the loss of its task."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from salt.batch import JetBatch
from salt.errors import ConfigError, DataError, unknown
from salt.inputs import JETS, Target

BY = ("rank", "share", "value")
SCALERS: Mapping[str, tuple[str, ...]] = {
    "relu": ("slope",),
    "linear": ("slope", "start"),
    "polynomial": ("coefficients",),
}
"""The shapes of a level's weight, and the arguments that each has."""
NORMALISE = ("batch", "training", "none")


@dataclass(frozen=True)
class Level:
    """The weight of a constituent as a function of its level x, and never below a minimum.

    Args:
        by: What the level is: rank for the place among the constituents of its jet that are read, from 0; share for
            its variable divided by that of the jet; value for the variable itself.
        variable: The variable of the constituent, for share and value; pt for share if not given.
        scaler: relu for ``slope * x``, linear for ``start + slope * x``, polynomial for ``c0 + c1 x + c2 x^2 ...``.
        slope: By how much the weight grows with x; negative for less weight at large x.
        start: The weight at x = 0, 1 if not given.
        coefficients: c0, c1, c2 ... of the polynomial.
        minimum: The weight is at least this.
    """

    by: Literal["rank", "share", "value"] = "rank"
    variable: str | None = None
    scaler: Literal["relu", "linear", "polynomial"] = "linear"
    slope: float | None = None
    start: float | None = None
    coefficients: list[float] | None = None
    minimum: float = 0.0

    @property
    def terms(self) -> tuple[float, ...]:
        """The coefficients, whatever the scaler: c0, c1, c2 ..."""
        if self.coefficients is not None:
            return tuple(self.coefficients)
        first = 0.0 if self.scaler == "relu" else 1.0 if self.start is None else self.start
        return first, self.slope or 0.0

    def __call__(self, level: Tensor) -> Tensor:
        """The weights of these levels."""
        total = torch.zeros_like(level)
        for term in reversed(self.terms):
            total = total * level + term
        return total.clamp(min=self.minimum)

    def __str__(self) -> str:
        named = self.variable or "pt"
        name = {"rank": "rank", "share": f"({named} / {named} of the jet)", "value": named}[self.by]
        powers = ["", f" {name}", *(f" {name}^{k}" for k in range(2, len(self.terms)))]
        terms = [f"{c:g}{power}" for c, power in zip(self.terms, powers, strict=False) if c] or ["0"]
        return f"max({self.minimum:g}, {' + '.join(terms).replace('+ -', '- ')})"


@dataclass(frozen=True)
class LossWeights:
    """How much each target of a task counts in its loss, beside the weights of classes or labels. All are multiplied.

    Args:
        jet: Variable of the jets that is the weight of a jet, of each of its constituents and of each of their pairs.
        level: The weight of a constituent by its rank, its share of the jet or a variable; of a pair that of both.
        normalise: What the sum over weighted targets is divided by: batch for the sum of their weights, training
            for their number times the mean weight in the training files, none for their number.
    """

    jet: str | None = None
    level: Level | None = None
    normalise: Literal["batch", "training", "none"] = "batch"


class Weighing(nn.Module):
    """The loss weights of one task, checked.

    Args:
        task: Name of the task, for messages.
        input: The input that the task is about.
        spec: What the config says; None for nothing.
        own: Whether the task has further weights, such as those of classes.

    Attributes:
        targets: What must be read of the files for it.

    Raises:
        ConfigError: What the config says has no meaning or no effect.
    """

    mean: Tensor

    def __init__(self, task: str, input: str, spec: LossWeights | None, own: bool = False) -> None:  # noqa: A002
        super().__init__()
        self.spec = spec = spec or LossWeights()
        _check(f"task '{task}': loss_weights", input, spec, own)
        self.input = input
        self.level = spec.level
        self._jet = None if spec.jet is None else Target(JETS, spec.jet, "weight")
        self._value = self._whole = None
        if spec.level is not None and spec.level.by != "rank":
            self._value = Target(input, spec.level.variable or "pt", "level")
            if spec.level.by == "share":
                self._whole = Target(JETS, self._value.variable, "level")
        self.targets = tuple(t for t in (self._jet, self._value, self._whole) if t is not None)
        if spec.normalise == "training":
            self.register_buffer("mean", torch.ones((), dtype=torch.float64))

    def jets(self, batch: JetBatch) -> Tensor | None:
        """[B] float64 weights of the jets; None where all weigh the same."""
        return None if self._jet is None else batch.labels[self._jet].double()

    def levels(self, batch: JetBatch) -> Tensor | None:
        """[T] float64 weights of the constituents by their level; None where all weigh the same."""
        if self.level is None:
            return None
        x = batch.constituents[self.input]
        if self._value is None:
            rows = torch.arange(x.values.shape[0], device=x.offsets.device)
            return self.level((rows - x.offsets[:-1].index_select(0, x.jet_T)).double())
        level_T = batch.labels[self._value].double()
        if self._whole is not None:
            whole_T = batch.labels[self._whole].double().index_select(0, x.jet_T)
            level_T = torch.where(whole_T == 0, 0.0, level_T / whole_T)
        return self.level(level_T)

    def entries(self, batch: JetBatch) -> Tensor | None:
        """[B] or [T] float64 weights of what the task is about; None where all weigh the same."""
        jets, levels = self.jets(batch), self.levels(batch)
        if jets is None or self.input == JETS:
            return levels if jets is None else jets
        of_jet_T = jets.index_select(0, batch.constituents[self.input].jet_T)
        return of_jet_T if levels is None else of_jet_T * levels

    def divisor(self, total: Tensor, number: Tensor) -> Tensor:
        """What the weighted sum of a loss is divided by.

        Args:
            total: The sum of the weights of the valid targets.
            number: How many they are.
        """
        if self.spec.normalise == "batch":
            return total
        return number * self.mean if self.spec.normalise == "training" else number

    def describe(self) -> dict[str, Any]:
        """What it does, in words and numbers."""
        found: dict[str, Any] = {}
        if self.spec.jet is not None:
            found["jet"] = self.spec.jet
        if self.level is not None:
            found["level"] = str(self.level)
        mean = f"training (mean {float(self.mean):.6g})" if self.spec.normalise == "training" else self.spec.normalise
        return {**found, "normalise": mean}


@runtime_checkable
class Weighed(Protocol):
    """A task whose weights can be measured."""

    name: str
    weighing: Weighing

    def weigh(self, batch: JetBatch) -> tuple[Tensor, Tensor]:
        """The sum of the weights of all valid targets of a batch, and how many they are."""
        ...


def measure_weights(tasks: Iterable[object], batches: Callable[[], Iterable[JetBatch]]) -> None:
    """Tells the tasks that divide by it their mean weight in the training files.

    Args:
        tasks: The tasks.
        batches: Training jets to measure it from; read only if a task asks for it.

    Raises:
        DataError: All weights of a task are 0.
    """
    asking = [t for t in tasks if isinstance(t, Weighed) and t.weighing.spec.normalise == "training"]
    if not asking:
        return
    totals = torch.zeros(len(asking), 2, dtype=torch.float64)
    device = asking[0].weighing.mean.device
    for batch in batches():
        here = batch.to(device)
        totals += torch.stack([torch.stack(task.weigh(here)).double() for task in asking]).cpu()
    for task, (total, number) in zip(asking, totals, strict=True):
        if not total > 0:
            raise DataError(
                f"task '{task.name}': loss_weights.normalise is training, but all its targets in the training files "
                "have weight 0, or there are none"
            )
        task.weighing.mean.copy_(total / number)


def _check(where: str, input: str, spec: LossWeights, own: bool) -> None:  # noqa: A002
    if spec.normalise not in NORMALISE:
        raise ConfigError(f"{where}.normalise: " + unknown("normalisation", spec.normalise, NORMALISE))
    if spec.normalise != "batch" and not own and spec.jet is None and spec.level is None:
        raise ConfigError(
            f"{where}.normalise is {spec.normalise}, but nothing is weighted; give a weight or leave it out"
        )
    if spec.level is None:
        return
    if input == JETS:
        raise ConfigError(f"{where}.level is about constituents; the input of the task is '{JETS}'")
    _check_level(f"{where}.level", spec.level)


def _check_level(where: str, level: Level) -> None:
    for kind, name, known in (("by", level.by, BY), ("scaler", level.scaler, SCALERS)):
        if name not in known:
            raise ConfigError(f"{where}.{kind}: " + unknown(kind, name, known))
    if (level.by == "rank" and level.variable is not None) or (level.by == "value" and level.variable is None):
        need = "has no effect" if level.by == "rank" else "is needed"
        raise ConfigError(f"{where}.variable {need} with by: {level.by}")
    given = {key: getattr(level, key) for key in ("slope", "start", "coefficients") if getattr(level, key) is not None}
    allowed = SCALERS[level.scaler]
    for key in given:
        if key not in allowed:
            raise ConfigError(
                f"{where}.{key} has no effect with scaler: {level.scaler}, which has {', '.join(allowed)}"
            )
    if not given.get(allowed[0]):
        raise ConfigError(f"{where}.{allowed[0]} is needed with scaler: {level.scaler}, and not 0")
    if not all(isfinite(term) for term in level.terms):
        raise ConfigError(f"{where}: {', '.join(given)} must be finite numbers")
    if not 0 <= level.minimum < float("inf"):
        raise ConfigError(f"{where}.minimum is {level.minimum}; it must be a finite number, at least 0")


def check_weights(where: str, values: Sequence[float]) -> None:
    """ConfigError unless these can be weights."""
    if not all(0 <= w < float("inf") for w in values) or not any(values):
        raise ConfigError(f"{where} is {list(values)}; weights are finite, at least 0, and not all 0")
