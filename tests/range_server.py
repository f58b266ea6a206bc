"""Real servers of files, which answer requests for ranges of bytes."""

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Served:
    """A folder behind HTTP.

    Args:
        folder: The folder.
        ranges: Whether ranges are known; otherwise whole files are sent.

    Attributes:
        count: Requests so far.
        failing: So many of the next requests are answered by 503.
    """

    def __init__(self, folder: Path, ranges: bool = True) -> None:
        self.folder, self.ranges, self.port = folder, ranges, free_port()
        self.count = self.failing = 0
        routes = [Route("/", self._list), Mount("/", StaticFiles(directory=folder))]
        self._app = Starlette(routes=routes)
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._server = uvicorn.Server(
            uvicorn.Config(self._call, port=self.port, interface="asgi3", log_level="critical")
        )
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)

    def stop(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()

    async def _call(self, scope: Any, receive: Any, send: Any) -> None:
        self.count += 1
        if self.failing:
            self.failing -= 1
            await PlainTextResponse("busy", 503)(scope, receive, send)
            return
        if not self.ranges:
            scope = {**scope, "headers": [pair for pair in scope.get("headers", ()) if pair[0] != b"range"]}
        await self._app(scope, receive, send)

    async def _list(self, request: Any) -> Response:
        links = [f'<a href="/{p.name}">{p.name}</a>' for p in sorted(self.folder.iterdir())]
        return Response("\n".join(links), media_type="text/html")


@contextmanager
def served(folder: Path, ranges: bool = True) -> Iterator[Served]:
    """A server in a thread."""
    server = Served(folder, ranges)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def nginx(folder: Path, scratch: Path) -> Iterator[str]:
    """The URL of a folder behind nginx."""
    port, config = free_port(), scratch / "nginx.conf"
    places = "".join(
        f"{kind}_temp_path {scratch / kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config.write_text(
        f"daemon off; pid {scratch / 'pid'}; error_log {scratch / 'errors'}; user root; events {{}}\n"
        f"http {{ access_log off; {places} server {{ listen 127.0.0.1:{port}; root {folder}; autoindex on; }} }}\n"
    )
    process = subprocess.Popen(["nginx", "-e", str(scratch / "errors"), "-c", str(config)], stderr=subprocess.PIPE)
    try:
        for _ in range(1000):
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate()
