"""What was once found out about remote files by reading all of their bytes, kept as long as their server says the same of them.

One SQLite file in the user's cache folder (XDG_CACHE_HOME). It may be deleted at any time: what it says is found out again.
"""

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from motive.files import digest

VERSION = "1"
"""Raised whenever the same bytes would be described differently."""


def remembered(kind: str, address: str, stamp: str | None, find: Callable[[], Any]) -> Any:
    """What `find` returns, plain values of JSON: that of an earlier time if `stamp`, what the server says of the file, is
    the same.

    Without a stamp, or where the cache cannot be used, it is found out every time.
    """
    if stamp is None:
        return find()
    key = digest(VERSION, kind, address, stamp)
    known = _recall(key)
    if known is None:
        found = find()
        known = json.dumps(found)
        _keep(key, known)
    return json.loads(known)


def _file() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "motive" / "remote.sqlite"


def _recall(key: str) -> str | None:
    if not _file().exists():
        return None
    try:
        with closing(sqlite3.connect(_file(), timeout=30)) as cache:
            row = cache.execute("SELECT value FROM found WHERE key = ?", (key,)).fetchone()
            return None if row is None else str(row[0])
    except sqlite3.Error:
        return None


def _keep(key: str, value: str) -> None:
    try:
        _file().parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(_file(), timeout=30)) as cache, cache:
            cache.execute("CREATE TABLE IF NOT EXISTS found (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
            cache.execute("INSERT OR REPLACE INTO found VALUES (?, ?)", (key, value))
    except (sqlite3.Error, OSError):
        return
