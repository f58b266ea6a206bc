"""Ranges of bytes over HTTP, in the sessions of fsspec, with every answer compared with what was found at first."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from fsspec.asyn import sync

from salt.data.remote import ChangedError, Span
from salt.errors import DataError

AT_ONCE = 8
"""Requests of one process that are under way together."""

VALIDATORS = ("ETag", "Last-Modified")


def fetch_by_http(system: Any, url: str, where: str, spans: Sequence[Span], known: Mapping[str, str]) -> list[bytes]:
    """The bytes of ranges of one file.

    Args:
        system: The file system of fsspec.
        url: The file.
        where: The same, for messages.
        spans: The ranges.
        known: What tells the file from others; see `RemoteFile`.

    Raises:
        ChangedError: The server answers for another file.
        DataError: It does not know ranges.
        Exception: Whatever aiohttp raises where there is no answer, or one that is an error.
    """
    found: list[bytes] = sync(system.loop, _fetch, system, url, where, spans, known)
    return found


async def _fetch(system: Any, url: str, where: str, spans: Sequence[Span], known: Mapping[str, str]) -> list[bytes]:
    session = await system.set_session()
    gate = asyncio.Semaphore(AT_ONCE)

    async def fetch(start: int, stop: int) -> bytes:
        headers = {"Accept-Encoding": "identity", "Range": f"bytes={start}-{stop - 1}"}
        options = {**system.kwargs, "headers": {**system.kwargs.get("headers", {}), **headers}}
        async with gate, session.get(system.encode_url(url), **options) as answer:
            answer.raise_for_status()
            if answer.status != 206:
                raise DataError(
                    f"{where}: the server sends the whole file where a part is asked for\n"
                    "copy the file, or serve it by a server that knows ranges of bytes"
                )
            _compare(answer.headers, start, stop, known)
            data: bytes = await answer.read()
            return data

    return list(await asyncio.gather(*(fetch(start, stop) for start, stop in spans)))


def _compare(headers: Mapping[str, str], start: int, stop: int, known: Mapping[str, str]) -> None:
    told, _, size = headers.get("Content-Range", "").partition("/")
    if size not in ("*", known["size"]):
        raise ChangedError(f"its size is {size or 'not told'}")
    if told != f"bytes {start}-{stop - 1}":
        raise ChangedError(f"{told or 'nothing'} came for bytes {start} to {stop}")
    for name in VALIDATORS:
        if name in known and name in headers and headers[name] != known[name]:
            raise ChangedError(f"its {name} is {headers[name]}")
