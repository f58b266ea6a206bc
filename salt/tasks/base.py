"""What a task is: six verbs on the embedding of a batch."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from salt.batch import JetBatch
from salt.inputs import Input, Target
from salt.metrics import Metric
from salt.ragged import Ragged
from salt.statistics import Statistics


@dataclass(frozen=True, eq=False)
class Embedding:
    """What the tasks see of a batch.

    Args:
        jets: [B, D] pooled representation of each jet.
        constituents: For each constituent input its encoded [T, D] rows.
    """

    jets: Tensor
    constituents: Mapping[str, Ragged]


@dataclass(frozen=True, eq=False)
class Loss:
    """A sum over valid targets and their number; the mean is taken once, over the whole global batch.

    Args:
        sum: Scalar, with gradient. 0, still connected to the head's parameters, where nothing is valid.
        count: Scalar, without gradient. With weights the sum of those of the valid targets.
    """

    sum: Tensor
    count: Tensor


@dataclass(frozen=True, eq=False)
class Share(Loss):
    """How many of `count` independent entries are what is asked about: of their share the binomial error is known."""


@dataclass(frozen=True)
class Column:
    """One column of a prediction file.

    Args:
        name: Such as ``pb`` or ``VertexIndex``.
        dtype: NumPy's name of the type, ``f4`` or ``i4``.
        prefixed: Whether the model's name goes before it, as in ``GN2_pb``.
    """

    name: str
    dtype: str = "f4"
    prefixed: bool = True

    def in_file(self, model: str) -> str:
        """The name in a prediction file of the model that is called `model`."""
        return f"{model}_{self.name}" if self.prefixed else self.name


class Task(nn.Module, ABC):
    """One thing to learn about the jets or the constituents of one input.

    A task of your own subclasses this, takes `name` and `embed_dim` as keyword-only arguments (the model sets them),
    and implements the six verbs ``forward``, ``count``, ``loss``, ``predict``, ``metrics`` and ``columns``.

    Args:
        name: The key of the task in the config.
        input: Name of the input it is about: ``jets``, or one of constituents.
        weight: Weight of its mean loss in the total loss.
        targets: What it needs to be told to learn, and of that what just weighs its loss.

    Attributes:
        weighed_targets: Those whose classes have the weights of the class dict.
    """

    weighed_targets: tuple[Target, ...] = ()

    def __init__(self, *, name: str, input: str, weight: float, targets: tuple[Target, ...]) -> None:  # noqa: A002
        super().__init__()
        self.name = name
        self.input = input
        self.weight = weight
        self.targets = targets

    def declare(self, inputs: Mapping[str, Input]) -> None:
        """Is told what the inputs of the model are, once and before all else; ConfigError where it cannot be."""

    def weights(self) -> dict[str, Any]:
        """How much what counts in the loss, in numbers and words, for the table of a run."""
        return {"task": self.weight}

    def adopt(self, statistics: Statistics) -> None:
        """Takes over what was measured from the training files. Keep it in buffers, so that checkpoints hold it."""

    def measure(self, batches: Callable[[], Iterable[JetBatch]]) -> None:
        """Measures further things of some training jets, with `adopt` done; reads them only if it has to.

        Args:
            batches: Goes through these jets.
        """

    def outputs(self, batch: JetBatch, embed: Callable[[JetBatch], Embedding]) -> Any:
        """The raw outputs for a batch, from its embedding.

        Args:
            batch: The jets.
            embed: The embedding of a batch, of this one or another that the task makes of it.
        """
        return self(embed(batch))

    @abstractmethod
    def forward(self, embedding: Embedding) -> Any:
        """The raw outputs, such as logits, for whatever the other verbs need."""

    @abstractmethod
    def count(self, batch: JetBatch) -> Tensor:
        """The scalar count that ``loss`` will have for the batch, from its labels alone.

        It is known before the forward, so that the parts of a step, on one device or several, can be done one by one.
        """

    @abstractmethod
    def loss(self, raw: Any, batch: JetBatch) -> Loss:
        """The loss of raw outputs against the labels of the batch, in float32 or better."""

    @abstractmethod
    def predict(self, raw: Any) -> Mapping[str, Tensor]:
        """For each of the columns, by its `name`, the [B] or [T] values."""

    @abstractmethod
    def metrics(self, raw: Any, batch: JetBatch) -> Mapping[str, Loss | Metric]:
        """What is worth watching, under the same keys for any batch, also for one without jets.

        A mean is a sum and a count that add up over batches, and its key is its name; a `Share`, such as the accuracy,
        is one with a binomial error. What is no mean, such as the area under a ROC curve, is a `Metric`, which has
        names of its own.
        """

    @abstractmethod
    def columns(self) -> tuple[Column, ...]:
        """What ``predict`` returns, in the order in which it is written."""


@runtime_checkable
class TaskFactory(Protocol):
    """A task of which all is known but what the model decides."""

    def __call__(self, *, name: str, embed_dim: int) -> Task:
        """Builds it."""
        ...
