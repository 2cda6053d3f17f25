"""Files that are either whole or absent: written aside, synced, then renamed into place."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader, or a kill at any moment, sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_atomic(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def write_jsonl(path: Path, entries: Iterable[Any]) -> None:
    """Write one JSON value a line, atomically."""
    write_atomic(path, "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries).encode())


def read_jsonl(path: Path) -> list[Any]:
    """What `write_jsonl` wrote. Lines end at \\n alone: `splitlines` would also break captions that hold U+2028."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_file(path: Path) -> str:
    """Hex digest of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(*parts: str) -> str:
    """Hex sha256 of a list of strings, unambiguous about where each one ends."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
