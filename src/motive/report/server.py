"""Serving a run's report to the person at this machine, who may choose and export anew.

    GET  /                        the page
    GET  /data/<name>.js, /media/<name>.mp4, .jpg, .png
    POST /select                  {queries, percentile, size}         -> {size, shared, caveats, kept}
    POST /export                  {queries, percentile, size, name}   -> {}, and goes on in the background
    GET  /export                  -> {state, done, total, folder, failed, error}
    GET  /arms                    -> {arms}, as far as training is now

It listens on the loopback alone. A request that does something carries a token that the page holds, so no other site's page
can send one (see also motive.serving).
"""

import hmac
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import Any

from motive.config import Config
from motive.errors import ConfigError, MotiveError
from motive.progress import Step
from motive.report.arms import read_arms
from motive.report.choice import film_names
from motive.report.clips import rows
from motive.report.data import plain
from motive.report.page import page, policy
from motive.report.standing import Standing, read_standing
from motive.report.views import View, check_name, choose, export_view
from motive.serving import LocalServer, PageHandler, RefusedError

SHOWN = 60
"""Clips of a choice that the page shows."""

KINDS = {"js": "text/javascript; charset=utf-8", "mp4": "video/mp4", "jpg": "image/jpeg", "png": "image/png"}


@dataclass
class Export:
    """An export under way, or done; the progress that is given to it writes here."""

    state: str = "idle"
    done: int = 0
    total: int = 0
    folder: str = ""
    failed: list[str] = field(default_factory=list)
    error: str = ""

    @contextmanager
    def steps(self, label: str, total: int) -> Iterator[Step]:
        def step() -> None:
            self.done += 1

        self.done, self.total = 0, total
        yield step

    def say(self, line: str) -> None:
        pass


class ReportServer(LocalServer):
    """Serves the report that lies in report/ of the run of `config`, on 127.0.0.1 and `port` (0: any free one)."""

    def __init__(self, config: Config, port: int) -> None:
        self.config, self.folder = config, config.out / "report"
        self.token = secrets.token_urlsafe(24)
        self.page = page(self.token).encode()
        self.standing: Standing = read_standing(config)
        self.films = film_names(self.standing)
        self.exported = Export()
        self._exporting = threading.Lock()
        super().__init__("127.0.0.1", port, Handler)

    def choice(self, view: View) -> dict[str, Any]:
        """What the page shows of a choice."""
        found = choose(self.standing.scores, view)
        kept = found.selection.kept
        shared = int((self.standing.fate[kept] == 1).sum())
        shown = [
            [*row, float(found.selection.mean[n]), int(found.selection.votes[n])]
            for row, n in zip(rows(self.standing, kept[:SHOWN], self.films), kept, strict=False)
        ]
        return {"size": len(kept), "shared": shared, "caveats": found.caveats, "kept": shown}

    def export(self, name: str, view: View) -> None:
        """Begin an export, unless one is under way. Raises ConfigError at once for what cannot be exported."""
        check_name(name)
        choose(self.standing.scores, view)
        if not self._exporting.acquire(blocking=False):
            raise RefusedError(HTTPStatus.CONFLICT, "Another export is under way.")
        self.exported = Export("running", folder=str(self.config.out / "views" / name))
        threading.Thread(target=self._export, args=(name, view), daemon=True).start()

    def _export(self, name: str, view: View) -> None:
        told = self.exported
        try:
            told.failed = export_view(self.config, self.standing.scores, name, view, told)
            told.state = "done"
        except (MotiveError, OSError) as error:
            told.error, told.state = str(error), "failed"
        except Exception as error:
            told.error, told.state = f"{type(error).__name__}: {error}", "failed"
            raise
        finally:
            self._exporting.release()


class Handler(PageHandler):
    server: ReportServer
    body = 1_000_000

    def get(self) -> None:
        path = self.path.partition("?")[0]
        if path in ("/", "/index.html"):
            headers = {"Content-Security-Policy": policy(served=True) + "; frame-ancestors 'none'"}
            self.send(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page, headers)
        elif path == "/export":
            self.send_json(HTTPStatus.OK, asdict(self.server.exported))
        elif path == "/arms":
            self.send_json(HTTPStatus.OK, {"arms": plain(read_arms(self.server.config).value["arms"])})
        elif found := re.fullmatch(r"/(data/[a-z]+(?:-\d+)?\.(js)|media/[0-9a-f]{16}\.(mp4|jpg|png))", path):
            file = self.server.folder / found[1]
            if not file.is_file():
                raise RefusedError(HTTPStatus.NOT_FOUND, "There is nothing here.")
            # Media are named by what they hold; data change under their names.
            self.send_file(file, KINDS[found[2] or found[3]], "no-store" if found[2] else "private, max-age=3600")
        else:
            raise RefusedError(HTTPStatus.NOT_FOUND, "There is nothing here.")

    def post(self, body: Any) -> None:
        if not hmac.compare_digest(self.headers.get("X-Motive-Token", "").encode(), self.server.token.encode()):
            raise RefusedError(HTTPStatus.FORBIDDEN, "Open the page that this server gives, and try again there.")
        try:
            if self.path == "/select":
                self.send_json(HTTPStatus.OK, self.server.choice(_view(body)))
            elif self.path == "/export":
                self.server.export(_name(body), _view(body))
                self.send_json(HTTPStatus.ACCEPTED, {})
            else:
                raise RefusedError(HTTPStatus.NOT_FOUND, "There is nothing here.")
        except ConfigError as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from None


def _view(body: Any) -> View:
    match body:
        case {"queries": list(queries), "percentile": int() | float() as percentile, "size": int(size)} if all(
            isinstance(query, str) for query in queries
        ):
            return View(tuple(queries), float(percentile), size)
    raise RefusedError(HTTPStatus.BAD_REQUEST, "Send queries, a percentile and a number of clips.")


def _name(body: Any) -> str:
    match body:
        case {"name": str(name)}:
            return name
    raise RefusedError(HTTPStatus.BAD_REQUEST, "Send a name.")
