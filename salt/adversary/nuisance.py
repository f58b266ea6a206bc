"""The nuisance of background jets, in bins, and the scores from which it is read."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from salt.adversary.options import WHERE, Adversary
from salt.batch import JetBatch
from salt.errors import ConfigError, DataError, unknown
from salt.inputs import JETS, Target
from salt.metrics import Rejections, WorkingPoints, working_points
from salt.metrics.decorrelation import EFFICIENCY, Decorrelation
from salt.metrics.working_points import discriminant
from salt.nn.dense import at_least_float32
from salt.tasks import Classification, Task

LEAST_SCORE = -12.0
"""Logarithms of probabilities count as at least this much."""


class Nuisance:
    """What shall not be readable, of which jets, and from what.

    Args:
        options: What the config says.
        tasks: The tasks of the model.

    Attributes:
        task: The classification of jets whose scores are read.
        classes: The names of the classes that are background.
        target: What is read from the files.
        edges: [K - 1] between the bins; None until they are measured or come with a checkpoint.
        centres: [K] the middle of each bin.

    Raises:
        ConfigError: There is no such task or class.
    """

    def __init__(self, options: Adversary, tasks: Mapping[str, Task]) -> None:
        self.options = options
        self.task = _classification(options.task, tasks)
        points = self.task.working_points
        every = self.task.target.classes
        self.classes = _background(options.classes, every, points)
        self.points = _cut(points, self.task.name, every, self.classes)
        self.target = Target(JETS, options.nuisance, "nuisance")
        self.edges: Tensor | None = None
        self.centres: tuple[float, ...] = ()
        self._is_background = torch.tensor([c in self.classes for c in every] + [False])

    @property
    def number(self) -> int:
        """K, the number of bins."""
        return len(self.centres)

    def measure(self, batches: Callable[[], Iterable[JetBatch]]) -> None:
        """Takes bins with as many jets of the background each.

        Args:
            batches: Training jets.

        Raises:
            DataError: There is no background, or all of it has the same nuisance.
        """
        found = [batch.labels[self.target][self._counts(batch)] for batch in batches()]
        values = torch.cat(found).double().sort().values
        what = f"{WHERE}.nuisance: '{self.target.variable}' of the classes {', '.join(self.classes)}"
        if not len(values):
            raise DataError(f"{what}: there are no such jets among the training jets that were looked at")
        different = values.unique()
        if len(different) < 2:
            raise DataError(f"{what} is {float(values[0]):g} in all training jets; there is nothing to read")
        if len(different) <= self.options.bins:
            edges = different[1:]
        else:
            shares = torch.arange(1, self.options.bins, dtype=torch.float64) / self.options.bins
            edges = values[(shares * len(values)).long()].unique()
            edges = edges[edges > values[0]]
        self.adopt(edges.float(), _centres(values, edges))

    def adopt(self, edges: Tensor, centres: Sequence[float]) -> None:
        """Takes bins as they were measured."""
        self.edges, self.centres = edges, tuple(centres)

    def bins(self, batch: JetBatch) -> Tensor:
        """[B] bins of the jets; -1 for those that are no background, or whose nuisance is not known."""
        assert self.edges is not None
        values = batch.labels[self.target]
        self.edges = self.edges.to(values.device)  # A copy at the first batch alone.
        found = torch.bucketize(values, self.edges, right=True)
        return torch.where(self._counts(batch), found, -1)

    def scores(self, raw: Mapping[str, Any]) -> Tensor:
        """[B, C] what is read from: logarithms of the probabilities of all classes, scaled to numbers of about 1."""
        logs = functional.log_softmax(at_least_float32(raw[self.task.name]), -1)
        return 1 + logs.clamp(min=LEAST_SCORE) / 4

    def decorrelation(self, raw: Mapping[str, Any], batch: JetBatch) -> Decorrelation:
        """What is to be measured of a batch."""
        logits = at_least_float32(raw[self.task.name]).detach()
        signal = batch.labels[self.task.target] == self.points.classes.index(self.points.signal)
        cuts = discriminant(self.points, logits.softmax(-1))
        scores = self.scores(raw).detach()
        return Decorrelation(scores, self.bins(batch).short(), cuts, signal, self.centres, self.target.variable)

    def known(self, batch: JetBatch) -> bool:
        """Whether the jets say what is needed."""
        return self.edges is not None and self.target in batch.labels and self.task.target in batch.labels

    def _counts(self, batch: JetBatch) -> Tensor:
        """[B] whether a jet is background whose nuisance is known."""
        label = batch.labels[self.task.target]
        self._is_background = self._is_background.to(label.device)
        mask: Tensor = self._is_background[label] & batch.labels[self.target].isfinite()
        return mask


def _classification(name: str | None, tasks: Mapping[str, Task]) -> Classification:
    known = {k: t for k, t in tasks.items() if isinstance(t, Classification) and t.input == JETS}
    if name is not None and name not in known:
        raise ConfigError(unknown("classification of jets", name, known, f"in {WHERE}.task"))
    if name is None and len(known) != 1:
        what = "no task is a classification of jets" if not known else f"there are {', '.join(known)}; name one of them"
        raise ConfigError(f"{WHERE}.task: {what}")
    return known[name] if name is not None else next(iter(known.values()))


def _background(asked: Sequence[str] | None, classes: Sequence[str], points: WorkingPoints | None) -> tuple[str, ...]:
    if asked is None:
        if points is None:
            raise ConfigError(f"{WHERE}.classes: name the classes that are background, of {', '.join(classes)}")
        return points.backgrounds
    for name in asked:
        if name not in classes:
            raise ConfigError(unknown("class", name, classes, f"in {WHERE}.classes"))
    if not asked:
        raise ConfigError(f"{WHERE}.classes is empty; name at least one of {', '.join(classes)}")
    return tuple(dict.fromkeys(asked))


def _cut(points: WorkingPoints | None, task: str, every: Sequence[str], background: Sequence[str]) -> WorkingPoints:
    """The cut on which the nuisance of the background is looked at."""
    if points is not None:
        return replace(points, efficiencies=(EFFICIENCY,))
    others = [c for c in every if c not in background]
    if len(others) != 1:
        raise ConfigError(
            f"{WHERE}: what is the signal, of {', '.join(every)}? give task '{task}' rejections: {{signal: ...}}"
        )
    return working_points(Rejections(others[0], (EFFICIENCY,)), task, every)


def _centres(values: Tensor, edges: Tensor) -> tuple[float, ...]:
    """The median of the values in each bin."""
    place = torch.bucketize(values, edges, right=True)
    return tuple(float(values[place == k].median()) for k in range(len(edges) + 1))
