"""Training data on fast storage, shared by all trainings of a user on one node, for as long as they last."""

import dataclasses
import hashlib
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from salt import inputs
from salt.data.build import build_store
from salt.data.copying import copy_files, copy_name
from salt.data.lease import Lease
from salt.data.links import linked_files
from salt.data.paths import describe_file
from salt.data.places import changes_of, size_of
from salt.data.remote import Place
from salt.data.signals import unwinding
from salt.data.source import Source
from salt.data.space import FULL, StorageError, check_space, in_words
from salt.data.staged import check_contents, discard_leftovers, staged_name, write_contents
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
        self._leases: list[Lease] = []

    def copy(self, parts: Mapping[str, Sequence[Place]]) -> dict[str, tuple[Path, ...]]:
        """Copies files, those of each part to a folder of its own.

        Args:
            parts: The files of each part.

        Returns:
            The copies of each part, in the same order.

        Raises:
            StorageError: The folder cannot be written, or has too little space; nothing is left there.
            DataError: A file cannot be read, or is written meanwhile; nothing is left there.
        """
        with self._plainly():
            self._begin()
            for path in (path for paths in parts.values() for path in paths):
                _check_whole(path)
            found = {part: {path: _identity(path) for path in paths} for part, paths in parts.items()}
            leases = {
                part: self._lease({"stage": "copy", "files": list(files.values())}) for part, files in found.items()
            }
            self._announce([path for part, files in found.items() if not leases[part].is_begun() for path in files])
            for part, files in found.items():
                self._acquire(leases[part], "copy", files, partial(self._copy, list(files)))
        copies = {
            part: {path: leases[part].path / copy_name(number, path) for number, path in enumerate(files)}
            for part, files in found.items()
        }
        return {part: tuple(copies[part][path] for path in paths) for part, paths in parts.items()}

    def pack(self, source: Source, scales: str | None) -> Store:
        """Packs jets.

        Args:
            source: The jets.
            scales: The normalisation that readers undo, as text.

        Returns:
            What reads them from there.

        Raises:
            StorageError: The folder cannot be written, or has too little space; nothing is left there.
            DataError: A value cannot be used, or a file is written meanwhile; nothing is left there.
        """
        with self._plainly():
            self._begin()
            files = {path: _identity(path, linked_files(path)) for path in source.paths}
            lease = self._lease(
                {
                    "stage": "packed",
                    "code": _code_hash(source),
                    "files": list(files.values()),
                    "inputs": [(name, dataclasses.asdict(spec)) for name, spec in source.inputs.items()],
                    "targets": [dataclasses.asdict(target) for target in source.targets],
                    "jets": source.num_jets,
                    "scales": scales,
                }
            )
            self._acquire(lease, "packed", files, partial(build_store, source))
        return Store(lease.path, tuple(source.inputs), source.targets)

    def release(self) -> None:
        """Gives everything back; what no other training uses is removed."""
        while self._leases:
            self._leases[-1].release()
            self._leases.pop()

    def _begin(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        discard_leftovers(self.folder)

    def _lease(self, content: Mapping[str, Any]) -> Lease:
        key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
        self._leases.append(Lease(self.folder, staged_name(key)))
        return self._leases[-1]

    def _announce(self, paths: Sequence[Place]) -> None:
        """Says what will be copied and how much room there is, before the first byte."""
        if paths:
            needed, free = self._check_space(paths)
            numbers = len(paths), in_words(needed), self.folder, in_words(free)
            log.info("copying %d files, %s, to %s, where %s are free", *numbers)

    def _copy(self, paths: Sequence[Place], folder: Path) -> None:
        self._check_space(paths)
        copy_files(paths, folder)

    def _check_space(self, paths: Sequence[Place]) -> tuple[int, int]:
        needed = sum(size_of(path) for path in paths)
        return needed, check_space(self.folder, needed, "the training and validation files")

    def _acquire(self, lease: Lease, stage: str, files: Mapping[Place, Any], fill: Callable[[Path], None]) -> None:
        def build(folder: Path) -> None:
            fill(folder)
            for path, identity in files.items():
                if _identity(path, linked_files(path)) != identity:
                    raise DataError(f"{path} was written while it was staged; start again when it is complete")
            write_contents(folder, stage, list(files))

        lease.acquire(build)
        check_contents(lease.path)

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        """Turns errors of the system into plain words, and lets SIGTERM unwind the block as Ctrl-C does."""
        with unwinding():
            try:
                yield
            except OSError as error:
                self.release()
                problem = "has no space left" if error.errno in FULL else "cannot be used"
                raise StorageError(
                    f"data.move_files_temp: {self.folder} {problem}: {error.strerror or error}"
                ) from error
            except BaseException:
                self.release()
                raise


def _identity(path: Place, linked: Sequence[Path] = ()) -> dict[str, Any]:
    """What changes whenever a file, or one in which its data lie, does, also where its times are set back."""
    return {**describe_file(path, "", 0), "times": changes_of(path), "linked": [_identity(other) for other in linked]}


def _check_whole(path: Place) -> None:
    if linked := linked_files(path):
        rest = f" and {len(linked) - 1} more" if len(linked) > 1 else ""
        raise DataError(
            f"data.stage: the data of {path} lie in {linked[0]}{rest}, so a copy of it would be empty\n"
            "give --data.stage packed, or name the files with the data by a wildcard"
        )


def _code_hash(source: Source) -> str:
    """Of all code that decides what is packed: this package's, and that of readers from elsewhere."""
    kinds = {type(reader) for reader in source.readers}
    files = {getattr(sys.modules[kind.__module__], "__file__", None) for kind in kinds}
    files |= {str(path) for path in Path(__file__).parent.glob("*.py")} | {inputs.__file__}
    code = hashlib.sha256(repr(sorted(str(kind) for kind in kinds)).encode())
    for path in sorted(path for path in files if path):
        code.update(Path(path).read_bytes())
    return code.hexdigest()
