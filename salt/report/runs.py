"""What the report says of runs as such: where they come from, how they are configured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from salt.report.history import History
from salt.report.page import PageDifference, PageRun
from salt.runs.configs import differences as config_differences
from salt.runs.folder import metadata_name
from salt.runs.lineage import Attempt

BEGINNINGS = {"new": "new", "fork": "fork of", "warm_start": "warm start from"}


def predictions_of(folder: Path) -> list[Path]:
    """The prediction files of a run."""
    return sorted((folder / "ckpts").glob("*__test_*.h5"))


def describe(run: History) -> PageRun:
    """Ancestry, attempts and circumstances of a run."""
    facts = {"folder": str(run.folder)}
    parent = run.lineage.parent
    if parent is not None:
        source = f"{parent.run_id or ''} {parent.checkpoint}".strip()
        facts["begins as"] = f"{BEGINNINGS.get(run.lineage.kind, run.lineage.kind)} {source}"
        facts["SHA-256 of that"] = parent.sha256
    else:
        facts["begins as"] = BEGINNINGS["new"]
    for attempt in run.lineage.attempts:
        facts[f"attempt {attempt.number}"] = _attempt(attempt)
    facts.update(_metadata(run))
    return PageRun(run.name, facts, run.config)


def _attempt(attempt: Attempt) -> str:
    steps = f"steps {_or(attempt.from_step)} to {_or(attempt.to_step)}"
    job = f", job {attempt.job}" if attempt.job else ""
    return f"{attempt.outcome}, {steps}, {attempt.begun} to {attempt.ended or '?'} on {attempt.host}{job}"


def _or(step: int | None) -> str:
    return "?" if step is None else str(step)


def _metadata(run: History) -> Mapping[str, str]:
    """From the newest attempt that left any."""
    numbers = [attempt.number for attempt in run.lineage.attempts] or [1]
    for number in reversed(numbers):
        path = run.folder / metadata_name(number)
        if path.is_file():
            tree: dict[str, Any] = yaml.safe_load(path.read_text()) or {}
            break
    else:
        return {}
    facts: dict[str, str] = {key: str(tree[key]) for key in ("command", "seed", "parameters") if key in tree}
    facts["versions"] = ", ".join(f"{name} {version}" for name, version in (tree.get("versions") or {}).items())
    if tree.get("git"):
        facts["commit"] = f"{tree['git']['commit']}{', changed' if tree['git']['changed'] else ''}"
    devices = tree.get("devices") or {}
    gpus = f" on {', '.join(devices['gpus'])}" if devices.get("gpus") else ""
    facts["devices"] = f"{devices.get('world_size', '?')} {devices.get('accelerator', '')}{gpus}"
    for part, what in (tree.get("files") or {}).items():
        facts[f"{part} files"] = f"{what['jets']} jets of {', '.join(f['path'] for f in what['files'])}"
    return facts


def differences(runs: Sequence[History]) -> list[PageDifference]:
    """The values in which the configs of further runs differ from that of the first."""
    trees = [yaml.safe_load(run.config) or {} for run in runs]
    return [
        PageDifference(each.key, each.old, run.name, each.new)
        for run, tree in list(zip(runs, trees, strict=True))[1:]
        for each in config_differences(trees[0], tree)
    ]
