"""Which checkpoint scores, and with which settings of the trainer."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from salt.cli.merge import Tree
from salt.errors import ConfigError
from salt.saved import read_checkpoint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scoring:
    """How a checkpoint is evaluated.

    Args:
        tree: The config, with the trainer's settings for scoring.
        ckpt_path: The checkpoint.
        overwrite: Whether predictions that are already there may be replaced.
    """

    tree: Tree
    ckpt_path: Path
    overwrite: bool


def scoring(
    verb: str,
    tree: Mapping[str, Any],
    run: Path | None,
    ckpt_path: str | None,
    asked: Mapping[str, Any],
    overwrite: bool,
) -> Scoring:
    """Settings for ``validate``, ``test`` and ``predict``.

    Scores are those of one device in float32 unless something else is asked for, whatever the training used, and
    nothing is logged or staged.

    Args:
        verb: The verb of the command.
        tree: The merged config.
        run: Folder of the saved config, if one was given.
        ckpt_path: The checkpoint that was asked for; the best of the run if not given.
        asked: What the command asks for on top of the config of the training.
        overwrite: Whether predictions may be replaced.

    Raises:
        ConfigError: There is no such checkpoint, or it cannot be read.
    """
    wanted = asked.get("trainer") or {}
    trainer = {**(tree.get("trainer") or {}), "logger": False}
    for key, value in {"precision": "32-true", "devices": 1, "num_nodes": 1, "fast_dev_run": False}.items():
        if key not in wanted:
            trainer[key] = value
    path = existing_checkpoint(ckpt_path) if ckpt_path else best_checkpoint(verb, run)
    read_checkpoint(path)
    return Scoring({**tree, "trainer": trainer}, path, overwrite)


def existing_checkpoint(name: str) -> Path:
    """The path of a checkpoint that a user named.

    Raises:
        ConfigError: There is no such file; the message offers the nearest ones in its folder.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    others = [str(p) for p in path.parent.glob("*.ckpt")] if path.parent.is_dir() else []
    near = get_close_matches(name, others, n=3, cutoff=0.3)
    hint = f"nearest: {', '.join(near)}" if near else f"{path.parent} holds no checkpoint"
    raise ConfigError(f"no checkpoint '{name}'; {hint}")


def best_checkpoint(verb: str, run: Path | None) -> Path:
    """The best checkpoint of a run by the metric that it monitored, or its last where it monitored none."""
    if run is None:
        raise ConfigError(
            f"main {verb} needs a trained model: give --config <run folder>/config.yaml, or any config with --ckpt_path"
        )
    folder = run / "ckpts"
    last = folder / "last.ckpt"
    if not last.is_file():
        raise ConfigError(f"{folder} holds no last.ckpt; the run saved nothing yet. Name a checkpoint with --ckpt_path")
    states = read_checkpoint(last).get("callbacks", {})
    for state in states.values():
        if isinstance(state, dict) and state.get("best_model_path"):
            best = folder / Path(state["best_model_path"]).name
            if best.is_file():
                score = float(state["best_model_score"])
                log.info("checkpoint: %s, best of the run (%s = %.5g)", best, state["monitor"], score)
                return best
    log.info("checkpoint: %s, the last of the run", last)
    return last
