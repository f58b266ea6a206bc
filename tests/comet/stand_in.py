"""A server that answers Comet's SDK as Comet does, and remembers what it was told."""

import gzip
import json
import re
import threading
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    """What the server was asked."""

    method: str
    path: str
    headers: Message
    body: bytes

    @property
    def query(self) -> dict[str, str]:
        return {k: v[0] for k, v in parse_qs(urlsplit(self.path).query).items()}

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class StandIn:
    """The server; a block of it is the time that it lives."""

    known: set[str] = field(default_factory=set)
    requests: list[Request] = field(default_factory=list)
    dead: bool = False
    refusing: bool = False
    only_key: str | None = None
    going_on: threading.Event = field(default_factory=threading.Event)

    def die(self) -> None:
        """Drops all connections and takes no new ones."""
        self.dead = True
        self.server.shutdown()
        self.server.server_close()

    def fall_silent(self) -> None:
        """Listens on, and says nothing any more."""
        self.going_on.clear()

    def refuse_metrics(self) -> None:
        """Finds a fault with all further metrics."""
        self.refusing = True

    def __enter__(self) -> "StandIn":
        stand_in = self
        self.going_on.set()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(b"")

            def do_POST(self) -> None:
                self._answer(self._body())

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") == "chunked":
                    body = b""
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                else:
                    body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

            def _answer(self, body: bytes) -> None:
                stand_in.going_on.wait()
                if stand_in.dead:
                    self.close_connection = True
                    return
                request = Request(self.command, self.path, self.headers, body)
                stand_in.requests.append(request)
                code, tree = stand_in.answer(request)
                text = json.dumps(tree).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if not self.dead:
            self.die()
        self.going_on.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/clientlib/"

    def answer(self, request: Request) -> tuple[int, dict[str, Any]]:
        path = urlsplit(request.path).path
        if self.refusing and path.endswith("experiment/metric"):
            return 403, {"msg": "no", "code": 403}
        if self.only_key is not None and request.headers["Authorization"] not in (None, self.only_key):
            return 403, {"msg": "no such key", "code": 403, "sdk_error_code": 90212}
        if path.endswith("isAlive/ver"):
            return 200, {"version": "3.50.0"}
        if re.search(r"logger/(add|get)/run$", path):
            key = request.json.get("experimentKey") or request.json["previousExperiment"]
            if path.endswith("add/run") and key in self.known and not request.json["getOrCreateEnabled"]:
                return 400, {"msg": "experiment already exists", "code": 400, "sdk_error_code": 90999}
            self.known.add(key)
            return 200, {
                "runId": "run-1",
                "experimentKey": key,
                "projectId": "project-1",
                "fullName": "me/salt",
                "focusUrl": f"{self.url}view/",
                "lastOffset": 0,
                "limits": {},
                "featureToggles": {},
                "cometWebAssetUrl": None,
            }
        beats = {"is_alive_beat_duration_millis": 10000, "gpu_monitor_interval_millis": 10000}
        return 200, {"msg": "OK", "code": 200, **beats}

    def bodies(self, end: str) -> list[Any]:
        """What was posted to all paths with this end."""
        return [r.json for r in self.requests if urlsplit(r.path).path.endswith(end)]

    def metrics(self, key: str) -> dict[tuple[str, int], tuple[float, int | None]]:
        """Value and epoch of each metric and step of an experiment."""
        return {
            (value["metricName"], value["step"]): (float(value["metricValue"]), value["epoch"])
            for body in self.bodies("experiment/metric")
            if body["experimentKey"] == key
            for value in body["values"]
        }

    def parameters(self, key: str) -> dict[str, str]:
        return {
            value["parameterName"]: value["parameterValue"]
            for body in self.bodies("experiment/parameter")
            if body["experimentKey"] == key
            for value in body["values"]
        }

    def assets(self, key: str) -> dict[str, bytes]:
        uploads = [r for r in self.requests if urlsplit(r.path).path.endswith("asset/upload")]
        return {r.query["fileName"]: r.body for r in uploads if r.query["experimentId"] == key}
