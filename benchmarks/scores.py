"""What a prediction file is worth: jet cross-entropy and rejections, by one function for every framework."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import hypot, isfinite, sqrt
from pathlib import Path
from statistics import mean, stdev

import h5py
import hdf5plugin  # noqa: F401 (registers its filters)
import numpy as np
from numpy.typing import NDArray

from salt.rejection import SMALLEST, discriminant, rejection

EFFICIENCIES = (0.6, 0.7, 0.77)
COLUMNS = {"b": 5, "c": 4, "u": 0}
"""The code of HadronConeExclTruthLabelID of each probability."""

NAMES = {"u": "light", "c": "c"}
CROSS_ENTROPY = "jet cross-entropy"


def figures(predictions: Path, test: Path) -> dict[str, float]:
    """Cross-entropy of the jets, and rejections of c- and light jets at each efficiency.

    Args:
        predictions: File with columns ``NAME_pb``, ``NAME_pc`` and ``NAME_pu`` in ``jets``; row i is jet i of the
            test file.
        test: The test file, which has the true flavours.

    Raises:
        ValueError: The files are not about the same jets.
    """
    with h5py.File(predictions) as file, h5py.File(test) as truth:
        scored, jets = file["jets"][:], truth["jets"].fields(["HadronConeExclTruthLabelID", "pt"])[:]
    if len(scored) != len(jets) or not np.array_equal(scored["pt"], jets["pt"]):
        raise ValueError(f"{predictions} does not have the jets of {test} in their order")
    (model,) = [name.removesuffix("_pb") for name in scored.dtype.names if name.endswith("_pb")]
    return figures_of({key: scored[f"{model}_p{key}"] for key in COLUMNS}, jets["HadronConeExclTruthLabelID"])


def figures_of(probability: Mapping[str, NDArray[np.float32]], flavour: NDArray[np.integer]) -> dict[str, float]:
    """The same from [B] probabilities of b, c and u, and the [B] codes of the true flavours."""
    right = np.select([flavour == code for code in COLUMNS.values()], [probability[k] for k in COLUMNS], np.nan)
    if np.isnan(right).any():
        raise ValueError("a jet has no probability, or none of the three flavours")
    found = {CROSS_ENTROPY: float(-np.log(np.maximum(right.astype(np.float64), SMALLEST)).mean())}
    score = discriminant(probability["b"], probability["c"], probability["u"])
    for key, name in NAMES.items():
        values = rejection(score[flavour == COLUMNS["b"]], score[flavour == COLUMNS[key]], np.array(EFFICIENCIES)).value
        found |= {f"{name}-rejection at {e:.0%}": float(v) for e, v in zip(EFFICIENCIES, values, strict=True)}
    return found


@dataclass(frozen=True)
class Mean:
    """Mean over seeds, and its standard error."""

    value: float
    error: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Mean":
        """That of some values; the error of a single one, or of infinite ones, is not known, which is NaN."""
        known = len(values) > 1 and all(map(isfinite, values))
        return cls(mean(values), stdev(values) / sqrt(len(values)) if known else float("nan"))


def advantage(name: str, new: Mean, old: Mean) -> float:
    """By how many standard errors of the difference the new one is better; a small cross-entropy is a good one."""
    sign = -1 if name == CROSS_ENTROPY else 1
    return sign * (new.value - old.value) / hypot(new.error, old.error)
