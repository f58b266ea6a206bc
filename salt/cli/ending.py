"""The line with which a training ends."""

import logging
import time
from pathlib import Path

from lightning.pytorch import Trainer

from salt.callbacks.checkpoint import Checkpoint
from salt.callbacks.status import span
from salt.words import RESULT


def say_end(trainer: Trainer, folder: Path | None, name: str, begun: float) -> None:
    """Says what was reached, and where the best model lies.

    Args:
        trainer: Whose training is over.
        folder: The run folder; None for a trial, which leaves none.
        name: The name of the model.
        begun: When the training began, by the monotonic clock.
    """
    steps, passed = trainer.global_step, span(time.monotonic() - begun)
    epochs = f"{trainer.current_epoch} epoch{'' if trainer.current_epoch == 1 else 's'}"
    told = f"finished: {epochs}, {steps} steps, {passed}"
    checkpoint = next((each for each in trainer.checkpoint_callbacks if isinstance(each, Checkpoint)), None)
    if checkpoint is not None and checkpoint.monitor is not None and checkpoint.best_model_score is not None:
        told += f"; best {checkpoint.monitor} {float(checkpoint.best_model_score):.4g}"
    if folder is not None:
        best = folder / f"{name}.ckpt"
        if not best.is_file():
            best = folder / "ckpts" / Path(checkpoint.best_model_path or "last.ckpt").name if checkpoint else folder
        told += f"; {best}"
    logging.getLogger(RESULT).info("%s", told)
