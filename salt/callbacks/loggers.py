"""What loggers get beside metrics: the config, and figures after validations."""

import time
from collections.abc import Mapping
from pathlib import Path

import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint as LastCallback
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from salt.callbacks.comet import Comet
from salt.callbacks.figure_record import to_record
from salt.comet.drawing import draw, pixels
from salt.metrics.figures import Figure
from salt.runs.attempt import RunningAttempt
from salt.runs.configs import differences
from salt.runs.folder import run_of
from salt.training import Tagger

SHARE = 0.02
"""The share of the time of a training that may be spent on drawing."""


class Loggers(LastCallback):
    """Hands the config over at the start, and the figures of the metrics after each validation.

    Pictures are drawn for loggers that take nothing else, and left out where they would take more than `SHARE` of the
    time; those of the last validation always come. Lightning calls it after callbacks of other kinds, so that Comet
    hears of no training that one of them refuses, and finds in the run folder all that they write.

    Args:
        attempt: The attempt; None in all processes but the first.
        config: Text of the complete config.
    """

    def __init__(self, attempt: RunningAttempt | None, config: str) -> None:
        self.attempt = attempt
        self.config = config
        self._began = time.monotonic()
        self._spent = 0.0
        self._left: tuple[int, Mapping[str, Figure]] | None = None

    @rank_zero_only
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Hands over the config, before Lightning has the loggers write down what they know of it."""
        if self.attempt is None:
            return
        values = {each.key: each.new for each in differences({}, yaml.safe_load(self.config))}
        for logger in trainer.loggers:
            logger.log_hyperparams(values)

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lets Comet begin, which finds the config, and more, in the run folder."""
        if self.attempt is None:
            return
        self._began = time.monotonic()
        parent = self.attempt.lineage.parent
        for logger in trainer.loggers:
            if isinstance(logger, Comet):
                logger.begin(
                    self.attempt.folder,
                    self.attempt.number,
                    self.attempt.config_path.name,
                    trainer.global_step,
                    run_of(Path(parent.checkpoint)) if parent is not None else None,
                )

    @rank_zero_only
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hands over the figures."""
        figures = pl_module.figures if isinstance(pl_module, Tagger) else {}
        if trainer.sanity_checking or not figures or self.attempt is None:
            return
        step = trainer.fit_loop.epoch_loop._batches_that_stepped
        for logger in trainer.loggers:
            if isinstance(logger, Comet):
                logger.log_figures(figures, step, trainer.current_epoch)
        self._left = (step, dict(figures))
        if self._spent <= SHARE * (time.monotonic() - self._began):
            self._draw(trainer)

    @rank_zero_only
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hands over those of the last validation, if they were left out."""
        self._draw(trainer)

    def _draw(self, trainer: Trainer) -> None:
        if self._left is None:
            return
        begin = time.monotonic()
        (step, figures), self._left = self._left, None
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger | WandbLogger | MLFlowLogger):
                for name, figure in figures.items():
                    _hand_over(logger, name, figure, step)
        self._spent += time.monotonic() - begin


def _hand_over(logger: Logger, name: str, figure: Figure, step: int) -> None:
    picture = draw(to_record(name, figure, step, None))
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_figure(name, picture, step)
    elif isinstance(logger, WandbLogger):
        # For a picture itself W&B needs a part of matplotlib that nobody has imported.
        logger.log_image(name, [pixels(picture)], step)
    elif isinstance(logger, MLFlowLogger):
        logger.experiment.log_figure(logger.run_id, picture, f"{name}/{step:08d}.png")
