"""One line per epoch, for terminals and batch logs alike."""

import logging
import re
from math import isnan
from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint as LastCallback
from lightning.pytorch.utilities import rank_zero_only

from salt.callbacks.checkpoint import Checkpoint
from salt.callbacks.early_stopping import EarlyStopping
from salt.callbacks.main_metrics import main_metrics
from salt.callbacks.progress import epochs
from salt.callbacks.throughput import Throughput

log = logging.getLogger(__name__)


class EpochLine(LastCallback):
    """Says after each epoch how it went, and what it means for the best model.

    Lightning calls callbacks of this kind after all others, in the order in which they are given: this one comes after
    the checkpoints of the epoch are saved.

    Args:
        throughput: What counts the jets of the training.
    """

    def __init__(self, throughput: Throughput) -> None:
        self.throughput = throughput
        self._validated: int | None = None
        self._best: float | None = None
        self._best_epoch: int | None = None
        self._before: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the best so far from the checkpoint that the training goes on from."""
        checkpoint = _checkpoint(trainer)
        if checkpoint is not None and checkpoint.best_model_score is not None:
            self._best = float(checkpoint.best_model_score)
            epoch = re.match(r"epoch(\d+)", Path(checkpoint.best_model_path).name)
            self._best_epoch = int(epoch[1]) + 1 if epoch else None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remembers what was the best before the epoch, of which nothing is validated yet."""
        self._before, self._validated = self._best, None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remembers of which step the metrics of the validation are, and whether it was the best."""
        if not trainer.sanity_checking:
            self._validated = trainer.global_step
            self._compare(trainer)

    @rank_zero_only
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints the line. The last validation of the epoch has run by then, if there was one."""
        step = self._validated
        known = step is not None
        values = {k: float(v) for k, v in trainer.callback_metrics.items() if known or not k.startswith("val/")}
        told = {"train/loss": f"{pl_module.epoch_loss:.4f}"}  # That of its last step alone is in the metrics.
        if "val/loss" in values:
            told["val/loss"] = f"{values['val/loss']:.4f}{'' if step == trainer.global_step else f' after step {step}'}"
        chosen = main_metrics(values, pl_module.tasks)  # type: ignore[arg-type]
        speed = self.throughput.epoch_pace(trainer).jets_per_second
        rest = [f"{task}: {', '.join(f'{k} {v:.4g}' for k, v in mine.items())}" for task, mine in chosen.items()]
        rest += [f"{speed:,.0f} jets/s"]
        checkpoint = _checkpoint(trainer)
        if checkpoint is not None and checkpoint.monitor in values:
            monitored = values[checkpoint.monitor]
            if checkpoint.monitor not in (*told, *(f"val/{task}/{name}" for task in chosen for name in chosen[task])):
                told[_short(checkpoint.monitor)] = f"{monitored:.4g}"
            self._compare(trainer)
            rest.append(self._about_best(checkpoint, monitored))
        rest += _patience(trainer)
        words = ", ".join(f"{name} {value}" for name, value in told.items())
        log.info("epoch %d/%s, %s; %s", trainer.current_epoch + 1, epochs(trainer), words, "; ".join(rest))

    def _compare(self, trainer: Trainer) -> None:
        """Remembers the best value, of which there may be several in an epoch."""
        checkpoint = _checkpoint(trainer)
        if checkpoint is None or checkpoint.monitor not in trainer.callback_metrics:
            return
        value, best = float(trainer.callback_metrics[checkpoint.monitor]), self._best
        if not isnan(value) and (best is None or (value < best if checkpoint.mode == "min" else value > best)):
            self._best, self._best_epoch = value, trainer.current_epoch + 1

    def _about_best(self, checkpoint: Checkpoint, value: float) -> str:
        """Whether the epoch has the best value, and what was saved of it."""
        name, best, before = _short(str(checkpoint.monitor)), self._best, self._before
        if best is None or (isnan(value) and best == before):
            return f"{name} is not a number"
        if best == before:
            place = "" if self._best_epoch is None else f" in epoch {self._best_epoch}"
            return f"best {name} {best:.4g}{place}"
        inside = "" if value == best else f": {best:.4g} inside this epoch"
        gained = "" if before is None else f" ({before:.4g} before)"
        saved = Path(checkpoint.best_model_path).name
        return f"best {name} so far{inside}{gained}{f', saved as {saved}' if saved else ''}"


def _short(metric: str) -> str:
    """The name of a metric in the line: those of tasks are of the validation unless they say otherwise."""
    return metric if metric == "val/loss" else metric.removeprefix("val/")


def _checkpoint(trainer: Trainer) -> Checkpoint | None:
    return next((each for each in trainer.checkpoint_callbacks if isinstance(each, Checkpoint)), None)


def _patience(trainer: Trainer) -> list[str]:
    """How near the training is to being stopped for want of progress."""
    return [e.how_near for e in trainer.early_stopping_callbacks if isinstance(e, EarlyStopping) and e.wait_count]
