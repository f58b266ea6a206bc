"""The words for values that are not finite: what, where from, and what to try."""

from collections.abc import Sequence
from pathlib import Path

from salt.callbacks.replay import Trouble
from salt.errors import SaltError

LESS = "a lower learning rate (model.lrs_config.max), or --trainer.gradient_clip_val 1"


class NotFiniteError(SaltError):
    """Losses, gradients or weights of a training are not finite.

    Attributes:
        agreed: All processes of the training end after the same batch, each by itself.
    """

    agreed = True


def in_words(found: Trouble | str | None, when: str, precision: str, places: Sequence[tuple[Path, int]]) -> str:
    """Three lines.

    Args:
        found: What computing the batch again has found, or why it failed.
        when: The batch.
        precision: Of the trainer.
        places: For each row that was found its file and the row there.
    """
    if not isinstance(found, Trouble):
        why = found or "computed again, with other random numbers, all of it is finite"
        return f"the loss or a gradient is not finite in {when}\n{why}\ntry {_gentler(precision)}"
    names = " and ".join(f"'{task}'" for task in found.tasks)
    losses, are = (f"losses of tasks {names}", "are") if len(found.tasks) > 1 else (f"loss of task {names}", "is")
    subject = f"the {losses} {are}" if found.what == "loss" else f"the gradient of the {losses} is"
    return (
        f"{subject} not finite in {when}, {_by_jets(found, places)}\n{_by_module(found)}\n{_advice(found, precision)}"
    )


def _by_jets(found: Trouble, places: Sequence[tuple[Path, int]]) -> str:
    if not places:
        return "by its jets together, by none of them alone"
    rows: dict[Path, list[int]] = {}
    for path, row in places:
        rows.setdefault(path, []).append(row)
    listed = " and ".join(f"row{'s' * (len(r) > 1)} {', '.join(map(str, r))} of {path}" for path, r in rows.items())
    if found.every:
        return f"by every jet, such as {listed}"
    return f"by the jet{'s' * (len(places) > 1)} in {listed}{' and more' * found.more}"


def _by_module(found: Trouble) -> str:
    if found.weights:
        return f"the weights '{found.weights}' are not finite: the steps before it were too large"
    if found.variables:
        return f"{', '.join(found.variables)} is not finite once it is normalised"
    if not found.module:
        return f"the outputs of all modules are finite; the {found.what} itself is not"
    what = "value" if found.what == "loss" else "gradient"
    return f"the first {what} that is not finite comes from module {found.module} ({found.kind})"


def _advice(found: Trouble, precision: str) -> str:
    if found.variables:
        name = found.variables[0].split(".")[0]
        return f"correct the file or data.norm_dict, or exclude such values by data.inputs.{name}.selection"
    if found.weights or found.every or not found.rows:
        return f"try {_gentler(precision)}"
    jets = "that jet" if len(found.rows) == 1 and not found.more else "those jets"
    return f"look at {jets}, exclude such ones by data.inputs.jets.selection, or try {_gentler(precision)}"


def _gentler(precision: str) -> str:
    return LESS if precision.startswith(("32", "64")) else f"{LESS}, or --trainer.precision 32-true"
