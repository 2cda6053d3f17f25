"""What the project's local servers share: a handler on the standard library's HTTP server that answers pages, files and JSON.

No cookie exists. Requests by a name that is not the server's own are refused (DNS rebinding), as are those that another
site's page started.
"""

import ipaddress
import json
import re
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BODY = 10_000
"""Bytes that a request may carry, unless a server says otherwise."""


class RefusedError(Exception):
    """A request that gets an answer of its own: a status, and words for the person."""

    def __init__(self, status: HTTPStatus, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


class LocalServer(ThreadingHTTPServer):
    """A server bound to `host` and `port` (0: any free one), one thread a connection, which `serve_forever` starts.

    names: those that it may be reached by, in lower case, beside localhost and addresses.
    """

    daemon_threads = True
    names: frozenset[str] = frozenset()

    def __init__(self, host: str, port: int, handler: type["PageHandler"]) -> None:
        if ":" in host:
            import socket

            self.address_family = socket.AF_INET6
        super().__init__((host, port), handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print what went wrong, and hang up; a browser that went away is no error."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class PageHandler(BaseHTTPRequestHandler):
    """One request. A server's own handler says what `get` and `post` do; both may raise RefusedError."""

    server: LocalServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "motive", ""
    timeout = 60
    """Seconds that a connection may be silent."""
    body = BODY

    def get(self) -> None:
        raise RefusedError(HTTPStatus.NOT_FOUND, "There is nothing here.")

    def post(self, body: Any) -> None:
        raise RefusedError(HTTPStatus.NOT_FOUND, "There is nothing here.")

    def do_GET(self) -> None:
        self._answer(self.get)

    def do_HEAD(self) -> None:
        self._answer(self.get)

    def do_POST(self) -> None:
        self._answer(lambda: self.post(self._json()))

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a terminal needs no line a request."""

    def send(self, status: HTTPStatus, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        self._begin(status, kind, len(body), {"Cache-Control": "no-store"} | (headers or {}))
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_json(self, status: HTTPStatus, value: dict[str, Any]) -> None:
        self.send(status, "application/json", json.dumps(value).encode())

    def send_file(self, file: Path, kind: str, cache: str = "private, max-age=3600") -> None:
        """A file, or the range of it that was asked for. cache: how long it may be kept, as Cache-Control says it."""
        with file.open("rb") as content:
            size = file.stat().st_size
            asked = self.headers.get("Range")
            span = byte_range(asked, size) if asked else None
            headers = {"Accept-Ranges": "bytes", "Cache-Control": cache}
            if span is None:
                first, last, status = 0, size - 1, HTTPStatus.OK
            else:
                first, last = span
                status = HTTPStatus.PARTIAL_CONTENT
                if first > last:
                    told = {"Content-Range": f"bytes */{size}"}
                    self._begin(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, kind, 0, told)
                    return
                headers["Content-Range"] = f"bytes {first}-{last}/{size}"
            self._begin(status, kind, last - first + 1, headers)
            if self.command == "HEAD":
                return
            content.seek(first)
            left = last - first + 1
            while left and (piece := content.read(min(left, 1 << 16))):
                self.wfile.write(piece)
                left -= len(piece)

    def _answer(self, how: Callable[[], None]) -> None:
        try:
            self._guard()
            how()
        except RefusedError as refused:
            # What is left of a refused request is not read, so the connection cannot go on.
            self.close_connection = True
            self.send_json(refused.status, {"error": refused.words})

    def _guard(self) -> None:
        """Refuse requests for another host's name, and those started by another site's page."""
        host = self.headers.get("Host", "")
        name = re.sub(r":\d+$", "", host).lower()
        if name != "localhost" and name not in self.server.names and not _is_address(name):
            raise RefusedError(HTTPStatus.MISDIRECTED_REQUEST, "This server is not known by that name.")
        origin = self.headers.get("Origin")
        own = (f"http://{host}", f"https://{host}")
        if (origin is not None and origin not in own) or self.headers.get("Sec-Fetch-Site", "none") == "cross-site":
            raise RefusedError(HTTPStatus.FORBIDDEN, "Another page may not use this server.")

    def _json(self) -> Any:
        """What a request carries; None if it is no JSON."""
        if self.headers.get_content_type() != "application/json":
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send JSON.")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > self.body:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Send fewer bytes, and say how many.")
        try:
            return json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            return None

    def _begin(self, status: HTTPStatus, kind: str, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        always = {
            "Content-Type": kind,
            "Content-Length": str(length),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        for name, value in (always | headers).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()


def byte_range(asked: str, size: int) -> tuple[int, int] | None:
    """First and last byte of a Range header's one range; first beyond last if the file has no such bytes (RFC 9110, 14).

    None where the whole file is the answer: for several ranges, other units, and what is no range.
    """
    found = re.fullmatch(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", asked)
    if not found or not (found[1] or found[2]):
        return None
    if not found[1]:
        wanted = min(int(found[2]), size)
        return (size - wanted, size - 1) if wanted else (size, size - 1)
    first = int(found[1])
    if found[2] and int(found[2]) < first:
        return None
    last = min(int(found[2]), size - 1) if found[2] else size - 1
    return (first, last) if first < size else (size, size - 1)


def _is_address(name: str) -> bool:
    """An IP address: no other site's name can be made to stand for one."""
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
