"""What each worker says of itself while it works: one small file a process in `workers/` of a run's folder.

The one who waits for the workers reads from them how far they are, and, when one is lost, which clips it had in hand;
`motive status` reads them from anywhere. They are no part of the results: losing them loses nothing.
"""

import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

STALE = 24 * 3600.0
"""Seconds after which a note that nobody writes any more is deleted."""


@dataclass(frozen=True)
class Note:
    """What one process says.

    run: which call of a verb it belongs to. worker: its name, unique on all machines. device: what its model lies on.
    started, updated: seconds since 1970. doing: in words; ended: it has nothing left to do. shard: that it makes; hand: ids
    of the clips it is at. done: rows written since it started, by store; failed: how many of them have no feature.
    seconds: what it has spent, in "attributing" (forward and backward), "inputs" (waiting for them, encoding), "writing".
    """

    run: str
    worker: str
    host: str
    pid: int
    device: str
    started: float
    updated: float
    doing: str = "starting"
    ended: bool = False
    shard: str | None = None
    hand: tuple[str, ...] = ()
    done: dict[str, int] = field(default_factory=dict)
    failed: int = 0
    seconds: dict[str, float] = field(default_factory=dict)


class Notebook:
    """A worker's own note, written anew whenever something is told."""

    def __init__(self, folder: Path, run: str, device: str) -> None:
        host, pid, now = socket.gethostname(), os.getpid(), time.time()
        worker = f"{host}-{pid}-{os.urandom(3).hex()}"
        self._file = folder / f"{worker}.json"
        self._note = asdict(Note(run, worker, host, pid, device, now, now))
        folder.mkdir(parents=True, exist_ok=True)
        self._write()

    def begin(self, doing: str, shard: str | None = None, hand: Sequence[str] = ()) -> None:
        self._note |= {"doing": doing, "shard": shard, "hand": list(hand)}
        self._write()

    def count(self, which: str, rows: int, failed: int) -> None:
        """Rows of a store that are durable now; the next `begin` or `end` writes it down."""
        self._note["done"][which] = self._note["done"].get(which, 0) + rows
        self._note["failed"] += failed

    def end(self) -> None:
        self._note["ended"] = True
        self.begin("done")

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        begin = time.monotonic()
        try:
            yield
        finally:
            self._note["seconds"][what] = self._note["seconds"].get(what, 0.0) + time.monotonic() - begin

    def _write(self) -> None:
        """Whole, by rename, but not synced: what a crash of the machine loses here is of no use any more."""
        self._note["updated"] = time.time()
        aside = self._file.with_suffix(".tmp")
        aside.write_text(json.dumps(self._note), encoding="utf-8")
        aside.replace(self._file)


def read_notes(folder: Path, run: str | None = None) -> list[Note]:
    """The notes of all workers, or of those of one run, the earliest started first."""
    notes = []
    for file in folder.glob("*.json"):
        with suppress(OSError, ValueError, TypeError):  # gone meanwhile, or no note
            note = Note(**json.loads(file.read_text(encoding="utf-8")))
            if run is None or note.run == run:
                notes.append(note)
    return sorted(notes, key=lambda note: (note.started, note.worker))


def drop_stale(folder: Path) -> None:
    """Delete notes that nobody has written for a day: workers tell something at every batch."""
    for file in folder.glob("*"):
        with suppress(OSError):
            if time.time() - file.stat().st_mtime > STALE:
                file.unlink()
