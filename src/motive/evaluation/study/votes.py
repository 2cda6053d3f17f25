"""Votes in SQLite: each one synced to disk before its rater hears of it; a changed mind is a further row, and the last counts.

raters(name)
votes(rater, pair, choice, at)      choice: a video's id, or '' for a tie; at: milliseconds since 1970
"""

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from motive.errors import StudyError

SCHEMA = """
CREATE TABLE IF NOT EXISTS raters (name TEXT PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS votes (
    rater TEXT NOT NULL REFERENCES raters (name), pair TEXT NOT NULL, choice TEXT NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (rater, pair, at)
) STRICT;
"""


@dataclass(frozen=True)
class Vote:
    rater: str
    pair: str
    choice: str
    at: int


class Votes:
    """The open votes of a study's folder; a context that closes them. All threads of a process share one, and several
    processes may have the same folder open."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "votes.sqlite"
        self.lock = threading.Lock()
        with self._errors_told():
            self.table = sqlite3.connect(self.file, timeout=30, isolation_level=None, check_same_thread=False)
            try:
                self.table.execute("PRAGMA journal_mode = WAL")
                self.table.execute("PRAGMA synchronous = FULL")
                self.table.executescript(SCHEMA)
            except sqlite3.Error:
                self.table.close()
                raise

    def __enter__(self) -> "Votes":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.table.close()

    def enrol(self, rater: str) -> bool:
        """Take down a rater; whether the name is new. Of two who come with one name at once, one is told that it is not."""
        with self._transaction() as table:
            return table.execute("INSERT OR IGNORE INTO raters VALUES (?)", (rater,)).rowcount == 1

    def cast(self, rater: str, pair: str, choice: str) -> None:
        """Record a vote of an enrolled rater; on disk when this returns."""
        with self._transaction() as table:
            (last,) = table.execute("SELECT coalesce(max(at), 0) FROM votes WHERE rater = ?", (rater,)).fetchone()
            # A clock that was set back must not make an older vote the last one.
            at = max(time.time_ns() // 1_000_000, last + 1)
            table.execute("INSERT INTO votes VALUES (?, ?, ?, ?)", (rater, pair, choice, at))

    def add(self, votes: Iterable[Vote]) -> int:
        """Record votes cast elsewhere, all or none; returns how many were not known yet."""
        new = 0
        with self._transaction() as table:
            for vote in votes:
                table.execute("INSERT OR IGNORE INTO raters VALUES (?)", (vote.rater,))
                row = (vote.rater, vote.pair, vote.choice, vote.at)
                new += table.execute("INSERT OR IGNORE INTO votes VALUES (?, ?, ?, ?)", row).rowcount
        return new

    def latest(self, rater: str | None = None) -> list[Vote]:
        """The votes that count, of one rater or of all, sorted by rater and pair."""
        # SQLite takes the other columns of an aggregate from the row that has the maximum.
        latest = """SELECT rater, pair, choice, max(at) FROM votes WHERE ?1 IS NULL OR rater = ?1
                    GROUP BY rater, pair ORDER BY rater, pair"""
        with self._transaction() as table:
            return [Vote(*row) for row in table.execute(latest, (rater,))]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one thread alone, in a transaction that is on disk at the end of the block or undone."""
        with self.lock, self._errors_told():
            self.table.execute("BEGIN IMMEDIATE")
            try:
                yield self.table
            except BaseException:
                self.table.execute("ROLLBACK")
                raise
            self.table.execute("COMMIT")

    @contextmanager
    def _errors_told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StudyError(f"{self.file}: the votes cannot be used: {error}") from None
