"""``main export``: a trained model as an ONNX file for reconstruction software."""

import argparse
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from salt.errors import ConfigError, DataError, SaltError

if TYPE_CHECKING:
    from salt.batch import JetBatch
    from salt.commands.saved_model import SavedModel

log = logging.getLogger(__name__)

MISSING = 'main export needs ONNX and ONNX Runtime\ninstall them with: pip install "salt-tagger[export]"'

REAL_JETS = 2000
"""So many jets of a file give their constituents to those that are compared."""

HELP = """\
Writes the model of a run as an ONNX file that takes one jet a call: jet_features [1, F] and track_features [n, F], n
from 0 up, not normalised. It comes out what main test writes: a scalar NAME_pb for each class of the jets and each
regression, and for each track an integer, NAME_TrackOrigin (int8) and NAME_VertexIndex (int64).

The file is only written if ONNX Runtime and PyTorch agree on jets of 0 to 200 constituents. main export --inspect FILE
shows what a file takes, returns and contains.
"""


def run(argv: Sequence[str]) -> int:
    """Runs ``main export`` with the arguments that follow its name.

    Args:
        argv: For example ``["gnn_20260101-120000", "-o", "gnn.onnx"]``.

    Returns:
        The exit code, 0.

    Raises:
        SaltError: A mistake of the user's, or a model that ONNX Runtime computes otherwise than PyTorch.
        SystemExit: Help was asked for.
    """
    parser = _parser()
    try:
        found, rest = parser.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise ConfigError(f"{error}; see main export --help") from None
    if rest:
        raise ConfigError(f"main export does not know '{rest[0]}'; see main export --help")
    _check_installed()
    if found.inspect is not None:
        if found.run is not None or found.output is not None:
            raise ConfigError("main export --inspect FILE reads a file and takes no run and no -o")
        from salt.commands.export_inspect import inspect

        inspect(found.inspect)
        return 0
    if found.run is None:
        raise ConfigError("main export: which run? main export RUN -o tagger.onnx")
    if found.output is None:
        raise ConfigError("main export: where to? main export RUN -o tagger.onnx")
    _export(found)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "main export",
        "main export RUN -o FILE [options], or main export --inspect FILE",
        HELP,
        exit_on_error=False,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("run", metavar="RUN", nargs="?", help="id of the run, or the path of its folder or of a checkpoint in it")
    add("-o", "--output", metavar="FILE", type=Path, help="the ONNX file to write")
    add("--inspect", metavar="FILE", type=Path, help="show inputs, outputs and metadata of an ONNX file")
    add("--batched", action="store_true", help="many jets a call: track_features [T, F] and track_offsets [B + 1]")
    add("--ckpt_path", metavar="FILE", help="the checkpoint; the best one of the run if not given")
    add("--weights", choices=("average", "trained"), help="which weights of a checkpoint with averages (EMA)")
    add("--name", help="what the names of outputs begin with; the name of the model if not given")
    add("--tasks", metavar="A,B", help="the tasks to export; all if not given")
    add("--rename", metavar="OLD=NEW", action="append", help="another name for pb, track_features, tracks.d0 ...")
    add("--combine", metavar="NEW=A+B", action="append", help="one output for the sum of others: pb=pb+pbb")
    add("--jets", metavar="FILE", help="real jets to compare with; the test or validation file of the run if not given")
    add("--overwrite", action="store_true", help="replace a file that is there")
    add("--logs", metavar="DIR", type=Path, default=Path("logs"), help="the folder of all runs; logs if not given")
    return parser


def _check_installed() -> None:
    from importlib.util import find_spec

    if any(find_spec(name) is None for name in ("onnx", "onnxruntime", "onnxscript")):
        raise SaltError(MISSING)


def _export(found: argparse.Namespace) -> None:
    output: Path = found.output.expanduser()
    if output.is_dir():
        raise ConfigError(f"{output} is a folder; name a file")
    if output.exists() and not found.overwrite:
        raise ConfigError(f"{output} exists; give --overwrite to replace it, or another name")
    if not output.parent.is_dir():
        raise ConfigError(f"there is no folder {output.parent}")
    if not os.access(output.parent, os.W_OK):
        raise DataError(f"cannot write into {output.parent}")
    rename, combine = _pairs("--rename", found.rename), _pairs("--combine", found.combine)
    from salt.cli.lean import import_lightning
    from salt.cli.run import SDK_SETTINGS, quieten

    os.environ.update({key: value for key, value in SDK_SETTINGS.items() if key not in os.environ})
    import_lightning()
    quieten()
    from salt.commands.saved_model import load_model
    from salt.export.export import export_model
    from salt.export.metadata import Origin
    from salt.export.plan import Wishes, make_plan
    from salt.runs.folder import hash_of

    saved = load_model(found.run, found.logs, found.ckpt_path, found.weights)
    wishes = Wishes(
        tuple(found.tasks.split(",")) if found.tasks else (),
        rename,
        {name: tuple(parts.split("+")) for name, parts in combine.items()},
    )
    model = saved.tagger.model
    plan = make_plan(found.name or saved.tagger.name, found.batched, saved.inputs, model.named_tasks, wishes)
    path = str(saved.checkpoint.absolute())
    origin = Origin(path, hash_of(saved.checkpoint), saved.step, saved.weights, saved.averaged, saved.run.name)
    parity = export_model(model, plan, origin, _real_jets(saved, found.jets), output)
    words = [f"probabilities differ by at most {parity.probability:.1e}"]
    if any(each.dtype == "float32" and not each.probability for each in plan.outputs):
        words.append(f"other numbers by {parity.relative:.1e} of their size")
    if parity.integers:
        words.append(f"{parity.integers - parity.near} of {parity.integers} integers are the same")
    log.info("compared with PyTorch on %d jets: %s", parity.jets, ", ".join(words))
    log.info("model: %s", output)


def _pairs(option: str, words: Sequence[str] | None) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for word in words or ():
        name, sign, value = word.partition("=")
        if not (name and sign and value):
            raise ConfigError(
                f"{option} {word}: written {option} " + ("OLD=NEW" if option == "--rename" else "NEW=A+B")
            )
        if name in found:
            raise ConfigError(f"{option} names {name} twice")
        found[name] = value
    return found


def _real_jets(saved: "SavedModel", asked: str | None) -> "JetBatch | None":
    """The first jets of a file: the one that was asked for, else one of the run that is there."""
    import numpy as np

    from salt.data.datamodule import JetDataModule
    from salt.data.group import read_group

    data: Mapping[str, Any] = saved.config["data"]
    named = [asked] if asked else [data[key] for key in ("test_file", "val_file") if data.get(key)]
    if not asked and data.get("source"):
        named += [f"{data['source']}#test", f"{data['source']}#val"]
    files = [file for files in named for file in (files if isinstance(files, list) else [files])]
    for file in files:
        try:
            module = JetDataModule(
                dict(saved.inputs), test_file=str(file), norm_dict=data.get("norm_dict"), reader=data.get("reader")
            )
            module.bind((), 0)
            module.setup("predict")
            source = module.files("predict")
            (batch,) = read_group(source, [np.arange(min(REAL_JETS, source.num_jets))]).batches()
            module.teardown("predict")
        except (DataError, ConfigError) as error:
            if asked:
                raise
            log.info("not compared with jets of %s: %s", file, str(error).splitlines()[0])
        else:
            log.info("compared with jets of %s", file)
            return batch
    log.warning("no file of the run is there, so made-up jets alone are compared; name one with --jets")
    return None
