"""Files whose data lie in other files: virtual datasets, external links, and external storage of HDF5.

HDF5 reads zeros, without a word, where such another file is missing.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from salt.data.hdf5 import plain_errors
from salt.data.remote import Place, RemoteFile
from salt.errors import DataError

BLOCK = "%b"
"""In the name of a source of a virtual dataset: a number that counts up."""


def linked_files(path: Place) -> tuple[Path, ...]:
    """The other files in which the data of a file lie.

    Returns:
        Those that HDF5 would read; empty for a file that holds its own data, or is of another format.

    Raises:
        DataError: One of them is missing.
    """
    if isinstance(path, RemoteFile) or not h5py.is_hdf5(path):
        return ()  # One on another machine was refused when it was opened.
    with plain_errors(path, "is not a complete HDF5 file"), h5py.File(path, "r", locking=False) as file:
        return tuple(_linked(path, file))


def check_links(path: Place, file: Any) -> None:
    """Makes sure that the data of an open file can be read, also where they lie in others.

    Raises:
        DataError: Another file is missing, or lacks the dataset that is wanted of it, or cannot be found as the file is
            on another machine.
    """
    if isinstance(path, RemoteFile):
        for name, _ in _links(file):
            raise DataError(
                f"{path}: its data lie in other files, such as {name}, which are not looked for on other machines\n"
                "name the files that hold the data, by a wildcard or one by one"
            )
        return
    for other, datasets in _linked(path, file).items():
        with plain_errors(other, f"is needed by {path}, but is not a complete HDF5 file"):
            lacking = _lacking(other, datasets)
        if lacking:
            raise DataError(f"{path}: its data lie in '{lacking[0]}' of {other}, which is not there")


def _linked(path: Path, file: Any) -> dict[Path, list[str]]:
    """The other files, and the datasets that are wanted of each as far as they are known."""
    found: dict[Path, list[str]] = {}
    for name, dataset in sorted(set(_links(file))):
        other = _find(path, name)
        if other is None:
            raise DataError(
                f"{path}: its data lie in other files, of which {name} is missing\n"
                "put it back, or write a file that holds its own data"
            )
        found.setdefault(other, []).extend([dataset] if dataset else [])
    return found


def _lacking(other: Path, datasets: list[str]) -> list[str]:
    if not datasets:
        return []
    with h5py.File(other, "r", locking=False) as file:
        return [dataset for dataset in datasets if dataset not in file]


def _links(file: Any) -> Iterator[tuple[str, str]]:
    """Names of other files, and of the datasets in them as far as they are known, else empty."""
    links: list[tuple[str, Any]] = []
    file.visititems_links(lambda name, link: links.append((name, link)))
    for name, link in links:
        if isinstance(link, h5py.ExternalLink):
            yield link.filename, link.path
            continue
        item = file.get(name) if isinstance(link, h5py.HardLink) else None
        if isinstance(item, h5py.Dataset):
            yield from ((str(external[0]), "") for external in item.external or ())
            for source in item.virtual_sources() if item.is_virtual else ():
                if source.file_name != ".":
                    yield source.file_name, "" if BLOCK in source.file_name + source.dset_name else source.dset_name


def _find(path: Path, name: str) -> Path | None:
    """The file where HDF5 looks for it: beside the file that names it, then from the present folder."""
    prefix = os.environ.get("HDF5_VDS_PREFIX")
    folders: list[str | Path] = [*([prefix] if prefix else []), path.parent, ".", path.resolve().parent]
    absolute = Path(name).is_absolute()
    places = [Path(name)] if absolute else []
    places += [Path(folder) / (Path(name).name if absolute else name) for folder in folders]
    if BLOCK in name:
        patterns = (place.parent.glob(place.name.replace(BLOCK, "*")) for place in places)
        return next((found for pattern in patterns for found in sorted(pattern)), None)
    return next((place for place in places if place.is_file()), None)
