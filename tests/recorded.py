"""A callback that keeps the weights of each step, for trainings whose steps are checked by hand."""

from pathlib import Path
from typing import Any

import torch

RECORD = """
import os, signal
from pathlib import Path
import torch
from lightning.pytorch import Callback

def keep(pl_module, name):
    Path("steps").mkdir(exist_ok=True)
    torch.save({n: p.detach().clone() for n, p in pl_module.named_parameters()}, f"steps/{name}.pt")

class Record(Callback):
    def on_train_start(self, trainer, pl_module):
        keep(pl_module, trainer.global_step)

    def on_train_batch_end(self, trainer, pl_module, *args):
        keep(pl_module, trainer.global_step)

    def on_validation_batch_start(self, trainer, pl_module, *args):
        if not trainer.sanity_checking:
            keep(pl_module, f"validated{trainer.global_step}")

class StopInValidation(Callback):
    def on_validation_batch_start(self, trainer, *args):
        if not trainer.sanity_checking and trainer.global_step == 4 and not Path("was_told_to_stop").exists():
            Path("was_told_to_stop").touch()
            os.kill(os.getpid(), signal.SIGTERM)
"""

Weights = dict[str, torch.Tensor]


def write_record(folder: Path) -> tuple[str, str]:
    """Makes the callbacks importable, and returns the options that add them."""
    (folder / "record_steps.py").write_text(RECORD)
    return (
        "--trainer.callbacks.Record={class_path: record_steps.Record}",
        "--trainer.callbacks.StopInValidation={class_path: record_steps.StopInValidation}",
    )


def recorded(folder: Path, name: Any) -> Weights:
    """The weights of a step, or of the validation after it."""
    found: Weights = torch.load(folder / "steps" / f"{name}.pt", weights_only=True)
    return found
