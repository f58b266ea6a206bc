"""``main norm``: normalisation and class weights for files that come without."""

import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from salt.cli.arguments import Arguments, merge_layers
from salt.cli.merge import SPEC_KEYS, Tree, finish
from salt.commands.words import Words
from salt.data.formats import open_reader
from salt.data.measured import Measured, measure_all, measure_declared
from salt.data.norms import dump_class_weights, dump_norms
from salt.data.paths import resolve
from salt.data.remote import Place
from salt.data.source import Source
from salt.errors import ConfigError, DataError, unknown
from salt.files import complete_or_absent
from salt.inputs import STANDARD_CLASSES, Input, Target, check_inputs

DESCRIPTION = """\
Measures mean and standard deviation of each variable, over real constituents only, and weights that give each class
the same total, and writes norm_dict.yaml and class_dict.yaml for data.norm_dict and data.class_dict.

  main norm train.h5 --out prep
  main norm 'train_*.h5' --config gnn.yaml --config my_files.yaml --out prep

With --config these are the inputs of the config, after its selections, and the labels of its classifications.
Without, they are all numbers that may be inputs (no truth, no flags), and all labels whose classes are known.
"""

FILES = ("norm_dict.yaml", "class_dict.yaml")
KEY = "main norm"
WIDE = 10_000
"""Columns where nobody looks: what is read by programs is not cut."""


def run(argv: list[str]) -> int:
    """Runs ``main norm`` with the words that follow it.

    Args:
        argv: For example ``["train.h5", "--out", "prep"]``.

    Returns:
        The exit code, 0.

    Raises:
        SaltError: A mistake of the user's.
        SystemExit: Help was asked for.
    """
    words = _parser().parse_args(argv)
    out: Path = words.out.expanduser()
    paths = tuple(path for option in words.files for path in resolve(option, KEY))
    if twice := sorted({str(path) for path in paths if paths.count(path) > 1}):
        raise ConfigError(f"{KEY}: {twice[0]} is named twice, and its jets would count twice")
    there = [out / name for name in FILES if (out / name).exists()]
    if there and not words.overwrite:
        raise ConfigError(f"{there[0]} is there already; give another --out, or --overwrite to replace it")
    found = _declared(words.config, paths) if words.config else measure_all([open_reader(p, {}) for p in paths])
    written = _write(found, out)
    _print(found, written, len(paths))
    return 0


def _parser() -> Words:
    parser = Words(KEY, description=DESCRIPTION, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="a file, a wildcard in quotes, or sample:train; all count together"
    )
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        help="YAML files or packaged configs of inputs and tasks, as for main fit; may be given several times",
    )
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the two files (default: this one)")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    return parser


def _declared(configs: Sequence[str], paths: Sequence[Place]) -> Measured:
    tree = finish(merge_layers(Arguments(configs=tuple(configs)), {}).tree)
    data = tree.get("data") or {}
    inputs = {str(name): _input(str(name), spec) for name, spec in (data.get("inputs") or {}).items()}
    check_inputs(inputs)
    targets = [_target(name, spec) for name, spec in _classifications(tree)]
    for target in targets:
        if target.input not in inputs:
            raise ConfigError("a task is about an " + unknown("input", target.input, inputs, "in data.inputs"))
    readers = [open_reader(path, {}, data.get("reader")) for path in paths]
    return measure_declared(Source(KEY, readers, inputs, tuple(dict.fromkeys(targets))))


def _input(name: str, spec: Any) -> Input:
    known = [f.name for f in fields(Input)]
    for key in spec if isinstance(spec, Mapping) else ():
        if key not in known:
            raise ConfigError(unknown("option", key, known, f"in data.inputs.{name}"))
    variables = spec.get("variables") if isinstance(spec, Mapping) else None
    if not isinstance(variables, list) or not all(isinstance(v, str) for v in variables):
        raise ConfigError(f"data.inputs.{name}.variables must be a list of names")
    return Input(**spec)


def _classifications(tree: Tree) -> list[tuple[str, Mapping[str, Any]]]:
    """Name and arguments of each task that classifies."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    for name, spec in ((tree.get("model") or {}).get("tasks") or {}).items():
        if isinstance(spec, Mapping) and str(spec.get("class_path", "")).split(".")[-1] == "Classification":
            loose = {key: value for key, value in spec.items() if key not in SPEC_KEYS}
            found.append((str(name), {**loose, **(spec.get("init_args") or {})}))
    return found


def _target(name: str, arguments: Mapping[str, Any]) -> Target:
    """The target of a classification; what else may be wrong with it is said by ``main fit``."""
    for key in ("input", "label"):
        if not isinstance(arguments.get(key), str):
            raise ConfigError(f"model.tasks.{name}.init_args.{key} is not given")
    label, codes = arguments["label"], arguments.get("label_map")
    ignored = tuple(arguments.get("ignore_classes") or ())
    meaning = sorted(codes.items()) if codes else STANDARD_CLASSES.get(label, ())
    classes = arguments.get("classes") or dict.fromkeys(c for _, c in meaning if c not in ignored)
    if not classes:
        raise ConfigError(f"task '{name}': name the classes of '{label}', in the order of the outputs, in classes")
    return Target(arguments["input"], label, "class", tuple(classes), tuple(meaning) if codes else None, ignored)


def _write(found: Measured, out: Path) -> list[Path]:
    """Writes all files, or none."""
    norms, weights = (out / name for name in FILES)
    paths = [norms, weights] if found.classes else [norms]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            hidden = [stack.enter_context(complete_or_absent(path)) for path in paths]
            dump_norms(found.scales, hidden[0])
            if found.classes:
                dump_class_weights(
                    {name: {label: c.weights for label, c in table.items()} for name, table in found.classes.items()},
                    hidden[1],
                )
        if not found.classes:
            weights.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"cannot write into {out}: {error.strerror or error}; choose another --out") from None
    return paths


def _print(found: Measured, written: Sequence[Path], files: int) -> None:
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDE, highlight=False, markup=False)
    table = _table("variable", "mean", "standard deviation")
    for name, scales in found.scales.items():
        for variable, scale in scales.items():
            table.add_row(f"{name}/{variable}", f"{scale.mean:.6g}", f"{scale.std:.6g}")
    console.print(table)
    if found.classes:
        table = _table("class", "count", "weight")
        for name, labels in found.classes.items():
            for label, classes in labels.items():
                for one, count, weight in zip(classes.names, classes.counts, classes.weights, strict=True):
                    table.add_row(f"{name}/{label}/{one}", str(count), f"{weight:.6g}")
        console.print()
        console.print(table)
    console.print()
    for sentence in found.left_out:
        console.print(f"left out: {sentence}")
    names = " and ".join(str(path) for path in written)
    console.print(f"{names}: measured in {found.num_jets} jets of {files} file{'s' * (files > 1)}")


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", overflow="fold")
    return table
