"""The choice of a reader for a file."""

import importlib
from collections.abc import Callable
from pathlib import Path

from salt.data.hdf5 import FileHandle
from salt.data.links import check_links
from salt.data.reader import Reader, Scales
from salt.data.structured import StructuredReader, is_structured
from salt.data.umami import UmamiReader, is_umami
from salt.errors import ConfigError, DataError


def open_reader(path: Path, scales: Scales, class_path: str | None = None) -> Reader:
    """The reader that fits a file.

    Args:
        path: The file.
        scales: The normalisation that the user gave, by dataset; empty without.
        class_path: A reader for another format, such as ``my_package.MyReader``; None recognises the format.

    Raises:
        ConfigError: There is no such class.
        DataError: The file cannot be opened, or is of no known format, or its data lie in files that are missing.
    """
    if class_path is not None:
        reader: Reader = _import(class_path)(path, scales)
        return reader
    handle = FileHandle(path)
    try:
        file = handle()
        check_links(path, file)
        if is_structured(file):
            return StructuredReader(path, scales)
        if is_umami(file):
            return UmamiReader(path, scales)
        names = ", ".join(list(file)[:8]) or "nothing"
    finally:
        handle.close()
    raise DataError(
        f"{path} is of no known format: it holds {names}\n"
        "expected a compound dataset for each input, or groups with a dataset 'inputs'"
    )


def _import(class_path: str) -> Callable[[Path, Scales], Reader]:
    module, _, name = class_path.rpartition(".")
    try:
        found: Callable[[Path, Scales], Reader] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"data.reader: there is no class {class_path} ({error})") from error
    return found
