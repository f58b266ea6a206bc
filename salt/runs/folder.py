"""Run folders: their names, and the files in them."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from salt.errors import ConfigError, DataError, unknown
from salt.files import complete_or_absent
from salt.runs.lineage import NAME as LINEAGE
from salt.runs.lineage import Lineage, read_lineage

LAST = Path("ckpts") / "last.ckpt"
"""The state to go on from."""

METRICS = "metrics.csv"


def config_name(number: int) -> str:
    """The config of an attempt: ``config.yaml`` of the first, ``config.1.yaml`` of the second."""
    return "config.yaml" if number == 1 else f"config.{number - 1}.yaml"


def metadata_name(number: int) -> str:
    """The circumstances of an attempt, named as its config is."""
    return config_name(number).replace("config", "metadata")


def loss_weights_name(number: int) -> str:
    """What counts how much in the loss of an attempt, named as its config is."""
    return config_name(number).replace("config", "loss_weights")


def stored_config(folder: Path) -> Path | None:
    """The config of the newest attempt that has one."""
    found = [(int(match[1] or 0), path) for path in folder.glob("config*.yaml") if (match := _CONFIG.match(path.name))]
    return max(found)[1] if found else None


_CONFIG = re.compile(r"config(?:\.(\d+))?\.yaml$")


def is_run(folder: Path) -> bool:
    """Whether a folder is one of a run."""
    return folder.is_dir() and any((folder / name).is_file() for name in (LINEAGE, "config.yaml", LAST))


def runs_in(root: Path) -> list[Path]:
    """The run folders in a folder of logs, by their names."""
    return sorted(each for each in root.iterdir() if is_run(each)) if root.is_dir() else []


def find_run(root: Path, name: str) -> Path:
    """The folder of a run.

    Args:
        root: The folder of logs.
        name: The run's id, or the path of its folder.

    Raises:
        ConfigError: There is no such run; the message offers the nearest ones.
    """
    for folder in (root / name, Path(name).expanduser()):
        if is_run(folder):
            return folder
    place = Path(name).expanduser().parent if "/" in name else root
    known = [str(place / each.name) if "/" in name else each.name for each in runs_in(place)]
    if not known:
        raise ConfigError(
            f"no run '{name}': there are no runs in {place}\n"
            "give the path of the run's folder, or the folder of all runs with --trainer.default_root_dir"
        )
    raise ConfigError(unknown("run", name, known, f"in {place}"))


def run_of(checkpoint: Path) -> Path | None:
    """The run folder that a checkpoint lies in."""
    folder = checkpoint.absolute().parent
    if folder.name == "ckpts":
        return folder.parent if is_run(folder.parent) else None
    return folder if (folder / LINEAGE).is_file() else None


def run_of_job(root: Path, job: str, command: Sequence[str]) -> Path | None:
    """The newest run on which a batch job worked with the same command before it was started once more."""
    for folder, lineage in sorted(_lineages(root), key=lambda each: _newest(each[1]), reverse=True):
        if any(attempt.job == job and attempt.command == tuple(command) for attempt in lineage.attempts):
            return folder
    return None


def _lineages(root: Path) -> Iterator[tuple[Path, Lineage]]:
    for folder in runs_in(root):
        with suppress(DataError):
            yield folder, read_lineage(folder)


def _newest(lineage: Lineage) -> str:
    return lineage.last.begun if lineage.last else ""


def hash_of(path: Path) -> str:
    """SHA-256 of a file."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def copy_with_hash(source: Path, target: Path) -> str:
    """Copies a file that may be replaced meanwhile, complete or not at all, and hashes what was copied."""
    digest = sha256()
    target.parent.mkdir(parents=True, exist_ok=True)
    with complete_or_absent(target) as beside, source.open("rb") as file, beside.open("wb") as out:
        while block := file.read(1 << 20):
            digest.update(block)
            out.write(block)
    return digest.hexdigest()
