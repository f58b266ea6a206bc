"""What a metric can show beyond a number; whoever draws it knows nothing else of the metric."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Confusion:
    """How often entries of each true class were taken for each class.

    Args:
        counts: [C, C] integers; rows are true classes, columns those with the largest probability.
        classes: [C] names of the classes.
    """

    counts: NDArray[np.int64]
    classes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Line:
    """One line of a curve.

    Args:
        name: What it is called in a legend.
        x: [N] ascending.
        y: [N], NaN where there is no value.
    """

    name: str
    x: NDArray[np.floating[Any]]
    y: NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Curve:
    """Lines over one axis, such as rejections over the efficiency.

    Args:
        lines: The lines.
        x_label: What the horizontal axis is called.
        y_label: What the vertical axis is called.
        log_y: Whether the vertical axis is best logarithmic.
    """

    lines: tuple[Line, ...]
    x_label: str
    y_label: str
    log_y: bool = False


Figure: TypeAlias = Confusion | Curve
"""What `Tagger.figures` holds after each validation, by names such as ``val/jets_classification/confusion``."""
