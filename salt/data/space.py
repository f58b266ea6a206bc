"""Whether there is room before anything large is written."""

import shutil
from pathlib import Path

from salt.errors import DataError


def check_space(folder: Path, needed: int, what: str) -> None:
    """Raises DataError with both numbers if `what` needs more bytes than are free in the folder."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"data.move_files_temp: {folder} has {free / 1e9:.3g} GB free, but {what} need {needed / 1e9:.3g} GB"
        )
