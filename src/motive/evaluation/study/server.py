"""Serving a study's page to raters: the standard library's HTTP server, one thread a connection, votes through `Votes`.

    GET  /                    the page
    GET  /media/<id>.mp4      a video, also in ranges
    POST /enter               {name, code}                  -> {rater, code, sheet, votes}
    POST /vote                {name, code, pair, choice}    -> {} once the vote is on disk

No cookie exists, and a vote carries its rater's code, so no other page can cast one. Requests by a name that is not the
server's own are refused (DNS rebinding), as are those that another page started.
"""

import hmac
import re
from collections.abc import Collection
from http import HTTPStatus
from pathlib import Path
from typing import Any

from motive.errors import StudyError
from motive.evaluation.study.page import page, policy
from motive.evaluation.study.sheet import code, rater_name, sheet, sheet_data
from motive.evaluation.study.study import TIE, Study
from motive.evaluation.study.votes import Votes
from motive.serving import LocalServer, PageHandler, RefusedError


class StudyServer(LocalServer):
    """A server bound to `host` and `port` (0: any free one), which `serve_forever` starts.

    names: further names that it may be reached by, such as that of a proxy in front of it.
    """

    def __init__(self, study: Study, folder: Path, votes: Votes, host: str, port: int, names: Collection[str] = ()) -> None:
        self.study, self.votes, self.names = study, votes, frozenset(name.lower() for name in names)
        self.media = {id: folder / "media" / file for id, file in study.files.items()}
        self.page = page({"study": study.id, "question": study.question, "pairs": study.sheet_size}, served=True).encode()
        super().__init__(host, port, Handler)

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


class Handler(PageHandler):
    server: StudyServer

    def get(self) -> None:
        if self.path == "/":
            headers = {"Content-Security-Policy": policy(served=True) + "; frame-ancestors 'none'"}
            self.send(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page, headers)
            return
        found = re.fullmatch(r"/media/([0-9a-f]{16})\.mp4", self.path)
        file = self.server.media.get(found[1]) if found else None
        if file is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, "There is nothing here.")
        self.send_file(file, "video/mp4")

    def post(self, body: Any) -> None:
        if self.path == "/enter":
            self.send_json(HTTPStatus.OK, self.server.enter(*_texts(body, "name", "code")))
        elif self.path == "/vote":
            self.send_json(HTTPStatus.OK, self.server.vote(*_texts(body, "name", "code", "pair", "choice")))
        else:
            raise RefusedError(HTTPStatus.NOT_FOUND, "There is nothing here.")


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
