"""From what a training begins: nothing, its own last state, another run's state, or a checkpoint's weights."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from salt.cli.devices import from_leader
from salt.cli.run import START_VARIABLE
from salt.cli.scoring import best_checkpoint, existing_checkpoint
from salt.errors import ConfigError
from salt.runs.attempt import batch_job, started_again
from salt.runs.configs import read_config
from salt.runs.folder import LAST, find_run, is_run, run_of, run_of_job, stored_config
from salt.runs.lineage import FORK, NEW, WARM_START
from salt.runs.options import SOURCE_KEYS
from salt.saved import read_checkpoint


@dataclass(frozen=True)
class Start:
    """From what a training begins. Paths are text, so that processes can tell each other.

    Args:
        kind: How a new run begins; see `salt.runs.lineage`.
        folder: The run that is gone on with; None for a new one.
        config: The stored config that lies beneath what the command asks for.
        state: The checkpoint whose full state is restored.
        weights: The checkpoint whose weights are loaded.
        compared: The stored config of the run that the state is of.
        requeued: Whether a batch system started the command once more, and nobody asked for the run.
    """

    kind: str = NEW
    folder: str | None = None
    config: str | None = None
    state: str | None = None
    weights: str | None = None
    compared: str | None = None
    requeued: bool = False

    @property
    def source(self) -> Path | None:
        """The checkpoint that a new run begins from."""
        found = self.state or self.weights
        return Path(found) if found and self.folder is None else None


def choose_start(tree: Mapping[str, Any], ckpt_path: str | None, command: Sequence[str]) -> Start:
    """Decides from what ``main fit`` begins, in the first of several processes for all of them.

    Args:
        tree: What is asked for, before any stored config lies beneath it.
        ckpt_path: Value of ``--ckpt_path``.
        command: The words of the command.

    Raises:
        ConfigError: Unknown runs, missing checkpoints, or options that contradict each other.
    """
    if not os.environ.get(START_VARIABLE):
        os.environ[START_VARIABLE] = from_leader(
            "start", lambda: _to_text(_agreed(tree, _choose(tree, ckpt_path, command)))
        )
    known = {each.name for each in fields(Start)}
    return Start(**{k: v for k, v in json.loads(os.environ[START_VARIABLE]).items() if k in known})


def _agreed(tree: Mapping[str, Any], start: Start) -> Start:
    """The start, if the epoch that is asked for is that of what is loaded."""
    epoch = _group(_group(tree, "run"), "warm_start").get("epoch")
    if epoch is None or start.requeued:
        return start
    option = "-e, or run.warm_start.epoch, is"
    try:
        asked = int(epoch)
    except (TypeError, ValueError):
        asked = -1
    if asked < 0:
        raise ConfigError(f"{option} {epoch!r}; it is the number of epochs that are finished, such as 50")
    if start.state is None and start.weights is None:
        raise ConfigError(
            f"{option} {asked}, but a new training has no epochs behind it; name weights with -l, or leave it out"
        )
    if start.state is None:
        return start
    if start.folder is not None and start.config is not None:
        stored = _group(_group(read_config(Path(start.config)), "run"), "warm_start")
        if stored.get("epoch") == asked:  # Of the beginning of this run, which is behind it.
            return start
    finished = epochs_of(Path(start.state))
    if finished != asked:
        raise ConfigError(
            f"{option} {asked}, but {start.state} has {finished} finished epoch{'' if finished == 1 else 's'}\n"
            "a full state goes on where it stands: leave the epoch out, name another checkpoint, or load weights alone "
            "with -l"
        )
    return start


def epochs_of(checkpoint: Path) -> int:
    """The epochs that are finished in a checkpoint.

    Raises:
        ConfigError: The file does not say it.
    """
    try:
        return int(read_checkpoint(checkpoint)["loops"]["fit_loop"]["epoch_progress"]["current"]["completed"])
    except (KeyError, TypeError):
        raise ConfigError(f"{checkpoint} is no checkpoint of Salt: it does not say how far the training was") from None


def _to_text(start: Start) -> str:
    return json.dumps(asdict(start))


def _choose(tree: Mapping[str, Any], ckpt_path: str | None, command: Sequence[str]) -> Start:
    root = logs_folder(tree)
    run = _group(tree, "run")
    warm = _group(run, "warm_start")
    requeued = _requeued_run(root, command)
    if requeued is not None:
        return _restart(root, requeued, {}, requeued=True)
    run_id, fork_id, checkpoint = run.get("run_id"), run.get("fork_run_id"), warm.get("checkpoint")
    if run_id and fork_id:
        raise ConfigError(
            "run.run_id and run.fork_run_id are both given: run_id goes on in the run itself, fork_run_id begins a new "
            "run from its last state; give one of them"
        )
    if ckpt_path and (run_id or fork_id or checkpoint):
        other = "run.run_id" if run_id else "run.fork_run_id" if fork_id else "run.warm_start.checkpoint"
        raise ConfigError(f"--ckpt_path and {other} both say what to begin from; give one of them")
    if run_id:
        return _restart(root, find_run(root, str(run_id)), warm)
    if fork_id:
        folder = find_run(root, str(fork_id))
        state = _chosen(folder, warm) or _last(folder, "fork_run_id")
        config = _text(stored_config(folder))
        return Start(kind=FORK, config=config, state=str(state), compared=config)
    if ckpt_path:
        path = existing_checkpoint(str(ckpt_path))
        return Start(kind=FORK, state=str(path), compared=_config_of(path))
    if checkpoint:
        full = not warm.get("weights_only", True)
        path = _any_checkpoint(root, str(checkpoint), full)
        if full:
            return Start(kind=WARM_START, state=str(path), compared=_config_of(path))
        return Start(kind=WARM_START, weights=str(path))
    for key in ("include", "exclude"):
        if warm.get(key) not in (None, [], ["*"]):
            raise ConfigError(
                f"run.warm_start.{key} says what to load, but not from where; give --run.warm_start.checkpoint"
            )
    return Start()


def _restart(root: Path, folder: Path, warm: Mapping[str, Any], requeued: bool = False) -> Start:
    config = stored_config(folder)
    stored = _group(_group(read_config(config), "run"), "warm_start") if config else {}
    begun_with = stored.get("checkpoint")
    chosen = _chosen(folder, warm) if warm.get("checkpoint") != begun_with else None
    if chosen is None and (folder / LAST).is_file():
        chosen = folder / LAST
    weights = None
    if chosen is None and (others := sorted(path.name for path in (folder / "ckpts").glob("*.ckpt"))):
        raise ConfigError(
            f"run {folder.name} has lost its {LAST}\nto go on from another of its checkpoints: --run.warm_start "
            f"{others[-1]} --run.warm_start.weights_only false"
        )
    if chosen is None and begun_with:
        if not stored.get("weights_only", True):
            raise ConfigError(f"{folder} has lost its ckpts/last.ckpt, with which it began; begin a new run")
        weights = _any_checkpoint(root, str(begun_with), full=False)
    return Start(
        folder=str(folder),
        config=_text(config),
        state=_text(chosen),
        weights=_text(weights),
        compared=_text(config),
        requeued=requeued,
    )


def _requeued_run(root: Path, command: Sequence[str]) -> Path | None:
    """The run of this batch job, if the batch system started it once more."""
    job = batch_job(os.environ)
    if job is None or not started_again(os.environ):
        return None
    return run_of_job(root, job, command)


def _chosen(folder: Path, warm: Mapping[str, Any]) -> Path | None:
    """The checkpoint of a run that is named to go on from instead of the last."""
    name = warm.get("checkpoint")
    if not name:
        return None
    if warm.get("weights_only", True):
        raise ConfigError(
            "an id goes on with the full state of a run: to choose another of its checkpoints than the last, give "
            "--run.warm_start.weights_only false too\nto begin a new run with its weights alone, leave the id out"
        )
    path = Path(str(name)).expanduser()
    own = folder / "ckpts" / path.name
    if path.is_file() and own.is_file() and path.samefile(own):
        return own
    return existing_checkpoint(str(folder / "ckpts" / str(name)))


def _last(folder: Path, option: str) -> Path:
    if (folder / LAST).is_file():
        return folder / LAST
    raise ConfigError(
        f"run.{option}: run {folder.name} has no {LAST}; it has saved nothing yet\n"
        f"begin anew with --config {stored_config(folder) or folder / 'config.yaml'}"
    )


def _any_checkpoint(root: Path, name: str, full: bool) -> Path:
    """A checkpoint named by its path, by its run, or as ``RUN/NAME``."""
    path = Path(name).expanduser()
    if path.is_file():
        return path
    run_name, slash, file = name.rpartition("/")
    if slash and (root / name).is_file():
        return root / name
    if slash and is_run(root / run_name):
        return existing_checkpoint(str(root / run_name / "ckpts" / file))
    if name.endswith(".ckpt"):
        return existing_checkpoint(name)
    folder = find_run(root, name)
    last = _last(folder, "warm_start.checkpoint")
    return last if full else best_checkpoint("fit", folder)


def _config_of(checkpoint: Path) -> str | None:
    folder = run_of(checkpoint)
    return _text(stored_config(folder)) if folder else None


def without_source(tree: Mapping[str, Any], start: Start) -> dict[str, Any]:
    """The merged config without what names the beginning of another run than the one that it is of.

    Ids never stay in a config: who repeats it begins a run of its own. What a warm start loads stays, since it belongs
    to the run, as long as this run begins with it or began with it.
    """
    run = dict(_group(tree, "run"))
    run.pop("run_id", None)
    run.pop("fork_run_id", None)
    warm = dict(_group(run, "warm_start"))
    if start.kind == FORK or start.folder is not None:
        stored: Mapping[str, Any] = {}
        if start.folder is not None and start.config is not None:
            stored = _group(_group(read_config(Path(start.config)), "run"), "warm_start")
        warm = {k: v for k, v in warm.items() if k not in SOURCE_KEYS}
        warm |= {k: v for k, v in stored.items() if k in SOURCE_KEYS}
    if warm:
        run["warm_start"] = warm
    return {**{k: v for k, v in tree.items() if k != "run"}, **({"run": run} if run else {})}


def config_of_run(tree: Mapping[str, Any]) -> Path | None:
    """The stored config of the run that ``run.run_id`` names to a verb that scores."""
    run = _group(tree, "run")
    run_id = run.get("run_id")
    if run.get("fork_run_id"):
        raise ConfigError("run.fork_run_id begins a training, so it is for main fit; run.run_id names a run to score")
    return stored_config(find_run(logs_folder(tree), str(run_id))) if run_id else None


def logs_folder(tree: Mapping[str, Any]) -> Path:
    """The folder of all runs."""
    return Path(str(_group(tree, "trainer").get("default_root_dir") or "logs")).expanduser()


def _group(tree: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    node = tree.get(key)
    return node if isinstance(node, Mapping) else {}


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
