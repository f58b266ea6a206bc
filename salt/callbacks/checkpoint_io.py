"""How a checkpoint comes to disk: complete or absent, whatever ends the process."""

import fcntl
import io
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from salt.files import complete_or_absent, hidden_files

PIECE_BYTES = 2**24


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints beside their name and renames them, so that one is complete or absent."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Writes one checkpoint, and returns when it is on disk.

        Raises:
            OSError: It cannot be written; what was there before is as it was.
        """
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        # In memory first: torch hides the system's reason when the file that it writes to fails.
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with complete_or_absent(target) as beside, beside.open("wb") as file:
            with suppress(OSError):  # A file system without locks.
                fcntl.flock(file, fcntl.LOCK_EX)
            data = content.getbuffer()
            for start in range(0, len(data), PIECE_BYTES):
                file.write(data[start : start + PIECE_BYTES])
            file.flush()
            os.fsync(file.fileno())
        _sync(target.parent)


def discard_leftovers(folder: Path) -> None:
    """Removes what processes that were killed have left half-written; what one is writing is locked."""
    for path in hidden_files(folder, "*.ckpt"):
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
        except OSError:
            continue


def _sync(folder: Path) -> None:
    """Brings new names in a folder to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
