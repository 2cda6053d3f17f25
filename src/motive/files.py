"""Files that are either whole or absent: written aside, synced, then put into place."""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

Data = bytes | bytearray | memoryview

Content = Data | Callable[[BinaryIO], None]
"""What a file is to hold, or a function that writes it into a new file, in which it may seek and read."""


def write_atomic(path: Path, data: Content) -> None:
    """Write `data` to `path` so that a reader, or a kill at any moment, sees the old file or the new one, never a part."""
    with _aside(path, data) as aside:
        aside.replace(path)
    sync_folder(path.parent)


def create_once(path: Path, data: Content) -> bool:
    """Write `data` to `path`, whole, unless something is there, which then stays; whether this call made it.

    Of several writers exactly one makes it, also on several machines. Either way what is there is durable.
    """
    with _aside(path, data) as aside:
        made = _linked(aside, path)
    sync_folder(path.parent)
    return made


def put(data: Content, file: BinaryIO) -> None:
    """Write what a new file is to hold."""
    if callable(data):
        data(file)
    else:
        file.write(data)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_atomic(path, json_text(value))


def json_text(value: Any) -> bytes:
    """`value` as the indented JSON that `write_json` writes."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def write_jsonl(path: Path, entries: Iterable[Any]) -> None:
    """Write one JSON value a line, as they come, atomically."""
    with new_file(path) as aside, aside.open("wb") as file:
        for entry in entries:
            file.write((json.dumps(entry, ensure_ascii=False) + "\n").encode())


def read_jsonl(path: Path) -> list[Any]:
    """What `write_jsonl` wrote."""
    return list(each_json(path))


def each_json(path: Path) -> Iterator[Any]:
    """The same value by value. Lines end at \\n alone: `splitlines` would also break captions that hold U+2028."""
    with path.open("rb") as file:
        for line in file:
            if line != b"\n":
                yield json.loads(line)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Where to write what shall lie at `path`, as long as it takes; it appears there whole if nothing goes wrong."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield aside
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)


@contextmanager
def held(folder: Path) -> Iterator[bool]:
    """Whether nobody else holds `folder`, which is then this process's until the end, also by kill -9. Where a file system
    has no such locks, nobody ever does."""
    make_folder(folder)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    except OSError:
        yield True
    else:
        yield True
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, each durable like what is written into it."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


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


@contextmanager
def _aside(path: Path, data: Content) -> Iterator[Path]:
    """A synced file with `data` beside `path`, under a name that no other process, thread or machine takes."""
    make_folder(path.parent)
    aside = path.with_name(f".{path.name}.{os.urandom(8).hex()}.tmp")
    try:
        with aside.open("xb+") as file:
            put(data, file)
            file.flush()
            os.fsync(file.fileno())
        yield aside
    finally:
        aside.unlink(missing_ok=True)


def _linked(aside: Path, path: Path) -> bool:
    try:
        path.hardlink_to(aside)
        return True
    except FileExistsError:
        return False
    except OSError:
        # A file system without hard links, such as exFAT: there of two writers at the same instant the later one stays.
        if path.exists():
            return False
        aside.replace(path)
        return True
