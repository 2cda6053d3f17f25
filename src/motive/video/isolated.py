"""Tables are read in a process of their own: what a hostile one makes native code do ends that process and not the run.

The process is started for the first table and serves all that follow. It never sends anything but lines of JSON.
"""

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Literal, cast

from motive.errors import ManifestError
from motive.video.rows import Held, Row, Tell
from motive.video.sources import parse_source

Kind = Literal["parquet", "saved", "hub"]

MEMORY = 8 << 30
"""Bytes of data that the process may hold: one video, and what a page of a table unpacks to."""

PATIENCE = 600.0
"""Seconds after which a process that has said nothing is given up."""

PLAIN = (str, int, float, bool, list, dict)

CHILD = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from motive.video.isolated import serve; serve()"

_lock = threading.Lock()
_process: tuple[int, "subprocess.Popen[bytes]"] | None = None


def isolated_rows(kind: Kind, place: Path | str, video: Sequence[str], tell: Tell) -> list[Row]:
    """Rows of a Parquet file, a saved dataset or a pinned one of the hub (see video.table_rows); raises ManifestError."""
    with _lock:
        process, rows = _started(), list[Row]()
        try:
            requests = cast(IO[bytes], process.stdin)
            requests.write(json.dumps([kind, str(place), list(video)]).encode() + b"\n")
            requests.flush()
            for said, value in _answers(process):
                if said == "row":
                    rows.append(row_of(value))
                elif said == "told":
                    tell(value)
                else:
                    problem = value
                    break
        except (BrokenPipeError, EOFError):
            code = process.wait()
            stop()
            name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise ManifestError(f"{place}: damaged or hostile: the process that read it died of it ({name})") from None
        except TimeoutError:
            stop()
            raise ManifestError(f"{place}: damaged or hostile: reading it made no progress in {PATIENCE:g} s") from None
        except BaseException:
            stop()
            raise
    if problem is not None:
        raise ManifestError(problem)
    return rows


def plain_row(row: Row) -> list[Any]:
    """A row as values of JSON; what has none there becomes its text."""
    held = None if row.held is None else [str(row.held.source), row.held.sha256]
    return [row.where, {name: _plain(value) for name, value in row.values.items()}, row.problem, held]


def row_of(entry: list[Any]) -> Row:
    """The row that `plain_row` made plain."""
    where, values, problem, held = entry
    return Row(where, values, problem, None if held is None else Held(parse_source(held[0]), held[1]))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return []  # no text, and nothing that could be taken for one
    return value if isinstance(value, PLAIN) else str(value)


def serve() -> None:
    """What the process does: a line for each row of each table that it is asked for."""
    import resource

    from motive.video.table_rows import hub_rows, parquet_rows, saved_rows

    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever libraries print is no answer

    def say(said: str, value: Any) -> None:
        out.write(json.dumps([said, value], default=str) + "\n")

    readers: dict[str, Callable[[str, Sequence[str], Tell], Iterator[Row]]] = {
        "parquet": lambda place, video, tell: parquet_rows(Path(place), video, tell),
        "saved": lambda place, video, tell: saved_rows(Path(place), video, tell),
        "hub": hub_rows,
    }
    for line in sys.stdin:
        kind, place, video = json.loads(line)
        try:
            for row in readers[kind](place, video, lambda note: say("told", note)):
                say("row", plain_row(row))
            say("end", None)
        except ManifestError as error:
            say("error", str(error))
        except Exception as error:  # noqa: BLE001, of whatever kind, it is an error of the table
            say("error", f"{place}: damaged or hostile: {type(error).__name__}: {error}")
        out.flush()


def stop() -> None:
    """End the process; the next table starts another."""
    global _process
    if _process is not None and _process[0] == os.getpid():
        _process[1].kill()
        _process[1].communicate()
    _process = None


def _started() -> "subprocess.Popen[bytes]":
    global _process
    if _process is None or _process[0] != os.getpid():  # a forked process leaves its parent's alone
        command = [sys.executable, "-c", CHILD, json.dumps(sys.path)]
        pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
        _process = os.getpid(), subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=quiet)  # noqa: S603
        atexit.register(stop)
    return _process[1]


def _answers(process: "subprocess.Popen[bytes]") -> Iterator[tuple[str, Any]]:
    """What the process says, line by line; raises EOFError when it has died, TimeoutError when it says nothing."""
    channel, rest = cast(IO[bytes], process.stdout).fileno(), b""
    while True:
        if not select.select([channel], [], [], PATIENCE)[0]:
            raise TimeoutError
        piece = os.read(channel, 1 << 16)
        if not piece:
            raise EOFError
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            said, value = json.loads(line)
            yield said, value
