"""What is known of a training before it begins."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from salt.callbacks.trial import Trialled
from salt.data.datamodule import JetDataModule
from salt.data.scan import Scan
from salt.errors import SaltError
from salt.training import Tagger


@dataclass(frozen=True)
class Devices:
    """The devices that are asked for.

    Args:
        accelerator: ``cpu``, ``gpu``, ``auto`` ...
        each: How many on each node; None for all that there are.
        nodes: Number of nodes.
    """

    accelerator: str = "auto"
    each: int | None = 1
    nodes: int = 1


@dataclass(eq=False)
class Checked:
    """What is known of a training, as far as it got.

    Args:
        errors: What would end it.
        doubts: What fit would warn of, and more.
        devices: What it would run on.
        data: Its data.
        model: Its model.
        trainer: The options of its Trainer, as the config has them.
        staging: The folder on fast storage, as the config has it.
        scans: What is in the files.
        trialled: What the first steps took.
        compiles: Whether the model is to be compiled, which is not done here.
        asked_workers: `data.num_workers` as the config has it.
    """

    errors: list[SaltError]
    doubts: list[str]
    devices: Devices
    data: JetDataModule | None = None
    model: Tagger | None = None
    trainer: Mapping[str, Any] | None = None
    staging: str | None = None
    scans: Mapping[str, Scan] | None = None
    trialled: Trialled | None = None
    compiles: bool = False
    asked_workers: int | None = None

    def add(self, error: SaltError) -> None:
        """One more error, if it is not known yet."""
        if str(error) not in map(str, self.errors):
            self.errors.append(error)
