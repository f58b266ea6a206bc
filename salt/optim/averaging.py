"""Checkpoints with two sets of weights: averages, by which a model is validated, scored and exported, and the others.

``state_dict`` of such a checkpoint holds the averages, so whoever loads weights gets those. The entry ``averaging``
holds the weights that were in training, and says what the averages are.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from torch import Tensor

from salt.errors import ConfigError

ENTRY = "averaging"
"""The entry of a checkpoint."""

Which: TypeAlias = Literal["average", "trained"]


def add_averages(
    checkpoint: dict[str, Any], kind: str, average: Mapping[str, Tensor], trained: Mapping[str, Tensor]
) -> None:
    """Puts averages into a checkpoint that is about to be saved, beside the weights in training.

    Args:
        checkpoint: It is changed.
        kind: What the averages are, such as ``EMA of decay 0.999``.
        average: The averaged parameters by their names in ``state_dict``.
        trained: The same ones as they are in training.
    """
    checkpoint["state_dict"] = {**checkpoint["state_dict"], **average}
    checkpoint[ENTRY] = {"kind": kind, "trained": dict(trained)}


def weights_in(checkpoint: Mapping[str, Any]) -> str | None:
    """What the averages in a checkpoint are, such as ``EMA of decay 0.999``; None if it holds one set of weights."""
    entry = checkpoint.get(ENTRY)
    return None if entry is None else str(entry["kind"])


def choose_weights(checkpoint: dict[str, Any], which: Which | None) -> str | None:
    """Puts one set of the weights into ``state_dict``.

    Args:
        checkpoint: As it was loaded; it is changed.
        which: ``average``, ``trained``, or None for the averages where there are any.

    Returns:
        Words for the weights; None if there is only one set of them.

    Raises:
        ConfigError: A set is asked for, and there is only one.
    """
    kind = weights_in(checkpoint)
    if kind is None:
        if which is not None:
            raise ConfigError(
                f"--weights {which}: the checkpoint holds one set of weights, since its training averaged none; "
                "leave the option out"
            )
        return None
    if which == "trained":
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **checkpoint[ENTRY]["trained"]}
        return f"those in training, not their averages ({kind})"
    return kind


def weights_to_go_on(checkpoint: dict[str, Any]) -> None:
    """Puts the weights in training into ``state_dict``; the averages move to the checkpoint's own entry for them."""
    if ENTRY in checkpoint:
        entry = checkpoint[ENTRY]
        average = {name: checkpoint["state_dict"][name] for name in entry["trained"]}
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **entry["trained"]}
        checkpoint[ENTRY] = {**entry, "average": average}
