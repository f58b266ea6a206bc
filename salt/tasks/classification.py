"""Classification of jets or of constituents."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from salt.batch import JetBatch
from salt.errors import ConfigError, DataError, unknown
from salt.inputs import JETS, SHORT_NAMES, STANDARD_CLASSES, Target
from salt.metrics import ConfusionMatrix, Metric, Rejections, Scores, WorkingPoints, working_points
from salt.nn.dense import at_least_float32
from salt.statistics import Statistics
from salt.tasks.base import Column, Embedding, Loss, Share, Task
from salt.tasks.head import Head, check_weight
from salt.tasks.weights import LossWeights, Weighing

log = logging.getLogger(__name__)


class Classification(Task):
    """Tells apart classes of jets or constituents, by the cross-entropy.

    Entries without a label, or of an ignored class, are no targets. With class weights w and labels y the loss is
    ``sum_i w[y_i] (-log p_i[y_i]) / sum_i w[y_i]``, unless loss_weights says otherwise.

    Args:
        input: Name of the input it is about: jets, or one of constituents.
        label: Variable of that input's dataset that holds the class codes.
        classes: Names of the classes, in the order of the outputs. May be left out for the field's standard labels
            (ftagTruthOriginLabel, HadronConeExclTruthLabelID), which then bring all of theirs, and with a label_map,
            which then names them.
        label_map: What each code in the file means, for files that cannot say it: {0: ujets, 4: cjets, 5: bjets}.
        ignore_classes: Names or codes of further classes of the file that are no targets. Without a name here or in
            classes, a class in the file is an error.
        class_weights: How much each class counts in the loss: null for all the same, balanced for the inverse of how
            often a class occurs, class_dict for those of the class dict, or one number for each class.
        weight: Weight of the task in the total loss.
        loss_weights: How much each jet or constituent counts in the loss of the task; null for all the same.
        hidden: Widths of the hidden layers.
        activation: Activation of the hidden layers: relu, leaky_relu, elu, gelu, silu or tanh.
        dropout: Probability to drop a hidden unit.
        rejections: Which rejections of background jets are measured; flavours for those of all other jets at some
            efficiencies of bjets, if that is a class of jets, and null for none.
        name: Name of the task, set by the model.
        embed_dim: Width of the embedding, set by the model.
    """

    class_weight: Tensor

    def __init__(
        self,
        input: str,  # noqa: A002
        label: str,
        classes: list[str] | None = None,
        label_map: dict[int, str] | None = None,
        ignore_classes: list[str | int] | None = None,
        class_weights: Literal["class_dict", "balanced"] | list[float] | None = None,
        weight: float = 1.0,
        loss_weights: LossWeights | None = None,
        hidden: Sequence[int] = (128, 64, 32),
        activation: str = "relu",
        dropout: float = 0.0,
        rejections: Rejections | Literal["flavours"] | None = "flavours",
        *,
        name: str,
        embed_dim: int,
    ) -> None:
        check_weight(name, weight)
        ignored = tuple(ignore_classes or ())
        known = _classes(name, label, classes, label_map, ignored)
        target = Target(
            input=input,
            variable=label,
            kind="class",
            classes=known,
            codes=None if label_map is None else tuple(sorted(label_map.items())),
            ignore=ignored,
        )
        weighing = Weighing(name, input, loss_weights, own=class_weights is not None)
        super().__init__(name=name, input=input, weight=weight, targets=(target, *weighing.targets))
        self.weighing = weighing
        self.target = target
        self.class_weights = class_weights
        self.weighed_targets = (target,) if class_weights == "class_dict" else ()
        self.working_points = _working_points(name, input, known, rejections)
        self.head = Head(input, embed_dim, hidden, len(known), activation, dropout)
        self.register_buffer("class_weight", torch.ones(len(known)))
        if isinstance(class_weights, Sequence) and not isinstance(class_weights, str):
            self._set_class_weight(class_weights, "class_weights")
        _check_columns(name, self.columns())

    def adopt(self, statistics: Statistics) -> None:
        """Takes the class weights over, where they are measured or come with the files.

        Raises:
            ConfigError: The class dict has no weights for the label.
            DataError: No target has a label, so that there is nothing to balance.
        """
        if self.class_weights == "class_dict":
            if self.target not in statistics.class_weights:
                raise ConfigError(
                    f"task '{self.name}': class_weights is class_dict, but the class dict has no weights for "
                    f"'{self.target.variable}' of input '{self.input}'\n"
                    f"give data.class_dict a file with {len(self.target.classes)} numbers under the dataset and "
                    f"'{self.target.variable}', or set class_weights to balanced"
                )
            self._set_class_weight(statistics.class_weights[self.target], "the class dict")
        elif self.class_weights == "balanced":
            self._set_class_weight(self._balanced(statistics.class_counts.get(self.target, ())), "balanced weights")

    def forward(self, embedding: Embedding) -> Tensor:
        """The logits, [B, C] or [T, C]."""
        logits: Tensor = self.head(embedding)
        return logits

    def weights(self) -> dict[str, Any]:
        """Those of the task, of its classes, and of jets and constituents."""
        classes = dict(zip(self.target.classes, self.class_weight.tolist(), strict=True))
        return {**super().weights(), "classes": classes, **self.weighing.describe()}

    def weigh(self, batch: JetBatch) -> tuple[Tensor, Tensor]:
        """The sum of the weights of the valid targets, and how many they are."""
        label, entries = batch.labels[self.target], self.weighing.entries(batch)
        each = torch.where(label >= 0, self.class_weight.index_select(0, label.clamp(min=0)), 0)
        return (each if entries is None else each * entries).sum(), (label >= 0).sum()

    def count(self, batch: JetBatch) -> Tensor:
        """The sum of the weights of the valid targets, or what loss_weights divides by instead."""
        return self.weighing.divisor(*self.weigh(batch))

    def loss(self, raw: Tensor, batch: JetBatch) -> Loss:
        """The weighted cross-entropy."""
        logits = at_least_float32(raw)
        weight, entries = self.class_weight.to(logits.dtype), self.weighing.entries(batch)
        each = functional.cross_entropy(logits, batch.labels[self.target], weight, ignore_index=-1, reduction="none")
        if entries is not None:
            each = each * entries.to(logits.dtype)
        return Loss(each.sum(), self.count(batch).to(logits.dtype))

    def predict(self, raw: Tensor) -> Mapping[str, Tensor]:
        """The probability of each class."""
        probability = at_least_float32(raw).softmax(-1)
        return {c.name: p for c, p in zip(self.columns(), probability.unbind(-1), strict=True)}

    def metrics(self, raw: Tensor, batch: JetBatch) -> Mapping[str, Loss | Metric]:
        """The accuracy, areas under ROC curves, rejections and confusions, every valid target counting the same."""
        label, guess, classes = batch.labels[self.target], raw.argmax(-1), self.target.classes
        probability = at_least_float32(raw).softmax(-1)
        return {
            "accuracy": Share((guess == label).sum().float(), (label >= 0).sum().float()),
            "scores": Scores.of(probability, label, classes, self.working_points, bounded=self.input != JETS),
            "confusion": ConfusionMatrix.of(guess, label, classes),
        }

    def columns(self) -> tuple[Column, ...]:
        """One for each class: pb, pc, pu and ptau for the jet flavours, else p and the name of the class."""
        return tuple(Column(SHORT_NAMES.get(c, f"p{c}")) for c in self.target.classes)

    def _set_class_weight(self, weights: Sequence[float], origin: str) -> None:
        classes = self.target.classes
        if len(weights) != len(classes):
            raise ConfigError(
                f"task '{self.name}': {origin} has {len(weights)} numbers for '{self.target.variable}', "
                f"but there are {len(classes)} classes: {', '.join(classes)}"
            )
        if not all(0 <= w < float("inf") for w in weights) or not any(weights):
            raise ConfigError(
                f"task '{self.name}': {origin} for '{self.target.variable}' is {list(weights)}; "
                "weights are finite, at least 0, and not all 0"
            )
        self.class_weight.copy_(torch.tensor(weights, dtype=self.class_weight.dtype))

    def _balanced(self, counts: Sequence[int]) -> list[float]:
        """All targets over the number of classes over those of a class; 0 for a class that never occurs."""
        if not sum(counts):
            raise DataError(
                f"task '{self.name}': no label '{self.target.variable}' of input '{self.input}' is one of the classes "
                f"{', '.join(self.target.classes)}, so class_weights cannot be balanced"
            )
        absent = [c for c, n in zip(self.target.classes, counts, strict=True) if not n]
        if absent:
            log.warning(
                "task '%s': %s never occurs in '%s' of the training data, so nothing is learnt about it",
                self.name,
                ", ".join(absent),
                self.target.variable,
            )
        present = len(counts) - len(absent)
        return [sum(counts) / (present * n) if n else 0.0 for n in counts]


def _classes(
    task: str,
    label: str,
    classes: Sequence[str] | None,
    label_map: Mapping[int, str] | None,
    ignored: Sequence[str | int],
) -> tuple[str, ...]:
    """The classes, from what the config says or implies; ConfigError where that does not fit together."""
    skipped = {c for c in ignored if isinstance(c, str)}
    if classes is not None:
        known = tuple(classes)
    elif label_map is not None:
        known = tuple(dict.fromkeys(c for _, c in sorted(label_map.items()) if c not in skipped))
    elif label in STANDARD_CLASSES:
        known = tuple(c for _, c in STANDARD_CLASSES[label] if c not in skipped)
    else:
        raise ConfigError(f"task '{task}': name the classes of '{label}', in the order of the outputs, in classes")
    if repeated := sorted({c for c in known if known.count(c) > 1}):
        raise ConfigError(f"task '{task}': classes names {', '.join(repeated)} more than once")
    if len(known) < 2:
        raise ConfigError(f"task '{task}': classes is {list(known)}; a classification needs at least two")
    if both := sorted(skipped & set(known)):
        raise ConfigError(f"task '{task}': {', '.join(both)} is among classes and in ignore_classes")
    if label_map is not None:
        for name in label_map.values():
            if name not in known and name not in skipped:
                raise ConfigError(unknown("class", name, known, f"in the label_map of task '{task}'"))
        for name in known:
            if name not in label_map.values():
                raise ConfigError(
                    unknown("class", name, label_map.values(), f"of task '{task}': it has no code in its label_map")
                )
    return known


def _working_points(
    task: str, about: str, classes: Sequence[str], asked: Rejections | str | None
) -> WorkingPoints | None:
    if isinstance(asked, Rejections):
        if about != JETS:
            raise ConfigError(
                f"task '{task}': rejections are those of jets, and its input is '{about}'; leave them out"
            )
        return working_points(asked, task, classes)
    usual = asked is not None and about == JETS and Rejections().signal in classes
    return working_points(Rejections(), task, classes) if usual else None


def _check_columns(task: str, columns: Sequence[Column]) -> None:
    names = [c.name for c in columns]
    if repeated := sorted({n for n in names if names.count(n) > 1}):
        raise ConfigError(f"task '{task}': two of its classes would be written as column {', '.join(repeated)}")
