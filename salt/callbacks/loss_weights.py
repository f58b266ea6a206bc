"""What counts how much in the loss of a run."""

import logging
from collections.abc import Mapping
from typing import Any

import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint as LastCallback
from lightning.pytorch.utilities import rank_zero_only

from salt.files import write_text
from salt.runs.attempt import RunningAttempt
from salt.training import Tagger

log = logging.getLogger(__name__)


class LossWeightsTable(LastCallback):
    """Says before the first step what each task, class, label, jet and level weighs, and writes it to the run folder.

    Lightning calls it after callbacks of other kinds, so that what they find wrong stands alone.

    Args:
        attempt: The attempt, which has a file of its own; None in a trial, and in all processes but the first.
    """

    def __init__(self, attempt: RunningAttempt | None) -> None:
        self.attempt = attempt

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """By now weights are measured, or loaded from a checkpoint."""
        if not isinstance(pl_module, Tagger):
            return
        rule = None if pl_module.balancing is None else type(pl_module.balancing).__name__.lower()
        weights = {name: task.weights() for name, task in pl_module.tasks.items()}
        log.info("%s", "\n".join(in_lines(weights, rule)))
        if self.attempt is not None:
            text = yaml.safe_dump({"balancing": rule, "tasks": weights}, sort_keys=False)
            write_text(self.attempt.loss_weights_path, text)


def in_lines(weights: Mapping[str, Mapping[str, Any]], rule: str | None) -> list[str]:
    """A line for each task, under a heading.

    Args:
        weights: What each task says of its weights.
        rule: How the tasks are balanced, if they are.
    """
    width = max(len(name) for name in weights)
    heading = "loss weights of tasks and their targets" + ("" if rule is None else f", balanced by {rule}")
    return [heading, *(f"  {name:<{width}}  {w['task']:<6g}  {_targets(w)}" for name, w in weights.items())]


def _targets(weights: Mapping[str, Any]) -> str:
    """What its targets weigh, in words."""
    words = []
    for kind in ("classes", "labels"):
        each = weights.get(kind, {})
        if any(w != 1 for w in each.values()):
            words.append(f"{kind}: " + ", ".join(f"{name} {w:.4g}" for name, w in each.items()))
    words += [f"{kind}: {weights[kind]}" for kind in ("jet", "level") if kind in weights]
    if not words:
        return "all targets alike"
    return "; ".join([*words, f"normalise: {weights['normalise']}"] if "normalise" in weights else words)
