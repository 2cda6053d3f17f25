"""Web servers on loopback that serve a folder well, and ones that do not."""

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Folder(BaseHTTPRequestHandler):
    """Files of `server.folder`, with ETags and, where `server.ranges`, parts of files; paths in `server.tricks` are answered by
    the functions there."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        server: Any = self.server
        path = self.path.partition("?")[0]
        server.asked.append((self.command, path, self.headers.get("Range")))
        if path in server.tricks:
            self.close_connection = True
            with contextlib.suppress(OSError):
                server.tricks[path](self, body)
            return
        file = server.folder / path.lstrip("/")
        if not file.is_file():
            self.send_error(404)
            return
        content = file.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "") if server.ranges else None
        if asked:
            first, last = int(asked[1]), min(int(asked[2]), len(content) - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            content = content[first : last + 1]
        else:
            self.send_response(200)
        if server.tagged:
            self.send_header("ETag", f'"{file.stat().st_mtime_ns}-{file.stat().st_size}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None: ...


@contextlib.contextmanager
def serving(folder: Path, ranges: bool = True, tagged: bool = True) -> Iterator[Any]:
    """A server of `folder`, at `server.address`; it notes in `server.asked` what it is asked for."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Folder)
    server.daemon_threads = True
    server.folder, server.ranges, server.tagged, server.tricks, server.asked = folder, ranges, tagged, {}, []
    server.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def endless(handler: Any, body: bool) -> None:
    """A body without end and without a length."""
    handler.send_response(200)
    handler.end_headers()
    while body:
        handler.wfile.write(bytes(1 << 16))


def endless_part(handler: Any, body: bool) -> None:
    """A part of a file that never ends, whatever part was asked for."""
    handler.send_response(206)
    handler.send_header("Content-Range", "bytes 0-9/10")
    handler.end_headers()
    while body:
        handler.wfile.write(bytes(1 << 16))


def dripping(handler: Any, body: bool) -> None:
    """A byte now and then, for ever."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(1 << 20))
    handler.end_headers()
    while body:
        handler.wfile.write(b"x")
        time.sleep(0.05)


def silent(handler: Any, body: bool) -> None:
    """Nothing at all."""
    time.sleep(20)


def headers_without_end(handler: Any, body: bool) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        handler.wfile.write(b"X-More: " + b"x" * 4000 + b"\r\n")


def continue_for_ever(handler: Any, body: bool) -> None:
    while True:
        handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.001)


def cut_off(handler: Any, body: bool) -> None:
    """Half of what was promised."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    if body:
        handler.wfile.write(bytes(500))


def zipped(handler: Any, body: bool) -> None:
    """A gigabyte of zeros in a megabyte, said to be the file's own encoding on the line."""
    import zlib

    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.end_headers()
    if body:
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        for _ in range(1024):
            handler.wfile.write(packer.compress(bytes(1 << 20)))
        handler.wfile.write(packer.flush())


def sending_to(target: str) -> Any:
    """A redirect."""

    def redirect(handler: Any, body: bool) -> None:
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return redirect


def failing(times: int, then: bytes) -> Any:
    """A server that is ill `times` times for a GET, and then well."""
    left = [times]

    def answer(handler: Any, body: bool) -> None:
        if body and left[0]:
            left[0] -= 1
            handler.send_error(503)
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(then)))
        handler.end_headers()
        if body:
            handler.wfile.write(then)

    return answer
