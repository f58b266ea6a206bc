"""Files behind ``main serve``: what the server tells of them, and the client that reads them."""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from salt.data.reader import Layout
from salt.data.remote import ChangedError, RemoteFile, Span, UnreachableError
from salt.errors import ConfigError, DataError, unknown

if TYPE_CHECKING:
    import httpx

PARTS = ("train", "val", "test")
PROTOCOL = 1
"""Version of what client and server say to each other."""
TOKEN = "SALT_SERVE_TOKEN"
"""The variable of the environment with the secret that both know."""
MOST_SPANS, MOST_BYTES = 100, 2**26
"""Of a request."""
CONNECT_SECONDS, SILENT_SECONDS, KEPT_SECONDS = 10.0, 60.0, 60.0
HEADER_BYTES = 2**16

_clients: dict[tuple[int, str], "httpx.Client"] = {}
"""The connections of each process to each server; none is used by a process that was forked from it."""


def is_source(option: str) -> bool:
    """Whether an option names a server: ``unix:PATH`` or ``http://HOST:PORT``."""
    return re.fullmatch(r"unix:[^#]+|https?://[^/#?]+/?", option) is not None


def is_served(option: str) -> bool:
    """Whether an option names files of a server: ``unix:PATH#train`` or ``http://HOST:PORT#train``."""
    server, hash_sign, part = option.partition("#")
    return option.startswith("unix:") or (is_source(server) and bool(hash_sign) and part.partition("/")[0] in PARTS)


def files_of(
    source: str | None, train: str | None, val: str | None, test: str | list[str] | None
) -> tuple[dict[str, str | None], str | list[str] | None]:
    """The options of files, those of the server where they are not given.

    Args:
        source: The option ``data.source``.
        train: ``data.train_file``.
        val: ``data.val_file``.
        test: ``data.test_file``.

    Returns:
        Those of ``train`` and ``val``, and that of the files to test.

    Raises:
        ConfigError: The source is none, or has no effect.
    """
    if source is None:
        return {"train": train, "val": val}, test
    if not is_source(source):
        raise ConfigError(f"data.source is {source}; it must be unix:PATH or http://HOST:PORT, as main serve has it")
    if None not in (train, val, test):
        raise ConfigError("data.source has no effect where train_file, val_file and test_file are given; leave one out")
    train, val = (f"{source}#{part}" if given is None else given for part, given in (("train", train), ("val", val)))
    return {"train": train, "val": val}, f"{source}#test" if test is None else test


def find_served(url: str, key: str) -> tuple[RemoteFile, ...]:
    """The files of a server that an option means, in the server's order.

    Args:
        url: Such as ``unix:jets.sock#train``.
        key: The option, for messages.

    Raises:
        ConfigError: The package for it is not installed.
        DataError: The server has no such files, or gives other bytes than it tells of.
        UnreachableError: It does not answer.
    """
    server, _, which = url.partition("#")
    part = which.partition("/")[0]
    files = _index(server, key)
    if part not in files:
        there = f"{key}: {server} serves no '{part}' files, but {', '.join(f'{server}#{name}' for name in files)}"
        advice = f"serve them by --files.{part}, or name others by {key}" if part in PARTS else "name one of these"
        raise DataError(f"{there}\n{advice}")
    found = tuple(
        RemoteFile(f"{server}#{part}/{number}/{told['name']}", tuple(told["identity"].items()))
        for number, told in enumerate(files[part])
    )
    named = tuple(file for file in found if which in (part, file.url.partition("#")[2]))
    if not named:
        raise DataError(f"{key}: " + unknown("file", url, [file.url for file in found], f"of {server}"))
    for file in named:
        (head,) = ServedRanges(file).fetch([(0, min(HEADER_BYTES, file.size))])
        file.check({**dict(file.identity), "header": header_hash(head)})
    return named


def check_types(file: RemoteFile, layouts: Mapping[str, Layout]) -> None:
    """Compares what the server has told of the fields of a file with what is found in its bytes.

    Raises:
        DataError: They differ; the message names the field.
    """
    told = dict(file.identity)
    others = {name: value for name, value in told.items() if not name.startswith(("type of ", "rows of "))}
    file.check({**others, **types_of(layouts)})


def types_of(layouts: Mapping[str, Layout]) -> dict[str, str]:
    """Rows, and the type of each field, of the datasets of a file."""
    found = {}
    for dataset, layout in layouts.items():
        found[f"rows of {dataset}"] = f"{layout.num_rows}" + (f" x {layout.width}" if layout.width is not None else "")
        found |= {f"type of {dataset}/{field}": str(dtype) for field, dtype in layout.fields.items()}
    return found


def header_hash(head: bytes) -> str:
    """A hash of the beginning of a file."""
    return hashlib.sha256(head).hexdigest()[:16]


def tag_of(identity: Mapping[str, str]) -> str:
    """What a request names a file by, so that no other one is read in its place."""
    return hashlib.sha256(json.dumps(dict(identity)).encode()).hexdigest()[:32]


class ServedRanges:
    """Reads one file of a server; see `salt.data.remote.Ranges`.

    Args:
        file: The file.
    """

    def __init__(self, file: RemoteFile) -> None:
        self._server, _, which = file.url.partition("#")
        self._part, self._number, _ = which.split("/", 2)
        self._shown = str(file)
        self._tag = tag_of(dict(file.identity))

    def identity(self) -> dict[str, str]:
        """What the server tells of the file."""
        files = _index(self._server, self._shown).get(self._part, [])
        if int(self._number) >= len(files):
            raise DataError(f"{self._shown} is not served any more; {self._server} has other files than at the start")
        told = files[int(self._number)]["identity"]
        return {str(name): str(value) for name, value in told.items()}

    def fetch(self, spans: Sequence[Span]) -> list[bytes]:
        """The bytes of each range, as many ranges a request as it may have."""
        pieces = [
            (start, min(start + MOST_BYTES, stop)) for first, stop in spans for start in range(first, stop, MOST_BYTES)
        ]
        data = memoryview(b"".join(self._ask(some) for some in _requests(pieces)))
        found = []
        for start, stop in spans:
            found.append(bytes(data[: stop - start]))
            data = data[stop - start :]
        return found

    def _ask(self, spans: Sequence[Span]) -> bytes:
        text = ",".join(f"{start}-{stop}" for start, stop in spans)
        path = f"/files/{self._part}/{self._number}?bytes={text}"
        data = _get(self._server, path, self._shown, {"If-Match": self._tag}).content
        if len(data) != sum(stop - start for start, stop in spans):
            raise UnreachableError(f"{len(data)} bytes came, which are not those that were asked for")
        return data


def _requests(spans: Sequence[Span]) -> list[list[Span]]:
    """The ranges of each request."""
    found: list[list[Span]] = []
    size = 0
    for start, stop in spans:
        size += stop - start
        if not found or len(found[-1]) == MOST_SPANS or size > MOST_BYTES:
            found.append([])
            size = stop - start
        found[-1].append((start, stop))
    return found


def _index(server: str, where: str) -> dict[str, list[dict[str, Any]]]:
    """What the server has, by part."""
    told = _get(server, "/files", where, {}).json()
    if told.get("protocol") != PROTOCOL:
        raise DataError(f"{where}: {server} is of another version of Salt; use the same one on both sides")
    files: dict[str, list[dict[str, Any]]] = told["files"]
    return files


def _get(server: str, path: str, where: str, headers: Mapping[str, str]) -> "httpx.Response":
    client = _client(server, where)
    import httpx

    try:
        answer = client.get(path, headers=dict(headers))
    except httpx.TransportError as error:
        raise UnreachableError(f"{server} does not answer ({error or type(error).__name__})") from error
    if answer.status_code == 200:
        return answer
    try:
        reason = str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        reason = f"it answers {answer.status_code}; is it main serve?"
    if answer.status_code in (409, 412):
        raise ChangedError(reason)
    if answer.status_code >= 500:
        raise UnreachableError(f"{server}: {reason}")
    raise DataError(f"{where}: {server} refuses: {reason}")


def _client(server: str, where: str) -> "httpx.Client":
    key = os.getpid(), server
    if key not in _clients:
        try:
            import httpx
        except ImportError as error:
            raise ConfigError(f"{where}: {server} needs a further package; pip install 'salt-tagger[serve]'") from error
        unix = server.removeprefix("unix:") if server.startswith("unix:") else None
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=16, keepalive_expiry=KEPT_SECONDS)
        token = os.environ.get(TOKEN)
        _clients[key] = httpx.Client(
            transport=httpx.HTTPTransport(uds=unix, limits=limits),
            base_url="http://localhost" if unix else server,
            timeout=httpx.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS),
            headers={"Accept-Encoding": "identity", **({"Authorization": f"Bearer {token}"} if token else {})},
        )
    return _clients[key]
