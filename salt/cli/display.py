"""What a command of a Trainer's verb shows while it works."""

import logging
import os
import sys
from collections.abc import Iterable
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ProgressBar as LightningBar

from salt.callbacks.epoch_line import EpochLine
from salt.callbacks.model_summary import ModelSummary
from salt.callbacks.progress_bar import ProgressBar
from salt.callbacks.progress_lines import ProgressLines
from salt.callbacks.throughput import Throughput


def is_terminal() -> bool:
    """Whether standard error is a terminal on which lines can be drawn anew."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def display_callbacks(options: Namespace, verb: str, configured: Iterable[Callback]) -> list[Callback]:
    """What shows and measures how it goes.

    Args:
        options: Those of the Trainer. `enable_progress_bar` chooses between a bar and plain lines; not given: a bar in
            a terminal. Without `enable_model_summary` there is no summary of the model.
        verb: ``fit``, ``validate``, ``test`` or ``predict``.
        configured: The callbacks of the config; one that is a progress bar stands in for ours.
    """
    throughput = Throughput()
    wanted = logging.getLogger("salt").isEnabledFor(logging.INFO)
    terminal = is_terminal()
    shown: list[Callback] = []
    if wanted and not has_own_bar(configured):
        asked = options.get("enable_progress_bar")
        shown.append(ProgressBar(throughput) if (terminal if asked is None else asked) else ProgressLines(throughput))
    if verb != "fit":
        return shown
    if wanted and options.get("enable_model_summary") is not False:
        shown.append(ModelSummary(terminal))
    return [throughput, *shown, EpochLine(throughput)]


def has_own_bar(configured: Iterable[Callback]) -> bool:
    """Whether the config has a progress bar of its own."""
    return any(isinstance(each, LightningBar) for each in configured)


def lightning_display(configured: Iterable[Callback]) -> dict[str, Any]:
    """Options by which Lightning shows nothing itself."""
    return {"enable_progress_bar": has_own_bar(configured), "enable_model_summary": False}
