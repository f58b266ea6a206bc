"""Regression of numbers such as the momentum of a hadron."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from salt.batch import JetBatch
from salt.errors import ConfigError, DataError, unknown
from salt.inputs import JETS, Target
from salt.metrics import Metric, Residuals
from salt.nn.buckets import to_device
from salt.nn.dense import at_least_float32
from salt.statistics import Statistics
from salt.tasks.base import Column, Embedding, Loss, Task
from salt.tasks.head import Head, check_weight, total
from salt.tasks.weights import LossWeights, Weighing, check_weights


class Regression(Task):
    """Estimates one or several numbers of each jet or constituent.

    The network learns (y - mean) / std of a label y, or of its logarithm. Labels that are not finite, or have no
    logarithm where one is asked for, are no targets. Predictions are in the unit of the label.

    Args:
        input: Name of the input it is about: jets, or one of constituents.
        labels: Variables of that input's dataset, which are also the names of the predicted columns.
        scale: What is learnt of a label: standard for (y - mean) / std, log for the same of its natural logarithm,
            none for y itself.
        loss: mse for the squared deviation, huber for one that grows linearly beyond 1 (one std, if scaled).
        label_weights: How much each label counts in the loss, by its name; 1 for those that are not named.
        weight: Weight of the task in the total loss.
        loss_weights: How much each jet or constituent counts in the loss of the task; null for all the same.
        hidden: Widths of the hidden layers.
        activation: Activation of the hidden layers: relu, leaky_relu, elu, gelu, silu or tanh.
        dropout: Probability to drop a hidden unit.
        relative: Whether bias and resolution are also measured relative to the label; null for where its logarithm is
            learnt.
        name: Name of the task, set by the model.
        embed_dim: Width of the embedding, set by the model.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        input: str,  # noqa: A002
        labels: list[str],
        scale: Literal["standard", "log", "none"] = "standard",
        loss: Literal["mse", "huber"] = "mse",
        label_weights: dict[str, float] | None = None,
        weight: float = 1.0,
        loss_weights: LossWeights | None = None,
        hidden: Sequence[int] = (128, 64, 32),
        activation: str = "relu",
        dropout: float = 0.0,
        relative: bool | None = None,
        *,
        name: str,
        embed_dim: int,
    ) -> None:
        check_weight(name, weight)
        if not labels:
            raise ConfigError(f"task '{name}': labels is empty; name at least one variable")
        if repeated := sorted({label for label in labels if labels.count(label) > 1}):
            raise ConfigError(f"task '{name}': labels names {', '.join(repeated)} more than once")
        targets = tuple(Target(input=input, variable=v, kind="number", log=scale == "log") for v in labels)
        weighing = Weighing(name, input, loss_weights, own=bool(label_weights))
        super().__init__(name=name, input=input, weight=weight, targets=(*targets, *weighing.targets))
        self.labels = targets
        self.weighing = weighing
        self.label_weights = _label_weights(name, labels, label_weights or {})
        self.scale = scale
        self.relative = scale == "log" if relative is None else relative
        self.kind = loss
        self.head = Head(input, embed_dim, hidden, len(labels), activation, dropout)
        self.register_buffer("mean", torch.zeros(len(labels)))
        self.register_buffer("std", torch.ones(len(labels)))

    def adopt(self, statistics: Statistics) -> None:
        """Takes over mean and std of the labels, unless they are learnt as they are.

        Raises:
            DataError: A label was not measured or never changes.
        """
        if self.scale == "none":
            return
        for k, target in enumerate(self.labels):
            scale = statistics.numbers.get(target)
            if scale is None:
                raise DataError(f"task '{self.name}': label '{target.variable}' of '{self.input}' was not measured")
            if not (math.isfinite(scale.mean) and 0 < scale.std < math.inf):
                raise DataError(
                    f"task '{self.name}': label '{target.variable}' of input '{self.input}' has mean {scale.mean} and "
                    f"std {scale.std}{' of its logarithm' if target.log else ''}; nothing can be learnt from it"
                )
            self.mean[k], self.std[k] = scale.mean, scale.std

    def forward(self, embedding: Embedding) -> Tensor:
        """The estimates as they are learnt, [B, K] or [T, K] for K labels."""
        out: Tensor = self.head(embedding)
        return out

    def weights(self) -> dict[str, Any]:
        """Those of the task, of its labels, and of jets and constituents."""
        labels = dict(zip((t.variable for t in self.labels), self.label_weights, strict=True))
        return {**super().weights(), "labels": labels, **self.weighing.describe()}

    def weigh(self, batch: JetBatch) -> tuple[Tensor, Tensor]:
        """The sum of the weights of the valid labels of all entries, and how many they are."""
        valid = self._truth(batch, self.mean)[1]
        weight = self._weight(batch, valid)
        return (valid if weight is None else torch.where(valid, weight, 0)).sum(), valid.sum()

    def count(self, batch: JetBatch) -> Tensor:
        """The sum of those weights, or what loss_weights divides by instead."""
        return self.weighing.divisor(*self.weigh(batch))

    def loss(self, raw: Tensor, batch: JetBatch) -> Loss:
        """The weighted deviation summed over all valid labels of all entries."""
        estimate = at_least_float32(raw)
        truth, valid = self._truth(batch, estimate)
        each = (functional.mse_loss if self.kind == "mse" else functional.huber_loss)(estimate, truth, reduction="none")
        weight = self._weight(batch, valid)
        if weight is not None:
            each = each * weight.to(estimate.dtype)
        return Loss(total(each, valid), self.count(batch).to(estimate.dtype))

    def predict(self, raw: Tensor) -> Mapping[str, Tensor]:
        """Each label in its own unit."""
        return {t.variable: y for t, y in zip(self.labels, self._physical(raw).unbind(-1), strict=True)}

    def metrics(self, raw: Tensor, batch: JetBatch) -> Mapping[str, Loss | Metric]:
        """For each label the mean absolute deviation (prediction minus truth), bias and resolution, in its unit.

        Bias and resolution are measured relative to the label too, if asked for.
        """
        estimate = self._physical(raw)
        _, valid = self._truth(batch, estimate)
        truth = torch.stack([batch.labels[t] for t in self.labels], dim=-1).to(estimate.dtype)
        names = tuple(t.variable for t in self.labels)
        deviation = estimate - truth
        means = zip(names, deviation.unbind(-1), valid.unbind(-1), strict=True)
        out: dict[str, Loss | Metric] = {
            f"{name}_mae": Loss(total(d.abs(), v), v.sum().to(d.dtype)) for name, d, v in means
        }
        if self.relative:
            deviation = torch.cat([deviation, deviation / truth], -1)
            valid = torch.cat([valid, valid & (truth != 0)], -1)
            names += tuple(f"{name}_relative" for name in names)
        out["deviations"] = Residuals.of(deviation, valid, names, bounded=self.input != JETS)
        return out

    def columns(self) -> tuple[Column, ...]:
        """One for each label, of the same name."""
        return tuple(Column(t.variable) for t in self.labels)

    def _weight(self, batch: JetBatch, like: Tensor) -> Tensor | None:
        """[..., K] float64 weights; None where all are 1."""
        entries = self.weighing.entries(batch)
        if all(w == 1 for w in self.label_weights):
            return None if entries is None else entries[:, None].expand(like.shape)
        labels_K = to_device(torch.tensor(self.label_weights, dtype=torch.float64), like.device)
        return labels_K.expand(like.shape) if entries is None else entries[:, None] * labels_K

    def _physical(self, raw: Tensor) -> Tensor:
        value = at_least_float32(raw) * self.std + self.mean
        return value.exp() if self.scale == "log" else value

    def _truth(self, batch: JetBatch, like: Tensor) -> tuple[Tensor, Tensor]:
        """[..., K] labels as they are learnt, 0 where there is none, and where there is one."""
        label = torch.stack([batch.labels[t] for t in self.labels], dim=-1).to(like.dtype)
        scaled = ((label.log() if self.scale == "log" else label) - self.mean) / self.std
        valid = scaled.isfinite()
        return torch.where(valid, scaled, 0).to(like.dtype), valid


def _label_weights(task: str, labels: Sequence[str], given: Mapping[str, float]) -> tuple[float, ...]:
    for label in given:
        if label not in labels:
            raise ConfigError(f"task '{task}': label_weights: " + unknown("label", label, labels))
    weights = tuple(float(given.get(label, 1.0)) for label in labels)
    check_weights(f"task '{task}': label_weights", weights)
    return weights
