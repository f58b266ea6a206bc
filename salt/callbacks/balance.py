"""The end of an adversarial training that has reached its balance."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from salt.adversary.options import WHERE
from salt.callbacks.early_stopping import EarlyStopping
from salt.errors import ConfigError

MONITOR = "val/adversary/balance"


class BalanceReached(EarlyStopping):
    """Ends the training when the balance was high enough in some validations in a row.

    The balance is that of a fresh network, so an adversary that has died ends nothing.

    Args:
        enough: The balance that is high enough.
        patience: In how many validations in a row.

    Attributes:
        wait_count: How many validations in a row were, up to now.
    """

    more = f"{WHERE}.patience"

    def __init__(self, enough: float, patience: int) -> None:
        super().__init__(monitor=MONITOR, mode="max", patience=patience)
        self.enough = enough

    @property
    def reason(self) -> str | None:
        """Why the training is to end, or None."""
        if self.wait_count < self.patience:
            return None
        times = f"{self.wait_count} validation{'s' if self.wait_count != 1 else ''} in a row"
        return f"{MONITOR} was at least {self.enough:.4g} in {times}"

    @property
    def how_near(self) -> str:
        """How near the end is."""
        return f"{MONITOR} high enough in {self.wait_count} of {self.patience} validations"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Checks that there is a validation.

        Raises:
            ConfigError: There is none.
        """
        if stage == "fit" and trainer.datamodule.options["val"] is None:  # type: ignore[attr-defined]
            raise ConfigError(f"{WHERE}.balance is measured in validations, and there is no data.val_file")
        super().setup(trainer, pl_module, stage)

    def _evaluate_stopping_criteria(self, current: Tensor) -> tuple[bool, str | None]:
        """Counts; NaN, which is no balance, begins anew."""
        self.wait_count = self.wait_count + 1 if bool(current >= self.enough) else 0
        return self.wait_count >= self.patience, None

    def state_dict(self) -> dict[str, Any]:
        """What was counted."""
        return {"wait_count": self.wait_count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on counting."""
        self.wait_count = state_dict["wait_count"]
