"""The samples that a command scores one after the other, and those that were scored before."""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import yaml

from salt.callbacks.prediction_file import MADE_FROM
from salt.callbacks.predictions import PredictionWriter
from salt.cli.devices import from_leader
from salt.cli.run import SAMPLES_VARIABLE
from salt.data.paths import describe_file, one_file, resolve
from salt.data.places import is_there, read_text
from salt.data.samples import Sample
from salt.errors import ConfigError, DataError
from salt.files import write_text
from salt.runs.configs import differences

if TYPE_CHECKING:
    from salt.cli.lightning_cli import SaltCLI

log = logging.getLogger(__name__)

Tree = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """A sample that is scored.

    Args:
        number: Its place among all samples of the command.
        title: What is said of it where there are several; empty for the only one.
        predictions: The file that the scores go to; None where none is written.
        made_from: From what; see `origin`.
    """

    number: int
    title: str
    predictions: Path | None
    made_from: Tree

    def write_metrics(self, values: Mapping[str, float], errors: Mapping[str, float]) -> None:
        """Writes metrics with their errors beside the predictions, as JSON."""
        if self.predictions is None:
            return
        metrics = {
            name: {"value": _number(value), **({"error": _number(errors[name])} if name in errors else {})}
            for name, value in sorted(values.items())
        }
        text = json.dumps({"metrics": metrics, "made_from": self.made_from}, indent=1)
        path = metrics_of(self.predictions)
        try:
            write_text(path, f"{text}\n")
        except OSError as error:
            raise DataError(f"cannot write {path}: {error.strerror}") from None


def metrics_of(predictions: Path) -> Path:
    """The file of metrics beside a file of predictions."""
    return predictions.with_suffix(".json")


def samples_to_score(cli: "SaltCLI", arguments: Mapping[str, Any]) -> Iterator[tuple[Job, Tree]]:
    """Goes through the samples that are not scored yet, and prepares data and writer for each.

    Args:
        cli: The command.
        arguments: Those of the Trainer's method.

    Yields:
        The sample, and the arguments for it: the checkpoint is loaded once.

    Raises:
        ConfigError: A file of predictions exists that was made from something else.
    """
    assert cli.scoring is not None
    data = cli.datamodule
    samples: tuple[Sample, ...] = data.samples or (data.chosen_sample,)
    writers = [c for c in cli.trainer.callbacks if isinstance(c, PredictionWriter)]  # type: ignore[attr-defined]
    writer = None if cli.config[cli.verb]["trainer"]["fast_dev_run"] else next(iter(writers), None)
    made_from: list[Tree] = [{} for _ in samples]
    wanted = list(range(len(samples)))
    if writer is not None:
        how, paths = cli.scoring, [writer.path_of(sample) for sample in samples]

        def choose() -> str:
            settings, weights = settings_of(yaml.safe_load(cli.saved_config), cli.verb), _digest(how.ckpt_path)
            made_from[:] = [origin(how.ckpt_path, weights, sample, settings) for sample in samples]
            return json.dumps(_open_ones(paths, made_from, how.overwrite, judged=cli.verb == "test"))

        if not os.environ.get(SAMPLES_VARIABLE):
            os.environ[SAMPLES_VARIABLE] = from_leader("samples", choose)
        wanted = json.loads(os.environ[SAMPLES_VARIABLE])
    for place, number in enumerate(wanted):
        data.choose(number)
        if writer is not None:
            writer.made_from = json.dumps(made_from[number], sort_keys=True)
        title = f"{samples[number].name} ({number + 1}/{len(samples)})" if len(samples) > 1 else ""
        job = Job(number, title, writer.path_of(samples[number]) if writer else None, made_from[number])
        yield job, {**arguments, **({"ckpt_path": None} if place else {})}


def settings_of(config: Mapping[str, Any], verb: str) -> Tree:
    """The options that scores depend on. Devices are none of them: any number writes the same file."""
    data, model, trainer = config["data"], config["model"], config["trainer"]
    norms = data.get("norm_dict")
    (writer,) = [c for name, c in _callbacks(trainer) if name == "PredictionWriter"] or [{}]
    return {
        "name": config["name"],
        "weights": config.get("weights"),
        "data": {
            **{key: data.get(key) for key in ("inputs", "num_test", "batch_size", "reader")},
            "norm_dict": _norms(norms) if norms else None,
        },
        "model": {key: value for key, value in model.items() if key not in ("lrs_config", "optimizer")},
        "trainer": {"precision": trainer.get("precision"), "limit_batches": trainer.get(f"limit_{verb}_batches")},
        "PredictionWriter": {key: writer.get(key) for key in ("variables", "constituents", "half")},
    }


def _callbacks(trainer: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The callbacks by the names of their classes, with their arguments."""
    members = trainer.get("callbacks") or []
    for each in members.values() if isinstance(members, Mapping) else members:
        yield str(each["class_path"]).rpartition(".")[2], each.get("init_args") or {}


def origin(checkpoint: Path, weights: str, sample: Sample, settings: Mapping[str, Any]) -> Tree:
    """All that decides what is in a file of predictions.

    Args:
        checkpoint: The checkpoint.
        weights: A hash of its content.
        sample: The sample; of its files size and a hash of their beginning count, not where they are.
        settings: The options.
    """
    files = [describe_file(path, "", 0) for path in resolve(sample.option, "data.test_file")]
    return {
        "checkpoint": {"name": checkpoint.name, "sha256": weights},
        "test_files": [
            {"name": Path(file["path"]).name, **{k: file[k] for k in ("size", "sha256_header")}} for file in files
        ],
        "options": dict(settings),
    }


def _open_ones(paths: list[Path], made_from: list[Tree], overwrite: bool, judged: bool) -> list[int]:
    """The numbers of the samples that are to be scored.

    Raises:
        ConfigError: A file is there that was made from something else, and may not be replaced.
    """
    if overwrite:
        return list(range(len(paths)))
    wanted, done = [], []
    for number, (path, origins) in enumerate(zip(paths, made_from, strict=True)):
        if not path.exists():
            wanted.append(number)
            continue
        if (contrast := _contrast(path, origins)) is not None:
            raise ConfigError(
                f"{path} exists{contrast}\ngive --overwrite to replace it, or a suffix to the PredictionWriter"
            )
        if judged and _made_from(metrics_of(path)) != origins:
            wanted.append(number)
        else:
            done.append(path)
    for path in done:
        log.info("%s is there, from this checkpoint, file and options: nothing to do", path)
    return wanted


def _contrast(path: Path, wanted: Tree) -> str | None:
    """In what a file of predictions differs from what is wanted, in words; None where in nothing."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            found = json.loads(file.attrs[MADE_FROM])
    except (OSError, KeyError, ValueError):
        return ", and does not say what it was made from"
    for key, words in (("checkpoint", "another checkpoint of that name"), ("test_files", "another test file")):
        if found.get(key) != wanted[key]:
            return f", and was made from {words}"
    for change in differences(found.get("options") or {}, wanted["options"]):
        return f", and was made with {change.key} {change.old or 'not set'}; now it is {change.new or 'not set'}"
    return None


def _made_from(path: Path) -> Any:
    try:
        return json.loads(path.read_text())["made_from"]
    except (OSError, KeyError, ValueError, TypeError):
        return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _norms(option: str) -> str | None:
    """A hash of a normalisation; None where there is no such file."""
    place = one_file(option, "data.norm_dict")
    return hashlib.sha256(read_text(place).encode()).hexdigest() if is_there(place) else None


def _number(value: float) -> float | None:
    return value if isfinite(value) else None
