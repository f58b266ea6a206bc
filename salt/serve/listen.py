"""Where a server listens, and for how long."""

import errno
import ipaddress
import os
import signal
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette

from salt.data.served import KEPT_SECONDS, TOKEN
from salt.errors import ConfigError

SHORTEST_TOKEN = 16
PENDING = 128
"""Connections that may wait to be accepted."""


def check_token(bind: str, token: str | None) -> None:
    """Makes sure that other machines need a token.

    Args:
        bind: Where the server is to listen.
        token: The secret; None without.

    Raises:
        ConfigError: Other machines could read the files without one, or it is easily guessed.
    """
    if token is not None and len(token) < SHORTEST_TOKEN:
        raise ConfigError(f"{TOKEN} has {len(token)} characters; give it at least {SHORTEST_TOKEN}")
    if token is None and not bind.startswith("unix:") and not _is_loopback(_address(bind)[0]):
        raise ConfigError(
            f"--bind {bind} lets other machines read the files; set {TOKEN} to a secret of at least {SHORTEST_TOKEN}\n"
            "characters in the environment, here and where trainings run"
        )


@contextmanager
def listening(bind: str) -> Iterator[tuple[socket.socket, str]]:
    """A socket that listens.

    Args:
        bind: ``unix:PATH``, or ``HOST:PORT``.

    Yields:
        The socket, and what trainings call it in ``data.source``.

    Raises:
        ConfigError: It cannot listen there.
    """
    if bind.startswith("unix:"):
        path = Path(bind.removeprefix("unix:")).expanduser()
        with _local_socket(path) as one:
            yield one, f"unix:{path}"
        return
    host, port = _address(bind)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Of a socket that says it is of TCP, asyncio sends what is written at once.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((host, port))
        except (OSError, OverflowError) as error:
            raise ConfigError(f"--bind {bind}: {getattr(error, 'strerror', None) or error}; give another one") from None
        one.listen(PENDING)
        known = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
        yield one, f"http://{known}:{one.getsockname()[1]}"


def serve(app: Starlette, one: socket.socket) -> None:
    """Answers requests until a signal ends it, when those that have begun are answered."""
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="off", timeout_keep_alive=int(2 * KEPT_SECONDS)
    )
    before = signal.signal(signal.SIGTERM, _end)
    try:
        uvicorn.Server(config).run(sockets=[one])
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(number: int, frame: Any) -> None:
    """Ends as a signal would end it, but by an exception, so that the socket is removed."""
    sys.exit(128 + number)


def _address(bind: str) -> tuple[str, int]:
    host, colon, port = bind.rpartition(":")
    if not colon or not host or not port.isdigit():
        raise ConfigError(f"--bind {bind}: give unix:PATH, or HOST:PORT such as 127.0.0.1:8088")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _is_loopback(host: str) -> bool:
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except OSError as error:
        raise ConfigError(f"--bind {host}: {error.strerror or error}") from None
    return all(ipaddress.ip_address(each.partition("%")[0]).is_loopback for each in found)


@contextmanager
def _local_socket(path: Path) -> Iterator[socket.socket]:
    """A socket that the user alone may use, in place of one at which nobody listens any more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        mask = os.umask(0o177)
        try:
            _remove_stale(path)
            one.bind(str(path))
        except OSError as error:
            problem = "a server listens there" if error.errno == errno.EADDRINUSE else error.strerror or error
            raise ConfigError(f"--bind unix:{path}: {problem}; give another one") from None
        finally:
            os.umask(mask)
        mine = path.stat().st_ino
        try:
            one.listen(PENDING)
            yield one
        finally:
            with suppress(OSError):
                if path.stat().st_ino == mine:
                    path.unlink()


def _remove_stale(path: Path) -> None:
    if not path.exists() or not stat.S_ISSOCK(path.stat().st_mode):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        if other.connect_ex(str(path)) == errno.ECONNREFUSED:
            path.unlink()
