"""What the client of the model hub and the datasets library ask of a hub, answered from folders: OWNER/NAME below a root."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET(body=False)

    def do_POST(self) -> None:
        asked = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        found = re.match(r"/api/datasets/([^/]+/[^/]+)/paths-info/", self.path)
        folder = self.server.root / found[1]  # type: ignore[attr-defined, index]
        self._json([_entry(folder, folder / name) for name in asked.get("paths", []) if (folder / name).exists()])

    def do_GET(self, body: bool = True) -> None:
        server: Any = self.server
        path = unquote(self.path.partition("?")[0])
        server.asked.append((self.command, path))
        if found := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)(?:/revision/[^/]+)?", path):
            folder = server.root / found[1]
            if folder.is_dir():
                files = [{"rfilename": p.relative_to(folder).as_posix()} for p in folder.rglob("*") if p.is_file()]
                self._json({"id": found[1], "sha": COMMIT, "private": False, "gated": False, "siblings": files})
                return
        elif found := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/tree/[^/]+(?:/(.*))?", path):
            folder = server.root / found[1]
            below = folder / (found[2] or "")
            if below.is_dir():
                whole = "recursive=true" in self.path.lower()
                self._json([_entry(folder, p) for p in sorted(below.rglob("*") if whole else below.iterdir())])
                return
        elif found := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/[^/]+/(.*)", path):
            file = server.root / found[1] / found[2]
            if file.is_file():
                self._file(file, body)
                return
        self.send_response(404)
        self.send_header("X-Error-Code", "EntryNotFound" if "/resolve/" in path else "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _json(self, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _file(self, file: Path, body: bool) -> None:
        content = file.read_bytes()
        mark, whole = hashlib.sha1(content).hexdigest(), len(content)  # noqa: S324, as git names it
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        self.send_response(206 if part else 200)
        if part:
            first, last = int(part[1]), min(int(part[2] or whole - 1), whole - 1)
            self.send_header("Content-Range", f"bytes {first}-{last}/{whole}")
            content = content[first : last + 1]
        for name, value in {"ETag": f'"{mark}"', "X-Repo-Commit": COMMIT, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None: ...


def _entry(folder: Path, path: Path) -> dict[str, Any]:
    name = path.relative_to(folder).as_posix()
    if path.is_dir():
        return {"type": "directory", "oid": "d" * 40, "size": 0, "path": name}
    mark = hashlib.sha1(path.read_bytes()).hexdigest()  # noqa: S324, as git names it
    return {"type": "file", "oid": mark, "size": path.stat().st_size, "path": name}


@contextmanager
def hub(root: Path) -> Iterator[Any]:
    """A hub at `server.address`."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.daemon_threads = True
    server.root, server.asked, server.address = root, [], f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
