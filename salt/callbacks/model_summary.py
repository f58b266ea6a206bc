"""What is about to be trained, in tables."""

import io
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint as LastCallback
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.table import Table
from torch import nn

from salt.data.datamodule import JetDataModule
from salt.training import Tagger

log = logging.getLogger(__name__)

LOG_WIDTH = 120
"""Columns of the tables where there is no terminal."""


class ModelSummary(LastCallback):
    """Says before the first step what the inputs, the layers and the tasks are, and how long the training will be.

    Lightning calls it after callbacks of other kinds, so that what they find wrong stands alone.

    Args:
        terminal: Whether a terminal shows it; without one there are plain lines.
    """

    def __init__(self, terminal: bool) -> None:
        self.terminal = terminal

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints it. Statistics and a checkpoint to go on from are loaded by now, and parts are frozen."""
        if not log.isEnabledFor(logging.INFO) or not isinstance(pl_module, Tagger):
            return
        datamodule: JetDataModule = trainer.datamodule  # type: ignore[attr-defined]
        tables = (inputs(datamodule), layers(pl_module), tasks(pl_module), training(trainer, pl_module, datamodule))
        log.info("%s", drawn(tables, self.terminal))


def drawn(tables: tuple[Table, ...], terminal: bool) -> str:
    """Tables as text, with colours for a terminal and without for a log."""
    out = io.StringIO()
    width = Console(stderr=True).width if terminal else LOG_WIDTH
    console = Console(file=out, force_terminal=terminal, width=width, highlight=False, markup=False)
    for number, table in enumerate(tables):
        if number:
            console.print()
        console.print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def inputs(datamodule: JetDataModule) -> Table:
    """The inputs with their variables."""
    table = plain_table("input", "dataset", "number", "variables", numbers=("number",))
    for name, spec in datamodule.inputs.items():
        table.add_row(name, spec.dataset_of(name), str(len(spec.variables)), ", ".join(spec.variables))
    return table


def layers(module: Tagger) -> Table:
    """The parts of the model with their numbers of parameters."""
    table = plain_table("part", "is", "parameters", "trained", numbers=("parameters", "trained"))
    for name, kind, parameters in _parts(module.model):
        trained = sum(p.numel() for p in parameters if p.requires_grad)
        table.add_row(name, kind, f"{sum(p.numel() for p in parameters):,}", f"{trained:,}")
    every = list(module.model.parameters())
    trained = sum(p.numel() for p in every if p.requires_grad)
    table.add_row("all", "", f"{sum(p.numel() for p in every):,}", f"{trained:,}")
    return table


def _parts(model: nn.Module) -> Iterator[tuple[str, str, list[nn.Parameter]]]:
    """Children of the model, and members of those that only hold others, as far as they have parameters."""
    own = [(name, [parameter]) for name, parameter in model.named_parameters(recurse=False)]
    for name, parameters in own:
        yield name, " x ".join(str(size) for size in parameters[0].shape), parameters
    for name, child in model.named_children():
        members = child.items() if isinstance(child, nn.ModuleDict) else [("", child)]
        for key, member in members:
            if parameters := list(member.parameters()):
                yield f"{name}.{key}".rstrip("."), type(member).__name__, parameters


def tasks(module: Tagger) -> Table:
    """The tasks with what they learn and the columns that they predict."""
    table = plain_table("task", "is", "of", "learns", "columns")
    for name, task in module.tasks.items():
        targets = ", ".join(dict.fromkeys(target.variable for target in task.targets if target.learnt))
        columns = ", ".join(column.in_file(module.name) for column in task.columns())
        table.add_row(name, type(task).__name__, task.input, targets, columns)
    return table


def training(trainer: Trainer, module: Tagger, datamodule: JetDataModule) -> Table:
    """The data, the length and the devices."""
    table = plain_table("training", "")
    opened: Mapping[str, Any] = datamodule.describe()
    for part, about in opened.items():
        if part in ("train", "val"):
            files = len(about["files"])
            table.add_row(f"{part} jets", f"{about['jets']:,} of {files} file{'s' if files > 1 else ''}")
    table.add_row("a step", f"{trainer.world_size * datamodule.batch_size:,} jets")
    total, epoch = module.total_steps, int(trainer.num_training_batches)
    done = f", {trainer.global_step:,} of them done" if trainer.global_step else ""
    table.add_row("an epoch", f"{epoch:,} steps")
    table.add_row("all, and its schedule", f"{total:,} steps{done}" if total is not None else f"without an end{done}")
    precision = f"precision {trainer.precision}"
    compiled = ", compiled" if module.compiled else ""
    table.add_row("on", f"{_devices(trainer, module.device)}, {precision}{compiled}")
    return table


def _devices(trainer: Trainer, device: torch.device) -> str:
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
    if device.type == "cpu":
        kind += f" with {torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}"
    if trainer.world_size == 1:
        return kind
    nodes = f" on {trainer.num_nodes} nodes" if trainer.num_nodes > 1 else ""
    return f"{trainer.world_size} x {kind}{nodes}"


def plain_table(*headings: str, numbers: tuple[str, ...] = ()) -> Table:
    """An empty table without lines; columns of numbers end at the right."""
    table = Table(*headings, box=None, pad_edge=False, header_style="bold")
    for column in table.columns:
        column.overflow = "fold"
        if column.header in numbers:
            column.justify = "right"
    return table
