"""Training data on fast storage, shared by all trainings of a user on one node, for as long as they last."""

import dataclasses
import hashlib
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from salt.data.build import build_store
from salt.data.copying import copy_files, copy_name
from salt.data.lease import Lease, discard_leftovers
from salt.data.paths import describe_file
from salt.data.signals import unwinding
from salt.data.source import Source
from salt.data.store import Store
from salt.errors import DataError

log = logging.getLogger(__name__)


class Staging:
    """What one training has on fast storage.

    Folders there are named after a hash of all that decides their content, so trainings that read the same share
    them. They are complete or absent, and the last training that ends removes them; what a killed one has left is
    removed by the next training.

    Args:
        folder: Where; made, for the user alone, if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._prefix = f"salt_{os.geteuid()}_"
        self._leases: list[Lease] = []

    def copy(self, paths: Sequence[Path]) -> tuple[Path, ...]:
        """Copies files.

        Returns:
            The copies.

        Raises:
            DataError: The folder cannot be written, or has too little space; nothing is left there.
        """
        with self._plainly():
            lease = self._lease({"stage": "copy", "files": [_identity(path) for path in paths]})
            lease.acquire(lambda folder: copy_files(paths, folder))
        log.info("%d files are copied to %s", len(paths), lease.path)
        return tuple(lease.path / copy_name(number, path) for number, path in enumerate(paths))

    def pack(self, source: Source, scales: str | None) -> Store:
        """Packs jets.

        Args:
            source: The jets.
            scales: The normalisation that readers undo, as text.

        Returns:
            What reads them from there.

        Raises:
            DataError: The folder cannot be written, has too little space, or a value cannot be used; nothing is left.
        """
        content = {
            "stage": "packed",
            "code": _code_hash(source),
            "files": [_identity(path) for path in source.paths],
            "inputs": [(name, dataclasses.asdict(spec)) for name, spec in source.inputs.items()],
            "targets": [dataclasses.asdict(target) for target in source.targets],
            "jets": source.num_jets,
            "scales": scales,
        }
        with self._plainly():
            lease = self._lease(content)
            lease.acquire(lambda folder: build_store(source, folder))
        return Store(lease.path, tuple(source.inputs), source.targets)

    def release(self) -> None:
        """Gives everything back; what no other training uses is removed."""
        while self._leases:
            self._leases.pop().release()

    def _lease(self, content: dict[str, Any]) -> Lease:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        discard_leftovers(self.folder, self._prefix)
        key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
        self._leases.append(Lease(self.folder, f"{self._prefix}{key}"))
        return self._leases[-1]

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        """Turns errors of the system into plain words, and lets SIGTERM unwind the block as Ctrl-C does."""
        with unwinding():
            try:
                yield
            except OSError as error:
                self.release()
                raise DataError(
                    f"data.move_files_temp: {self.folder} cannot be used: {error.strerror or error}"
                ) from error
            except BaseException:
                self.release()
                raise


def _identity(path: Path) -> dict[str, Any]:
    """What changes whenever a file does."""
    return {**describe_file(path, "", 0), "time": path.stat().st_mtime_ns}


def _code_hash(source: Source) -> str:
    """Of all code that decides what is packed: this package's, and that of readers from elsewhere."""
    kinds = {type(reader) for reader in source.readers}
    files = {getattr(sys.modules[kind.__module__], "__file__", None) for kind in kinds}
    files |= {str(path) for path in Path(__file__).parent.glob("*.py")}
    code = hashlib.sha256(repr(sorted(str(kind) for kind in kinds)).encode())
    for path in sorted(path for path in files if path):
        code.update(Path(path).read_bytes())
    return code.hexdigest()
