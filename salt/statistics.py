"""What is measured once from the training files and then belongs to the model."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from salt.inputs import Target


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of one variable: the normalised value is (x - mean) / std."""

    mean: float
    std: float


@dataclass(frozen=True)
class Statistics:
    """Normalisation, class counts and target scales of one training.

    Args:
        inputs: For each input and each of its variables the scale, over valid constituents only.
        class_counts: For each target of kind ``class`` how often each class occurs, in class order.
        class_weights: The weights of the class dict for a target, in class order; absent where it has none.
        numbers: For each target of kind ``number`` the scale of its finite values (of their logarithm if asked).
        constituents_per_jet: How many constituents a jet has on average, of all inputs together.
    """

    inputs: Mapping[str, Mapping[str, Scale]]
    class_counts: Mapping[Target, tuple[int, ...]] = field(default_factory=dict)
    class_weights: Mapping[Target, tuple[float, ...]] = field(default_factory=dict)
    numbers: Mapping[Target, Scale] = field(default_factory=dict)
    constituents_per_jet: float = 0.0
