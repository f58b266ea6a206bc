"""The end of a training that learns nothing more."""

import logging
from typing import Any, Literal

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch import callbacks as lightning_callbacks
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from salt.callbacks.monitor import check_monitor
from salt.errors import ConfigError, unknown

log = logging.getLogger(__name__)

WHERE = "trainer.callbacks.EarlyStopping"


class EarlyStopping(lightning_callbacks.EarlyStopping):
    """Ends the training when a metric of the validation has not become better for a while.

    A run that is gone on with takes these arguments from its present config, and what it has seen from the checkpoint.

    Args:
        monitor: Metric of the validation, such as ``val/loss`` or ``val/jets_classification/accuracy``.
        mode: Whether a small or a large value is good.
        patience: After how many validations in a row without a better value the training ends.
        min_delta: By how much a value must be better than the best one to count as better.
        stopping_threshold: End at once when the metric is better than this value; null for never.

    Attributes:
        wait_count: How many validations in a row were not better.
        more: The option with which a training goes on that has ended.
    """

    more = f"{WHERE}.patience"

    def __init__(
        self,
        monitor: str = "val/loss",
        mode: Literal["min", "max"] = "min",
        patience: int = 5,
        min_delta: float = 0.0,
        stopping_threshold: float | None = None,
    ) -> None:
        if patience < 1:
            raise ConfigError(f"{WHERE}.patience is {patience}; it is a number of validations, at least 1")
        if min_delta < 0:
            raise ConfigError(f"{WHERE}.min_delta is {min_delta}; it is at least 0")
        super().__init__(
            monitor=monitor,
            mode=mode,
            patience=patience,
            min_delta=min_delta,
            stopping_threshold=stopping_threshold,
            check_finite=monitor.endswith("loss"),  # Other metrics are NaN where the jets say nothing about them.
        )

        self._trained = False

    @property
    def best(self) -> float | None:
        """The best value so far; None before the first validation."""
        value = float(self.best_score)
        return value if abs(value) != float("inf") else None

    @property
    def reason(self) -> str | None:
        """Why the training is to end, or None."""
        if self.stopping_reason is EarlyStoppingReason.STOPPING_THRESHOLD:
            return f"{self.monitor} is better than {self.stopping_threshold:g}"
        if self.stopping_reason is EarlyStoppingReason.NON_FINITE_METRIC:
            return f"{self.monitor} is not finite"
        if self.wait_count < self.patience or self.best is None:
            return None
        by = f" by {abs(self.min_delta):g}" if self.min_delta else ""
        times = f"{self.wait_count} validation{'s' if self.wait_count != 1 else ''}"
        return f"{self.monitor} was not better than {self.best:.5g}{by} for {times}"

    @property
    def how_near(self) -> str:
        """How near the end is."""
        return f"{self.monitor} no better for {self.wait_count} of {self.patience} validations"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Checks that there is a validation.

        Raises:
            ConfigError: There is none.
        """
        super().setup(trainer, pl_module, stage)
        if stage == "fit" and trainer.datamodule.options["val"] is None:  # type: ignore[attr-defined]
            raise ConfigError(f"{WHERE} waits for {self.monitor} to become better, and there is no data.val_file")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks that the metric exists, before the first step."""
        check_monitor(trainer, pl_module, self.monitor, f"{WHERE}.monitor")

    def on_train_batch_start(self, *args: Any, **kwargs: Any) -> None:
        """There is something to train."""
        self._trained = True

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what was seen; arguments, and the reason for an end, are not taken over."""
        super().load_state_dict(
            {**state_dict, "patience": self.patience, "stopping_reason": 0, "stopping_reason_message": None}
        )

    @rank_zero_only
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says why the training has ended, if it is this one's doing."""
        if trainer.should_stop and self.reason is not None and self._trained:
            log.info("stopped early after epoch %d: %s", trainer.current_epoch, self.reason)

    def _validate_condition_metric(self, logs: dict[str, Tensor]) -> bool:
        if self.monitor not in logs:
            raise ConfigError(unknown("metric", self.monitor, list(logs), f"in {WHERE}.monitor"))
        return True
