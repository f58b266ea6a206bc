"""Files behind URLs, by fsspec."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import fsspec

from salt.data.remote import ChangedError, RemoteFile, Span, UnreachableError, place_in_url, shown
from salt.errors import ConfigError, DataError, SaltError, unknown

EXTRAS = {"root": "xrootd", "s3": "s3"}
"""For schemes that need further packages the extra that installs them."""

HTTP = ("http", "https")
TAGS = ("ETag", "etag", "Last-Modified", "LastModified", "mtime", "modified", "updated")
"""Under one of these names file systems tell what changes whenever a file does."""

CONNECT_SECONDS, SILENT_SECONDS = 15.0, 60.0
CHANGED = (412, 416)
"""Answers of HTTP servers that the file is not the one that was found, or shorter."""
BUSY = (408, 425, 429, 500, 502, 503, 504)
"""Answers of HTTP servers after which it is worth to ask again."""


def find_url(url: str, key: str) -> tuple[RemoteFile, ...]:
    """The files that a URL means, by name; ``*`` and ``[...]`` in its last part are wildcards.

    Args:
        url: For example ``https://host/jets/train_*.h5``.
        key: The option, for messages.

    Raises:
        ConfigError: The scheme is unknown, or its package is not installed.
        DataError: There is no such file.
        UnreachableError: The server does not answer.
    """
    if not set("*[") & set(place_in_url(url).name):
        return (_found(url, key),)
    system, path = open_system(url, key)
    folder, _, pattern = url.rpartition("/")
    with _plainly(f"{key}: {shown(folder)}"):
        found = sorted(str(each) for each in system.glob(path))
        if not found:
            beside = system.ls(open_system(f"{folder}/", key)[1], detail=False)
            names = sorted({place_in_url(system.unstrip_protocol(str(each))).name for each in beside})
            raise DataError(f"{key}: " + unknown("file", pattern, names, f"in {shown(folder)}"))
    return tuple(_found(system.unstrip_protocol(each), key) for each in found)


def _found(url: str, key: str) -> RemoteFile:
    return RemoteFile(url, tuple(UrlRanges(url, key).identity().items()))


class UrlRanges:
    """Reads one file behind a URL; see `salt.data.remote.Ranges`.

    Args:
        url: Where the file is.
        key: What asks for it, for messages.
        known: What tells it from others, as far as it is known.
    """

    def __init__(self, url: str, key: str, known: Mapping[str, str] | None = None) -> None:
        self.url = url
        self._system, self._path = open_system(url, key)
        self._known = known or {}

    def identity(self) -> dict[str, str]:
        """Size, and the tag and time that the server tells."""
        with _plainly(shown(self.url)):
            self._system.invalidate_cache()
            info: Mapping[str, Any] = self._system.info(self._path)
        if info.get("size") is None:
            raise DataError(f"{shown(self.url)}: the server does not tell its size, so no part of it can be read")
        return {"size": str(info["size"]), **{name: str(info[name]) for name in TAGS if info.get(name) is not None}}

    def fetch(self, spans: Sequence[Span]) -> list[bytes]:
        """The bytes of each range; all are asked for at once."""
        where = shown(self.url)
        with _plainly(where):
            if urlsplit(self.url).scheme in HTTP:
                from salt.data.web import fetch_by_http

                found = fetch_by_http(self._system, self._path, where, spans, self._known)
            else:
                first, last = [start for start, _ in spans], [stop for _, stop in spans]
                found = self._system.cat_ranges([self._path] * len(spans), first, last, on_error="raise")
                if self._known and self.identity() != dict(self._known):  # Such answers do not tell of which file.
                    raise ChangedError("it was written")
        for (start, stop), data in zip(spans, found, strict=True):
            if len(data) != stop - start:
                raise UnreachableError(f"{len(data)} instead of {stop - start} bytes came")
        return found


def open_system(url: str, key: str) -> tuple[Any, str]:
    """The file system of a URL, and its name for the file."""
    scheme = urlsplit(url).scheme
    if scheme not in fsspec.available_protocols():
        raise ConfigError(
            f"{key}: " + unknown("scheme", scheme, ["http", "https", *sorted(EXTRAS)], f"of {shown(url)}")
        )
    try:
        system, path = fsspec.core.url_to_fs(url, **(_session(scheme) if scheme in HTTP else {}))
    except ImportError as error:
        package = f"'salt-tagger[{EXTRAS[scheme]}]'" if scheme in EXTRAS else f"what fsspec needs for {scheme}://"
        raise ConfigError(f"{key}: {shown(url)} needs a further package ({error}); pip install {package}") from error
    except ValueError as error:
        raise ConfigError(f"{key}: {shown(url)} is no URL of a file: {error}") from error
    return system, str(path)


def _session(scheme: str) -> dict[str, Any]:
    """Times after which a request by HTTP fails, beside what the user has set up for fsspec."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)
    return {"client_kwargs": {"timeout": timeout, **fsspec.config.conf.get(scheme, {}).get("client_kwargs", {})}}


@contextmanager
def _plainly(where: str) -> Iterator[None]:
    """Sorts errors of file systems into those that may be over soon and those that stay."""
    try:
        yield
    except FileNotFoundError as error:
        # So fsspec calls whatever happens to its first request by HTTP.
        if (cause := error.__cause__) is not None and getattr(cause, "status", None) != 404:
            raise _sorted(where, cause) from error
        raise DataError(f"{where} does not exist") from error
    except PermissionError as error:
        raise DataError(f"{where} may not be read: {_reason(error)}") from error
    except (SaltError, ChangedError, UnreachableError):
        raise
    except Exception as error:
        raise _sorted(where, error) from error


def _sorted(where: str, error: BaseException) -> Exception:
    status = getattr(error, "status", None)
    if status in CHANGED:
        return ChangedError(_reason(error))
    if status in BUSY or (status is None and (isinstance(error, OSError | asyncio.TimeoutError) or _of_aiohttp(error))):
        return UnreachableError(_reason(error))
    return DataError(f"{where} cannot be read: {_reason(error)}")


def _of_aiohttp(error: BaseException) -> bool:
    return any(kind.__module__.startswith("aiohttp") and kind.__name__ == "ClientError" for kind in type(error).mro())


def _reason(error: BaseException) -> str:
    status, message = getattr(error, "status", None), getattr(error, "message", None)
    if status is not None:
        return f"the server answers {status} {message or ''}".rstrip()
    return (str(error).splitlines() or [type(error).__name__])[0] or type(error).__name__
