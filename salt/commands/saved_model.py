"""The model of a run, with the weights of one of its checkpoints."""

from argparse import ArgumentError
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from salt.cli.scoring import best_checkpoint, existing_checkpoint
from salt.errors import ConfigError
from salt.inputs import Input
from salt.optim.averaging import Which, choose_weights
from salt.runs.configs import read_config
from salt.runs.folder import find_run, run_of, stored_config
from salt.saved import read_checkpoint
from salt.training import Tagger

OF_TRAINING = ("lrs_config", "optimizer", "compile")
"""Arguments of the model that say how it is trained."""


@dataclass(frozen=True, eq=False)
class SavedModel:
    """A trained model.

    Args:
        tagger: It, in evaluation mode, on the CPU.
        inputs: Its inputs.
        config: The config of its run.
        run: The folder of the run.
        checkpoint: Where the weights come from.
        step: Optimiser steps that these have seen.
        weights: Words for the set of weights; empty where the checkpoint has only one.
        averaged: Whether they are averages.
    """

    tagger: Tagger
    inputs: Mapping[str, Input]
    config: Mapping[str, Any]
    run: Path
    checkpoint: Path
    step: int
    weights: str
    averaged: bool


def load_model(name: str, root: Path, ckpt_path: str | None = None, which: Which | None = None) -> SavedModel:
    """Loads a model, whatever device, precision or compiler it was trained with.

    Args:
        name: The run's id, the path of its folder, or a checkpoint in it.
        root: The folder of all runs.
        ckpt_path: A checkpoint; the best of the run if not given.
        which: The averages or the weights in training, where the checkpoint has both.

    Raises:
        ConfigError: There is no such run or checkpoint, or the weights do not fit the config.
    """
    if name.endswith((".ckpt", ".yaml")) and Path(name).expanduser().is_file():
        path = Path(name).expanduser()
        run = run_of(path) if path.suffix == ".ckpt" else path.absolute().parent
        if run is None:
            raise ConfigError(f"{name} lies in no run, so its model is not described; give the run and --ckpt_path")
        ckpt_path = ckpt_path or (str(path) if path.suffix == ".ckpt" else None)
    else:
        run = find_run(root, name)
    config_path = stored_config(run)
    if config_path is None:
        raise ConfigError(f"run {run} has no config.yaml, which describes its model")
    config = read_config(config_path)
    checkpoint_path = existing_checkpoint(ckpt_path) if ckpt_path else best_checkpoint("export", run)
    tagger, inputs = build(config, str(config_path))
    tagger.which_weights = which
    checkpoint = read_checkpoint(checkpoint_path)
    tagger.on_load_checkpoint(checkpoint)
    words = choose_weights(checkpoint, which)
    tagger.load_state_dict(checkpoint["state_dict"])
    step = int(checkpoint.get("global_step", 0))
    averaged = words is not None and which != "trained"
    return SavedModel(tagger.eval(), inputs, config, run, checkpoint_path, step, words or "", averaged)


def build(config: Mapping[str, Any], where: str) -> tuple[Tagger, Mapping[str, Input]]:
    """The model that a config describes, with its first weights, and its inputs.

    Args:
        config: The config, base and all.
        where: What an error calls it.

    Raises:
        ConfigError: It describes no model, or a wrong one.
    """
    model, data = config.get("model"), config.get("data")
    if not isinstance(model, dict) or not isinstance(data, dict):
        raise ConfigError(f"{where} describes no model")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Tagger, "model", skip=set(OF_TRAINING))
    parser.add_argument("--inputs", type=dict[str, Input])
    kept = {key: value for key, value in model.items() if key not in (*OF_TRAINING, "adversary")}
    inputs = data.get("inputs")
    tree = {**kept, "inputs": inputs, "name": config.get("name", "salt")}
    try:
        found = parser.instantiate(parser.parse_object({"model": tree, "inputs": inputs}))
    except ArgumentError as error:
        raise ConfigError(f"{where}: {' '.join(str(error).split())[:300]}") from None
    return found.model, found.inputs
