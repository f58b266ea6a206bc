"""What the server answers."""

import hmac
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from salt.data.remote import Span
from salt.data.served import MOST_BYTES, MOST_SPANS, PROTOCOL
from salt.serve.files import OpenFile, WrittenError


class Jets:
    """Answers requests for files by part and number, so that no request can name a path.

    Args:
        files: The files of each part.
        token: A secret that each request must know; None if all may ask.
    """

    def __init__(self, files: Mapping[str, Sequence[OpenFile]], token: str | None) -> None:
        self.files = files
        self._token = token

    def app(self) -> Starlette:
        """The application."""
        routes = [Route("/files", self.index), Route("/files/{part}/{number:int}", self.blocks)]
        return Starlette(routes=routes, exception_handlers={HTTPException: _refusal, OSError: _trouble})

    def index(self, request: Request) -> Response:
        """``GET /files``: the protocol, and name and identity of each file."""
        self._admit(request)
        files = {
            part: [{"name": file.path.name, "identity": file.identity} for file in of_part]
            for part, of_part in self.files.items()
        }
        return JSONResponse({"protocol": PROTOCOL, "files": files})

    def blocks(self, request: Request) -> Response:
        """``GET /files/PART/NUMBER?bytes=0-100,500-600``: these bytes, one range after the other.

        ``If-Match`` has the tag of the file that is meant.
        """
        self._admit(request)
        part, number = request.path_params["part"], request.path_params["number"]
        of_part = self.files.get(part, ())
        if not number < len(of_part):
            served = ", ".join(f"{p}/{n}" for p, found in self.files.items() for n in range(len(found)))
            raise HTTPException(404, f"there is no file {part}/{number}; served are {served}")
        file = of_part[number]
        if request.headers.get("if-match") != file.tag:
            raise HTTPException(412, f"{part}/{number} is another file now, or the request does not name it by its tag")
        spans = _spans(request.query_params.get("bytes", ""), int(file.identity["size"]))
        try:
            return Response(file.read(spans), media_type="application/octet-stream")
        except WrittenError as error:
            raise HTTPException(409, str(error)) from error

    def _admit(self, request: Request) -> None:
        given = request.headers.get("authorization", "").encode()
        if self._token is not None and not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
            raise HTTPException(401, "the token is missing or wrong; set SALT_SERVE_TOKEN as it is where it serves")


def _spans(text: str, size: int) -> list[Span]:
    if not re.fullmatch(r"\d{1,18}-\d{1,18}(,\d{1,18}-\d{1,18})*", text):
        raise HTTPException(400, "bytes must be ranges such as 0-100,500-600")
    spans = [(int(start), int(stop)) for start, _, stop in (each.partition("-") for each in text.split(","))]
    if any(not start < stop <= size for start, stop in spans):
        raise HTTPException(416, f"bytes must lie between 0 and {size}, and no range may be empty")
    if len(spans) > MOST_SPANS or sum(stop - start for start, stop in spans) > MOST_BYTES:
        raise HTTPException(413, f"at most {MOST_SPANS} ranges and {MOST_BYTES} bytes can be asked for at once")
    return spans


async def _refusal(request: Request, error: Any) -> Response:
    ours = error.detail != HTTPStatus(error.status_code).phrase
    reason = error.detail if ours else f"{request.method} {request.url.path} is not served; GET /files lists what is"
    return JSONResponse({"error": reason}, error.status_code)


async def _trouble(request: Request, error: Any) -> Response:
    return JSONResponse({"error": f"the file cannot be read: {error.strerror or error}"}, 503)
