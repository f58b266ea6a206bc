"""``comet.json`` of a run folder: which experiment the run is, and what of it has been kept."""

import json
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from salt.errors import DataError
from salt.files import write_text

NAME = "comet.json"


@dataclass(frozen=True)
class Record:
    """What all attempts at a run share.

    Args:
        experiment_key: The experiment, at Comet and in archives.
        next_step: Metrics of smaller steps are at Comet or in an archive already.
        workspace: Of Comet; None for the user's own.
        project: Of the workspace.
        tags: Of the experiment.
    """

    experiment_key: str
    next_step: int = 0
    workspace: str | None = None
    project: str | None = None
    tags: tuple[str, ...] = ()

    def kept(self, next_step: int) -> "Record":
        """The record after metrics of all steps before this one have been kept."""
        return replace(self, next_step=next_step)


def new_key() -> str:
    """A key for a new experiment."""
    return uuid.uuid4().hex


def read_record(folder: Path) -> Record | None:
    """The record of a run; None where it has none.

    Raises:
        DataError: The file is broken.
    """
    path = folder / NAME
    try:
        tree = json.loads(path.read_text())
        return Record(**{**tree, "next_step": int(tree["next_step"]), "tags": tuple(tree["tags"])})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is broken ({error}); remove it, and the run goes to a new experiment") from None


def write_record(folder: Path, record: Record) -> None:
    """Writes the record of a run."""
    write_text(folder / NAME, json.dumps(asdict(record), indent=1) + "\n")
