"""The choice of a reader for a file."""

import importlib
from collections.abc import Callable

from salt.data.hdf5 import FileHandle
from salt.data.links import check_links
from salt.data.reader import Reader, Scales
from salt.data.remote import Place, RemoteFile
from salt.data.served import check_types, is_served
from salt.data.structured import StructuredReader, is_structured
from salt.data.umami import UmamiReader, is_umami
from salt.errors import ConfigError, DataError


def open_reader(path: Place, scales: Scales, class_path: str | None = None) -> Reader:
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
        kind = StructuredReader if is_structured(file) else UmamiReader if is_umami(file) else None
        if kind is not None:
            reader = kind(path, scales)
            if isinstance(path, RemoteFile) and is_served(path.url):
                check_types(path, (kind(path, {}) if scales else reader).layouts())
            return reader
        names = ", ".join(list(file)[:8]) or "nothing"
    finally:
        handle.close()
    raise DataError(
        f"{path} is of no known format: it holds {names}\n"
        "expected a compound dataset for each input, or groups with a dataset 'inputs'"
    )


def _import(class_path: str) -> Callable[[Place, Scales], Reader]:
    module, _, name = class_path.rpartition(".")
    try:
        found: Callable[[Place, Scales], Reader] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"data.reader: there is no class {class_path} ({error})") from error
    return found
