"""``python -m salt.comet RUN_FOLDER`` writes an archive of what a run has not sent, such as after the node died."""

import sys
from pathlib import Path

from salt.comet.archive import archive
from salt.comet.content import Settings
from salt.comet.record import Record, new_key, read_record
from salt.errors import SaltError
from salt.runs.folder import is_run, stored_config
from salt.runs.lineage import read_lineage


def main(words: list[str]) -> int:
    """Writes the archive of one run."""
    if len(words) != 1 or not is_run(Path(words[0])):
        sys.stderr.write("usage: python -m salt.comet RUN_FOLDER\n")
        return 2
    folder = Path(words[0])
    try:
        record = read_record(folder)
        last, config = read_lineage(folder).last, stored_config(folder)
    except SaltError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    record = record or Record(new_key())
    settings = Settings(
        str(folder),
        record.experiment_key,
        attempt=last.number if last else 1,
        config=config.name if config else "",
        workspace=record.workspace,
        project=record.project,
        name=folder.resolve().name,
        tags=record.tags,
    )
    sys.stdout.write(f"to send the experiment to Comet: comet upload {archive(settings)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
