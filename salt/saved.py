"""What a checkpoint says of the model whose weights it holds, and whether they fit another one."""

from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from salt.errors import ConfigError
from salt.model import JetTagger

CHECKPOINT_FORMAT = 1
"""Version of what checkpoints hold beside Lightning's own entries."""

Signature = dict[str, dict[str, list[str]]]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint holds; of its tensors the file is read as they are used.

    Raises:
        ConfigError: The file is no checkpoint, or not a whole one.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # What is raised depends on what the file is instead.
        reason = (str(error) or type(error).__name__).splitlines()[0].split(". ")[0][:200]
        raise ConfigError(f"{path} is no checkpoint of Salt, or not whole ({reason}); name another one") from None
    if not isinstance(checkpoint, dict):
        raise ConfigError(f"{path} is no checkpoint of Salt: it holds no table")
    return checkpoint


def signature(model: JetTagger) -> Signature:
    """The variables of each input, in their order, and the columns of each task."""
    return {
        "input": {name: list(module.variables) for name, module in model.normalise.items()},  # type: ignore[arg-type]
        "task": {name: [column.name for column in task.columns()] for name, task in model.named_tasks.items()},
    }


def check_header(header: Any, ours: Signature) -> None:
    """Compares the config with what the weights were trained for.

    Args:
        header: The entry ``salt`` of the checkpoint.
        ours: The signature of the model of the config.

    Raises:
        ConfigError: They differ; the message names the first difference.
    """
    if not isinstance(header, dict) or "format" not in header:
        raise ConfigError("the checkpoint was not written by Salt")
    if header["format"] > CHECKPOINT_FORMAT:
        raise ConfigError(
            f"the checkpoint has format {header['format']}; this version of Salt reads up to {CHECKPOINT_FORMAT}"
        )
    theirs = header["model"]
    for group in ours:
        for name in [*theirs[group], *ours[group]]:
            trained, asked = theirs[group].get(name), ours[group].get(name)
            if trained != asked:
                raise ConfigError(
                    f"the checkpoint was trained with {group} '{name}': {trained}, the config has {asked}\n"
                    "take the config of its run, or begin a new run with those of its weights that fit: "
                    "run.warm_start with exclude"
                )


def check_shapes(ours: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    """ConfigError that names the first of the weights that has another shape in the checkpoint, or is not there."""
    for key in sorted(ours.keys() | saved.keys()):
        here, there = (tuple(each[key].shape) if key in each else "absent" for each in (ours, saved))
        if here != there:
            raise ConfigError(
                f"the model of the config does not fit the checkpoint: {key} is {there} there "
                f"and {here} here; compare embed_dim, encoder, pooling and the tasks' hidden"
            )


def different_buffers(module: nn.Module, saved: Mapping[str, Tensor], wanted: Container[str]) -> list[str]:
    """The names of the buffers, of those wanted, whose values in a checkpoint are other ones."""
    return [
        key.removeprefix("model.")
        for key, ours in module.named_buffers()
        if key in wanted and not torch.allclose(ours.double().cpu(), saved[key].double().cpu(), rtol=1e-3)
    ]
