"""``main runs``: the runs in a folder of logs, where they come from, and in what they differ."""

import sys
from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table
from rich.tree import Tree

from salt.commands.sparkline import sparklines
from salt.errors import ConfigError, DataError
from salt.runs.configs import differences, read_config
from salt.runs.curves import Curve, best_epoch, read_curves
from salt.runs.family import eldest
from salt.runs.folder import METRICS, find_run, runs_in, stored_config
from salt.runs.lineage import RUNNING, Attempt, Lineage, Parent, read_lineage
from salt.runs.lock import is_alive
from salt.runs.metrics import last_values

WIDE = 10_000
"""Columns where nobody looks: what is read by programs is not cut."""

CURVE_WIDTH = 20
"""Characters of a curve."""

KINDS = {"new": "new", "fork": "fork of", "warm_start": "warm start from"}


def list_runs(logs: Path = Path("logs")) -> None:
    """Lists all runs, the newest last.

    Args:
        logs: The folder of runs.
    """
    table = _table("run", "begins as", "parent", "attempts", "state", "epoch", "step", "val/loss")
    for folder, lineage in sorted(_lineages(logs).items(), key=lambda each: _begun(each[1])):
        values = last_values(folder / METRICS)
        parent = _parent_name(lineage.parent) if lineage.parent else ""
        numbers = (str(len(lineage.attempts) or ""), state(folder, lineage), *_progress(values))
        table.add_row(folder.name, lineage.kind.replace("_", " "), parent, *numbers, _short(values.get("val/loss", "")))
    _print(table)


def show(run: str, logs: Path = Path("logs")) -> None:
    """Shows the ancestry, the attempts, the checkpoints and the last metrics of a run.

    Args:
        run: Its id, or the path of its folder.
        logs: The folder of runs.
    """
    folder = find_run(logs, run)
    lineage = read_lineage(folder)
    about = _table("run", folder.resolve().name)
    about.add_row("folder", str(folder))
    about.add_row("state", state(folder, lineage))
    about.add_row("begins as", _beginning(lineage))
    if lineage.parent:
        about.add_row("checkpoint", lineage.parent.checkpoint)
        about.add_row("sha256", lineage.parent.sha256)
    about.add_row("config", str(stored_config(folder) or "none"))
    if (best := best_epoch(folder / METRICS, _config(folder) if stored_config(folder) else {})) is not None:
        about.add_row("best", f"{best.metric} {best.value:.6g} in epoch {best.epoch}, after step {best.step}")
    about.add_row("checkpoints", ", ".join(sorted(p.name for p in (folder / "ckpts").glob("*.ckpt"))) or "none")
    attempts = _table("attempt", "begun", "ended", "outcome", "exit code", "from step", "to step", "host", "pid", "job")
    for each in lineage.attempts:
        cells = (each.number, each.begun, each.ended, _outcome(folder, lineage, each), each.exit_code)
        more = (each.from_step, each.to_step, each.host, each.pid, each.job)
        attempts.add_row(*("" if cell is None else str(cell) for cell in (*cells, *more)))
    metrics = _table("metric", "last value")
    for key, value in sorted(last_values(folder / METRICS).items()):
        metrics.add_row(key, _short(value))
    _print(about, attempts, metrics)


def tree(run: str | None = None, logs: Path = Path("logs")) -> None:
    """Draws which run began from which, with the attempts of each.

    Args:
        run: Only the family of this run; all runs if not given.
        logs: The folder of runs.
    """
    found = _lineages(logs if run is None else find_run(logs, run).absolute().parent)
    named = {folder.name: (folder, lineage) for folder, lineage in sorted(found.items(), key=lambda e: _begun(e[1]))}
    children: dict[str | None, list[str]] = {}
    for name, (_, lineage) in named.items():
        above = lineage.parent.run_id if lineage.parent else None
        children.setdefault(above if above in named else None, []).append(name)
    lineages = {name: lineage for name, (_, lineage) in named.items()}
    wanted = children.get(None, []) if run is None else [eldest(find_run(logs, run).resolve().name, lineages)]
    roots = []
    for name in wanted:
        roots.append(Tree(_label(*named[name])))
        _grow(roots[-1], name, children, named)
    _print(*roots)


def diff(one: str, other: str, output: Path | None = None, logs: Path = Path("logs")) -> None:
    """Shows in which values of their configs two runs differ, and their metrics side by side.

    Args:
        one: A run by its id or folder.
        other: Another run.
        output: Also draw the metrics that both have against their steps: FILE.png, .pdf or .svg; -o is short for it.
        logs: The folder of runs.
    """
    folders = [find_run(logs, one), find_run(logs, other)]
    names = [folder.resolve().name for folder in folders]
    configs = [_config(folder) for folder in folders]
    table = _table("config", *names)
    for each in differences(*configs):
        table.add_row(each.key, each.old or "(not set)", each.new or "(not set)")
    values = [last_values(folder / METRICS) for folder in folders]
    metrics = _table("last metric", *names)
    for key in sorted(values[0].keys() | values[1].keys()):
        metrics.add_row(key, *(_short(each.get(key, "")) for each in values))
    parts = [table if table.row_count else "the configs are the same", metrics]
    both = _curves_of_both(folders)
    if both[0]:
        parts.append(_side_by_side(names, both))
    _print(*parts)
    if output is not None:
        if not both[0]:
            raise DataError(f"there is nothing to draw: {' and '.join(names)} have no metric in common")
        from salt.commands.curves_plot import draw

        draw(output, names, both)
        sys.stdout.write(f"picture: {output}\n")


def run(argv: list[str]) -> int:
    """Runs ``main runs`` with the words that follow it.

    Args:
        argv: For example ``["diff", "gnn_20260101-120000", "gnn_20260102-120000"]``.

    Returns:
        The exit code, 0.

    Raises:
        SaltError: A mistake of the user's.
        SystemExit: Help was asked for.
    """
    words = ["--output" if word == "-o" else word for word in argv]
    verbs: dict[str, Any] = {"list": list_runs, "show": show, "tree": tree, "diff": diff}
    try:
        auto_cli(verbs, args=words, prog="main runs", exit_on_error=False)
    except ArgumentError as error:
        raise ConfigError(f"{' '.join(str(error).split())}; see main runs --help") from None
    return 0


def state(folder: Path, lineage: Lineage) -> str:
    """How a run stands: that of its last attempt."""
    last = lineage.last
    return _outcome(folder, lineage, last) if last else "unknown"


def _outcome(folder: Path, lineage: Lineage, attempt: Attempt) -> str:
    """The outcome of an attempt; one that is said to run, but holds no lock, was killed."""
    if attempt.outcome == RUNNING and (attempt is not lineage.last or not is_alive(folder)):
        return "killed"
    return attempt.outcome


def _curves_of_both(folders: Sequence[Path]) -> list[dict[str, Curve]]:
    """The metrics that all of the runs have, of each run."""
    found = [read_curves(folder / METRICS) for folder in folders]
    common = set.intersection(*(set(each) for each in found))
    return [{name: each[name] for name in sorted(common)} for each in found]


def _side_by_side(names: Sequence[str], both: Sequence[Mapping[str, Curve]]) -> Table:
    """A small curve for each run and metric; those of a metric have one scale."""
    table = _table("metric", "from", "to", *names)
    for metric in both[0]:
        curves = [each[metric] for each in both]
        every = [value for curve in curves for value in curve.values]
        if any(len(curve.steps) > 1 for curve in curves):
            ends = (f"{min(every):.4g}", f"{max(every):.4g}")
            table.add_row(metric, *ends, *sparklines(curves, CURVE_WIDTH))
    return table


def _lineages(logs: Path) -> dict[Path, Lineage]:
    folders = runs_in(logs)
    if not folders:
        raise ConfigError(f"there are no runs in {logs}; name their folder with --logs")
    return {folder: read_lineage(folder) for folder in folders}


def _begun(lineage: Lineage) -> str:
    return lineage.attempts[0].begun if lineage.attempts else ""


def _config(folder: Path) -> dict[str, object]:
    path = stored_config(folder)
    if path is None:
        raise ConfigError(f"{folder} has no config.yaml")
    return read_config(path)


def _parent_name(parent: Parent) -> str:
    return parent.run_id or parent.checkpoint


def _beginning(lineage: Lineage) -> str:
    if lineage.parent is None:
        return KINDS["new"]
    step = f", step {lineage.parent.step}" if lineage.parent.step is not None else ""
    return f"{KINDS[lineage.kind]} {_parent_name(lineage.parent)} ({Path(lineage.parent.checkpoint).name}{step})"


def _progress(values: Mapping[str, str]) -> tuple[str, str]:
    """Epochs and steps that were logged, both counted from 1."""
    epoch, step = values.get("epoch", ""), values.get("step", "")
    return (str(int(epoch) + 1) if epoch else "", str(int(step) + 1) if step else "")


def _grow(
    branch: Tree, name: str, children: Mapping[str | None, list[str]], named: Mapping[str, tuple[Path, Lineage]]
) -> None:
    for child in children.get(name, []):
        _grow(branch.add(_label(*named[child])), child, children, named)


def _label(folder: Path, lineage: Lineage) -> str:
    attempts = []
    for each in lineage.attempts:
        steps = f"{_or(each.from_step)} to {_or(each.to_step)}"
        attempts.append(f"{each.number}: {_outcome(folder, lineage, each)}, step {steps}")
    told = f"; attempt {'; '.join(attempts)}" if attempts else ""
    return f"{folder.name}: {_beginning(lineage)}{told}"


def _or(step: int | None) -> str:
    return "?" if step is None else str(step)


def _short(value: str) -> str:
    try:
        return f"{float(value):.6g}"
    except ValueError:
        return value


def _table(*headings: str) -> Table:
    table = Table(*headings, box=None, pad_edge=False, header_style="bold")
    for column in table.columns:
        column.overflow = "fold"
    return table


def _print(*parts: object) -> None:
    terminal = sys.stdout.isatty()
    console = Console(file=sys.stdout, width=None if terminal else WIDE, highlight=False, markup=False)
    for number, part in enumerate(parts):
        if number and not isinstance(part, Tree):
            console.print()
        console.print(part)
