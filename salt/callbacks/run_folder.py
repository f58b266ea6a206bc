"""What a run leaves behind beside checkpoints and metrics: how it can be repeated."""

import os
import platform
import shlex
import subprocess
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint as LastCallback
from lightning.pytorch.utilities import rank_zero_only

from salt.callbacks.metrics_log import MetricsLog
from salt.data.datamodule import JetDataModule
from salt.data.norms import dump_norms
from salt.data.paths import one_file
from salt.data.places import read_text
from salt.files import write_text
from salt.inputs import unambiguous
from salt.runs.attempt import RunningAttempt
from salt.statistics import Scale

PACKAGES = ("salt-tagger", "torch", "lightning", "jsonargparse", "numpy", "h5py", "hdf5plugin", "comet-ml")


class RunFolder(LastCallback):
    """Writes the merged config, the normalisation in use and ``metadata.yaml`` into the run folder.

    A later attempt at the run writes config and metadata under names of its own. Lightning calls it after callbacks of
    other kinds, so that one of them that finds something wrong leaves the run as it was.

    Args:
        attempt: The attempt; None in all processes but the first.
        config: Text of the complete config.
        command: The words of the command line.
        metrics: The logger of the run, which drops what will be trained once more.
    """

    def __init__(
        self, attempt: RunningAttempt | None, config: str, command: Sequence[str], metrics: MetricsLog
    ) -> None:
        self.attempt = attempt
        self.config = config
        self.command = list(command)
        self.metrics = metrics

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes all of it; by now the checks of the data are passed and a checkpoint to resume from is loaded."""
        if self.attempt is None:
            return
        datamodule: JetDataModule = trainer.datamodule  # type: ignore[attr-defined]
        folder = self.attempt.folder
        write_text(self.attempt.config_path, self.config)
        names = unambiguous({name: spec.dataset_of(name) for name, spec in datamodule.inputs.items()})
        scales = {names[k]: v for k, v in _scales(pl_module).items()}
        dump_norms(scales, folder / "norm_dict.yaml")
        if datamodule.class_dict:
            write_text(folder / "class_dict.yaml", read_text(one_file(datamodule.class_dict, "data.class_dict")))
        write_text(self.attempt.metadata_path, yaml.safe_dump(self._metadata(trainer, datamodule), sort_keys=False))
        if not self.attempt.new:
            self.metrics.go_on(trainer.global_step)
        self.attempt.trains_from(trainer.global_step)

    def _metadata(self, trainer: Trainer, datamodule: JetDataModule) -> dict[str, Any]:
        return {
            "command": shlex.join(self.command),
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "versions": {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
            "git": git_state(Path(__file__).resolve().parent),
            "host": {"system": platform.platform(), "cpus": torch.get_num_threads()},
            "devices": {
                "accelerator": type(trainer.accelerator).__name__,
                "world_size": trainer.world_size,
                "gpus": [torch.cuda.get_device_name(d) for d in range(torch.cuda.device_count())],
            },
            "seed": int(os.environ.get("PL_GLOBAL_SEED", "0")),
            "parameters": sum(p.numel() for p in trainer.lightning_module.parameters()),
            "files": datamodule.describe(),
        }


def _scales(pl_module: LightningModule) -> dict[str, dict[str, Scale]]:
    """The normalisation that the model holds, which after a resume is that of the checkpoint."""
    modules: Any = pl_module.model.normalise  # type: ignore[union-attr]
    return {
        name: {v: Scale(float(m), float(s)) for v, m, s in zip(module.variables, module.mean, module.std, strict=True)}
        for name, module in modules.items()
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of the checkout that holds `folder` and whether tracked files differ from it; None outside of one."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return {"commit": commit, "changed": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *words: str) -> str:
    result = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=True)
    return result.stdout.strip()
