"""A folder that several processes and machines write at once: on a disk, or in an S3 bucket.

Files in it are whole or absent, and can be made once: of several writers of one name exactly one makes it. A disk does that
by a hard link, a bucket by `If-None-Match: *`. fsspec's S3 client sends that header, which Arrow's does not; for its other
file systems, making a file once is a look followed by a write, so that two writers may both think they made it, and they are
refused here.
"""

import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from motive.errors import ConfigError, StoreError
from motive.files import Content, create_once, put, sync_folder, write_atomic

AHEAD = 1 << 18
"""Bytes of a file in a bucket that are fetched at least."""


class Folder(Protocol):
    """Files by their names, which may have one folder before them, as in `shards/a.parquet`.

    A name that is not there raises FileNotFoundError; whatever else goes wrong in a bucket raises StoreError.
    """

    @property
    def name(self) -> str: ...

    def read(self, names: Sequence[str]) -> list[bytes]:
        """Whole files, in order."""
        ...

    def open(self, name: str, whole: bool = False) -> Any:
        """A file for a reader that seeks. whole: all of it will be read; otherwise only the parts asked for are fetched."""
        ...

    def exists(self, name: str) -> bool: ...

    def names(self, below: str) -> list[str]:
        """Names of the files directly in the folder `below`, without it, in order; none if there is no such folder."""
        ...

    def create(self, name: str, data: Content) -> bool:
        """Make a file unless it is there; whether this call made it. It is durable either way."""
        ...

    def replace(self, name: str, data: Content) -> None: ...

    def remove(self, names: Iterable[str]) -> None:
        """Delete those of the files that are there."""
        ...


def open_folder(place: str | Path) -> Folder:
    """The folder at a path, or at s3://bucket/prefix; raises ConfigError for any other address.

    Endpoint and credentials of a bucket come from where S3's own tools take them: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID,
    AWS_PROFILE and so on.
    """
    if isinstance(place, Path) or "://" not in place:
        return LocalFolder(Path(place))
    if re.fullmatch(r"s3://[^/*?\[\]]+(/[^/*?\[\]]+)*/?", place) is None:
        raise ConfigError(f"{place}: a store can lie in a folder or at s3://bucket/prefix")
    return BucketFolder(place.rstrip("/"))


@dataclass(frozen=True)
class LocalFolder:
    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    def __str__(self) -> str:
        return str(self.path)

    def read(self, names: Sequence[str]) -> list[bytes]:
        return [(self.path / name).read_bytes() for name in names]

    def open(self, name: str, whole: bool = False) -> Any:
        file = pa.OSFile(str(self.path / name))
        if not whole:
            return file
        with file:
            # One read, of which the parts are then parsed in place.
            return pa.BufferReader(file.read_buffer(file.size()))

    def exists(self, name: str) -> bool:
        return (self.path / name).is_file()

    def names(self, below: str) -> list[str]:
        try:
            # Files with a dot are being written, or were when their writer was killed.
            return sorted(name for name in os.listdir(self.path / below) if not name.startswith("."))  # noqa: PTH208, faster
        except FileNotFoundError:
            return []

    def create(self, name: str, data: Content) -> bool:
        return create_once(self.path / name, data)

    def replace(self, name: str, data: Content) -> None:
        write_atomic(self.path / name, data)

    def remove(self, names: Iterable[str]) -> None:
        files = [self.path / name for name in names]
        for file in files:
            file.unlink(missing_ok=True)
        for folder in {file.parent for file in files}:
            if folder.is_dir():
                sync_folder(folder)


@dataclass(frozen=True)
class BucketFolder:
    url: str

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    def __str__(self) -> str:
        return self.url

    def read(self, names: Sequence[str]) -> list[bytes]:
        if len(names) < 2:
            with self.told():
                return [_filesystem().cat_file(self.key(name)) for name in names]
        with self.told():
            # Several at once: most of the time goes into waiting for the server.
            found = _filesystem().cat([self.key(name) for name in names], on_error="raise")
            return [found[self.key(name)] for name in names]

    def open(self, name: str, whole: bool = False) -> Any:
        return io.BytesIO(*self.read([name])) if whole else _Ranges(self, name)

    def size(self, name: str) -> int:
        with self.told():
            return int(_filesystem().info(self.key(name))["size"])

    def part(self, name: str, start: int, stop: int) -> bytes:
        """Bytes from `start` up to `stop` of a file."""
        with self.told():
            data: bytes = _filesystem().cat_file(self.key(name), start=start, end=stop)
            return data

    def exists(self, name: str) -> bool:
        with self.told():
            try:
                return bool(_filesystem().info(self.key(name))["type"] == "file")
            except FileNotFoundError:
                return False

    def names(self, below: str) -> list[str]:
        start = self.key(below) + "/"
        with self.told():
            try:
                found = _filesystem().find(start)
            except FileNotFoundError:
                return []
        names = (key.removeprefix(start) for key in found if key.startswith(start))
        return sorted(name for name in names if name and "/" not in name)

    def create(self, name: str, data: Content) -> bool:
        with self.told():
            try:
                _filesystem().pipe_file(self.key(name), _whole(data), mode="create")
            except FileNotFoundError as error:
                raise StoreError(f"{self.url}: {error}") from error
            except OSError as error:
                if _is_there(error):
                    return False
                raise
        return True

    def replace(self, name: str, data: Content) -> None:
        with self.told():
            try:
                _filesystem().pipe_file(self.key(name), _whole(data))
            except FileNotFoundError as error:
                raise StoreError(f"{self.url}: {error}") from error

    def remove(self, names: Iterable[str]) -> None:
        keys = [self.key(name) for name in names]
        if keys:
            with self.told():
                _filesystem().rm(keys)

    def key(self, name: str) -> str:
        return f"{self.url.removeprefix('s3://')}/{name}"

    @contextmanager
    def told(self) -> Iterator[None]:
        """Turn what goes wrong, but for a missing file, into a StoreError that says where."""
        try:
            yield
        except (FileNotFoundError, StoreError):
            raise
        except Exception as error:  # the client raises types of its own, of several libraries
            raise StoreError(f"{self.url}: {type(error).__name__}: {error}") from error


class _Ranges(io.RawIOBase):
    """A file in a bucket, fetched by the part; what is asked for next mostly stands next to it."""

    def __init__(self, folder: BucketFolder, name: str) -> None:
        self.folder, self.file, self.size, self.at = folder, name, folder.size(name), 0
        self.start, self.block = 0, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.size}[whence]
        return self.at

    def read(self, size: int = -1) -> bytes:
        stop = max(self.at, self.size if size < 0 else min(self.size, self.at + size))
        if not self.start <= self.at <= stop <= self.start + len(self.block):
            self.start = self.at
            self.block = (
                self.folder.part(self.file, self.at, min(self.size, max(stop, self.at + AHEAD))) if stop > self.at else b""
            )
        data = self.block[self.at - self.start : stop - self.start]
        self.at += len(data)
        return data


def _filesystem() -> Any:
    """The S3 client of this process, which fsspec makes once; a copy that came from before a fork would not work."""
    try:
        import fsspec

        patience = {"connect_timeout": 30, "read_timeout": 60, "retries": {"max_attempts": 5, "mode": "standard"}}
        return fsspec.filesystem("s3", use_listings_cache=False, config_kwargs=patience)
    except ImportError as error:
        raise StoreError("a store in a bucket needs s3fs: pip install 'motive[s3]'") from error


def _whole(data: Content) -> bytes:
    if isinstance(data, bytes):
        return data
    file = io.BytesIO()
    put(data, file)
    return file.getvalue()


def _is_there(error: OSError) -> bool:
    """Whether a file was not made because there is one; servers differ in how much they tell."""
    told = getattr(error.__cause__, "response", {})
    return isinstance(error, FileExistsError) or told.get("Error", {}).get("Code") in ("PreconditionFailed", "412")
