"""Copies of training files on faster storage, which are whole or not there, and go when training ends."""

import atexit
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from salt.errors import DataError

log = logging.getLogger(__name__)


class Staging:
    """Copies files into a folder and takes them away again, at the latest when the process ends.

    Args:
        folder: Where to; made if it is not there.
        token: Part of the names of the copies, different for each run that may use the folder at the same time.
    """

    def __init__(self, folder: Path, token: str) -> None:
        self.folder = folder
        self._token = token
        self._made: list[Path] = []
        self._process = os.getpid()

    def target(self, path: Path, number: int) -> Path:
        """The name of the copy of the file with this number."""
        return self.folder / f"{self._token}_{number}_{path.name}"

    def copy(self, paths: Sequence[Path]) -> None:
        """Copies files, each under another name until it is complete.

        Raises:
            DataError: The folder cannot be written, or has too little space; no copy is left.
        """
        atexit.register(self.remove)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            needed = sum(path.stat().st_size for path in paths)
            free = shutil.disk_usage(self.folder).free
            if needed > free:
                raise DataError(
                    f"data.move_files_temp: {self.folder} has {free / 1e9:.3g} GB free, but the training and "
                    f"validation files need {needed / 1e9:.3g} GB"
                )
            for number, path in enumerate(paths):
                final = self.target(path, number)
                partial = final.with_name(final.name + ".part")
                self._made += [partial, final]
                shutil.copyfile(path, partial)
                partial.replace(final)
        except OSError as error:
            self.remove()
            raise DataError(f"data.move_files_temp: cannot copy to {self.folder}: {error.strerror or error}") from error
        except BaseException:
            self.remove()
            raise
        log.info("copied %d files to %s", len(paths), self.folder)

    def remove(self) -> None:
        """Removes the copies that this process has made."""
        if os.getpid() != self._process:
            return
        while self._made:
            self._made.pop().unlink(missing_ok=True)
        atexit.unregister(self.remove)
