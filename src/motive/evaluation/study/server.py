"""Serving a study's page to raters: the standard library's HTTP server, one thread a connection, votes through `Votes`.

    GET  /                    the page
    GET  /media/<id>.mp4      a video, also in ranges
    POST /enter               {name, code}                  -> {rater, code, sheet, votes}
    POST /vote                {name, code, pair, choice}    -> {} once the vote is on disk

No cookie exists, and a vote carries its rater's code, so no other page can cast one. Requests by a name that is not the
server's own are refused (DNS rebinding), as are those that another page started.
"""

import hmac
import ipaddress
import json
import re
import sys
from collections.abc import Callable, Collection
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from motive.errors import StudyError
from motive.evaluation.study.page import page, policy
from motive.evaluation.study.sheet import code, rater_name, sheet, sheet_data
from motive.evaluation.study.study import TIE, Study
from motive.evaluation.study.votes import Votes

BODY = 10_000
"""Bytes that a request may carry."""


class RefusedError(Exception):
    """A request that gets an answer of its own: a status, and words for the rater."""

    def __init__(self, status: HTTPStatus, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


class StudyServer(ThreadingHTTPServer):
    """A server bound to `host` and `port` (0: any free one), which `serve_forever` starts.

    names: further names that it may be reached by, such as that of a proxy in front of it.
    """

    daemon_threads = True

    def __init__(self, study: Study, folder: Path, votes: Votes, host: str, port: int, names: Collection[str] = ()) -> None:
        self.study, self.votes, self.names = study, votes, {name.lower() for name in names}
        self.media = {id: folder / "media" / file for id, file in study.files.items()}
        self.page = page({"study": study.id, "question": study.question, "pairs": study.sheet_size}, served=True).encode()
        if ":" in host:
            import socket

            self.address_family = socket.AF_INET6
        super().__init__((host, port), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print what went wrong, and hang up; a browser that went away is no error."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def enter(self, name: str, given: str) -> dict[str, Any]:
        """A rater comes, or comes back."""
        rater = _rater(name)
        proof = code(self.study, rater)
        if not self.votes.enrol(rater) and not hmac.compare_digest(_bytes(given), proof.encode()):
            words = "This name is taken. If it is yours, enter your code; if not, choose another name."
            raise RefusedError(HTTPStatus.FORBIDDEN, words)
        cast = {vote.pair: vote.choice for vote in self.votes.latest(rater)}
        entries = sheet_data(self.study, rater)
        given_pairs = {entry["pair"] for entry in entries}
        return {
            "rater": rater,
            "code": proof,
            "sheet": entries,
            "votes": {pair: choice for pair, choice in cast.items() if pair in given_pairs},
        }

    def vote(self, name: str, given: str, pair: str, choice: str) -> dict[str, Any]:
        """A rater's answer to a pair of that rater's sheet."""
        rater = _rater(name)
        if not hmac.compare_digest(_bytes(given), code(self.study, rater).encode()):
            raise RefusedError(HTTPStatus.FORBIDDEN, "The code does not fit the name.")
        sides = {shown.pair.id: shown.sides for shown in sheet(self.study, rater)}
        if pair not in sides or choice not in (TIE, *sides[pair]):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "There is no such pair or choice.")
        self.votes.cast(rater, pair, choice)
        return {}


class Handler(BaseHTTPRequestHandler):
    server: StudyServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "motive", ""
    timeout = 60
    """Seconds that a connection may be silent."""

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_HEAD(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: an organiser's terminal needs no line a request."""

    def _answer(self, how: Callable[[], None]) -> None:
        try:
            self._guard()
            how()
        except RefusedError as refused:
            # What is left of a refused request is not read, so the connection cannot go on.
            self.close_connection = True
            self._send_json(refused.status, {"error": refused.words})

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

    def _get(self) -> None:
        if self.path == "/":
            headers = {"Content-Security-Policy": policy(served=True) + "; frame-ancestors 'none'"}
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page, headers)
            return
        found = re.fullmatch(r"/media/([0-9a-f]{16})\.mp4", self.path)
        file = self.server.media.get(found[1]) if found else None
        if file is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, "There is nothing here.")
        self._send_video(file)

    def _post(self) -> None:
        if self.headers.get_content_type() != "application/json":
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send JSON.")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > BODY:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Send fewer bytes, and say how many.")
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            body = None
        if self.path == "/enter":
            self._send_json(HTTPStatus.OK, self.server.enter(*_texts(body, "name", "code")))
        elif self.path == "/vote":
            self._send_json(HTTPStatus.OK, self.server.vote(*_texts(body, "name", "code", "pair", "choice")))
        else:
            raise RefusedError(HTTPStatus.NOT_FOUND, "There is nothing here.")

    def _send_json(self, status: HTTPStatus, value: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _send(self, status: HTTPStatus, kind: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        self._begin(status, kind, len(body), {"Cache-Control": "no-store"} | (headers or {}))
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_video(self, file: Path) -> None:
        with file.open("rb") as video:
            size = file.stat().st_size
            asked = self.headers.get("Range")
            span = byte_range(asked, size) if asked else None
            headers = {"Accept-Ranges": "bytes", "Cache-Control": "private, max-age=3600"}
            if span is None:
                first, last, status = 0, size - 1, HTTPStatus.OK
            else:
                first, last = span
                status = HTTPStatus.PARTIAL_CONTENT
                if first > last:
                    self._begin(
                        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "video/mp4", 0, {"Content-Range": f"bytes */{size}"}
                    )
                    return
                headers["Content-Range"] = f"bytes {first}-{last}/{size}"
            self._begin(status, "video/mp4", last - first + 1, headers)
            if self.command == "HEAD":
                return
            video.seek(first)
            left = last - first + 1
            while left and (piece := video.read(min(left, 1 << 16))):
                self.wfile.write(piece)
                left -= len(piece)

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


def _texts(body: Any, *keys: str) -> list[str]:
    """The body's values under `keys`, "" for those that are absent."""
    if not isinstance(body, dict) or not all(isinstance(body.get(key, ""), str) for key in keys):
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"Send an object of texts: {', '.join(keys)}.")
    return [body.get(key, "") for key in keys]


def _bytes(text: str) -> bytes:
    """JSON can spell half a surrogate pair, which has no bytes."""
    return text.encode(errors="replace")


def _rater(name: str) -> str:
    try:
        return rater_name(name)
    except StudyError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from None


def _is_address(name: str) -> bool:
    """An IP address: no other site's name can be made to stand for one."""
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
