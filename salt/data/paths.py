"""From what a config calls a file to the paths of files that exist."""

import hashlib
from importlib import resources
from pathlib import Path
from typing import Any

from salt.data.places import find_remote, read_bytes, size_of
from salt.data.remote import Place, RemoteFile, is_url
from salt.errors import ConfigError, DataError, unknown

SAMPLE = "sample:"
SAMPLE_NAMES = ("train", "val", "test")
HEADER_BYTES = 64 * 1024


def resolve(option: str | None, key: str) -> tuple[Place, ...]:
    """The files that an option means, in the order in which they are read.

    Args:
        option: A path, a wildcard such as ``train_*.h5`` (sorted by name), a URL, also with a wildcard, or
            ``sample:train`` (also ``val`` and ``test``) for the sample in the package.
        key: The option's own name, for messages.

    Raises:
        ConfigError: It is not given, or the sample has no such part, or a URL is of a kind that cannot be read.
        DataError: There is no such file; the message has the nearest names in its folder.
    """
    if option is None:
        raise ConfigError(f"{key} is not given; name the file by --{key}")
    if is_url(option):
        return find_remote(option, key)
    if option.startswith(SAMPLE):
        return (_sample(option.removeprefix(SAMPLE), key),)
    path = Path(option).expanduser()
    if path.is_file():
        return (path,)
    if path.is_dir():
        raise DataError(f"{key}: {option} is a folder; name a file in it, or several by a wildcard such as *.h5")
    if set("*?[") & set(path.name) and path.parent.is_dir():
        found = tuple(sorted(p for p in path.parent.glob(path.name) if p.is_file()))
        if found:
            return found
    if not path.parent.is_dir():
        raise DataError(f"{key}: {option} does not exist, and neither does its folder {path.parent}")
    names = sorted(p.name for p in path.parent.iterdir() if p.is_file())
    raise DataError(f"{key}: " + unknown("file", path.name, names, f"in folder {path.parent}"))


def one_file(option: str, key: str) -> Place:
    """The one file that an option means, which need not be there if it is on this machine."""
    return find_remote(option, key)[0] if is_url(option) else Path(option)


def named_place(name: str) -> Place:
    """The file of a name that `describe_file` tells, which need not be there any more."""
    return RemoteFile(name, ()) if is_url(name) else Path(name)


def found_again(place: Place, key: str) -> Place:
    """A file of such a name as it is now.

    Raises:
        DataError: It is not there.
    """
    if isinstance(place, RemoteFile):
        return find_remote(place.url, key)[0]
    if not place.is_file():
        raise DataError(f"there is no {place}")
    return place


def _sample(name: str, key: str) -> Path:
    if name not in SAMPLE_NAMES:
        raise ConfigError(f"{key}: " + unknown("sample", name, SAMPLE_NAMES, "in the package"))
    path = Path(str(resources.files("salt") / "sample" / f"{name}.h5"))
    if not path.is_file():
        raise DataError(f"{key}: the package was installed without its sample ({path.name} is missing)")
    return path


def describe_file(path: Place, form: str, rows: int) -> dict[str, Any]:
    """What tells a file from others without reading all of it: its size, and a hash of its head and size."""
    size = size_of(path)
    header = hashlib.sha256(read_bytes(path, 0, HEADER_BYTES) + str(size).encode()).hexdigest()
    return {"path": str(path.resolve()), "format": form, "size": size, "sha256_header": header, "rows": rows}
