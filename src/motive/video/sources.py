"""Where a clip's bytes lie, and how they come to lie in a local file, which is all that FFmpeg ever gets."""

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from motive.errors import ClipError, ManifestError
from motive.files import sha256_file
from motive.places import is_address
from motive.video import remote
from motive.video.remote import LIMITS, Limits

WAITS = (1.0, 5.0)
"""Seconds before another try where the network failed."""


@dataclass(frozen=True)
class File:
    """A file of its own: a local path or an address."""

    place: str

    def __str__(self) -> str:
        return self.place


@dataclass(frozen=True)
class Stretch:
    """Some bytes of a file: a member of a tar, called `name` in it."""

    place: str
    offset: int
    size: int
    name: str

    def __str__(self) -> str:
        return _written("tar", self)


@dataclass(frozen=True)
class Cell:
    """One value of a Parquet file or an Arrow stream; rows count from 0."""

    place: str
    row: int
    column: str

    def __str__(self) -> str:
        return _written("table", self)


@dataclass(frozen=True)
class Sample:
    """One value of a streamed dataset: row `row` of its shard `shard`, both from 0."""

    place: str
    shard: int
    row: int
    column: str

    def __str__(self) -> str:
        return _written("dataset", self)


Source = File | Stretch | Cell | Sample

KINDS = ("tar", "table", "dataset")


def _written(kind: str, source: Stretch | Cell | Sample) -> str:
    parts = {name: value for name, value in vars(source).items() if name != "place"}
    return f"{kind}:{quote(source.place, safe='/:@?=&,+~')}#{urlencode(parts, quote_via=quote)}"


def parse_source(text: str) -> Source:
    """The source that `str` wrote; raises ClipError."""
    kind, _, rest = text.partition(":")
    if kind not in KINDS:
        return File(text)
    place, _, fragment = rest.partition("#")
    parts = dict(parse_qsl(fragment, keep_blank_values=True))
    place = unquote(place)
    try:
        if kind == "tar":
            return Stretch(place, int(parts["offset"]), int(parts["size"]), parts["name"])
        if kind == "table":
            return Cell(place, int(parts["row"]), parts["column"])
        return Sample(place, int(parts["shard"]), int(parts["row"]), parts["column"])
    except (KeyError, ValueError):
        raise ClipError(f"{text!r} names no place where a clip can lie") from None


class Opener:
    """Gives clips as local files. It goes through tables and streams in order, so clips should be asked for in theirs."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.limits = limits
        self._kept: tuple[Cell | Sample, Any] | None = None
        self._fetched: tuple[str, IO[bytes]] | None = None

    @contextmanager
    def local_copy(self, source: Source | None, sha256: str | None) -> Iterator[Path]:
        """A local file with the bytes of `source`: itself if it is one, else a copy that is deleted after.

        sha256: what a copy must hash to. Raises ClipError if there is no source, it cannot be read within the limits, or
        holds other bytes.
        """
        if source is None:
            raise ClipError("names no video")
        if is_local(source):
            yield Path(source.place)
            return
        with tempfile.TemporaryDirectory(prefix="motive-") as folder:
            path = Path(folder) / "clip"
            found = again(lambda: self._copy(source, path))
            if sha256 is not None and found != sha256:
                raise ClipError(f"has changed: its sha256 is {found[:12]}..., and was {sha256[:12]}...")
            yield path

    def _copy(self, source: Source, path: Path) -> str:
        hashed = hashlib.sha256()
        with path.open("wb") as file:
            for piece in self._pieces(source):
                hashed.update(piece)
                file.write(piece)
        return hashed.hexdigest()

    def _pieces(self, source: Source) -> Iterator[bytes]:
        if isinstance(source, File):
            return remote.read(source.place, self.limits)
        if isinstance(source, Stretch):
            if is_address(source.place):
                return remote.read(source.place, self.limits, source.offset, source.size)
            return _stretch(source, self.limits)
        value = self._value(source)
        if len(value) > self.limits.max_bytes:
            raise ClipError(remote.too_large(len(value), self.limits))
        return iter([value])

    def _value(self, source: Cell | Sample) -> bytes:
        values, at = self._reel(source)
        try:
            for value in values:
                at, here = at + 1, at
                if here == source.row:
                    self._kept = replace(source, row=at), values
                    if value is None:
                        raise ClipError("holds no bytes")
                    return value
        except ManifestError as error:
            raise ClipError(str(error)) from error
        raise ClipError(f"{source.place} has no row {source.row + 1:,} any more")

    def _reel(self, source: Cell | Sample) -> tuple[Iterator[bytes | None], int]:
        """Values of a column, and the row of the next one: those that stand ready, if they come by `source`."""
        if self._kept is not None:
            kept, values = self._kept
            self._kept = None
            near = kept.row == source.row or (isinstance(source, Sample) and kept.row < source.row)
            if near and replace(kept, row=0) == replace(source, row=0):
                return values, kept.row
            values.close()
        if isinstance(source, Sample):
            from motive.video import hub

            return hub.values(source.place, source.shard, source.column), 0
        from motive.video import columnar

        return columnar.values(self._table(source.place), source.column, source.row), source.row

    def _table(self, place: str) -> Path | IO[bytes]:
        """A table as a local file; a remote one stays until another is wanted."""
        if not is_address(place):
            return Path(place)
        if self._fetched is None or self._fetched[0] != place:
            self._forget()
            file = tempfile.TemporaryFile(prefix="motive-")  # noqa: SIM115, it outlives this call
            for piece in remote.read(place, self.limits):
                file.write(piece)
            file.flush()
            self._fetched = place, file
        return self._fetched[1]

    def __del__(self) -> None:
        if self._kept is not None:
            self._kept[1].close()
        self._forget()

    def _forget(self) -> None:
        if self._fetched is not None:
            self._fetched[1].close()
            self._fetched = None


def _stretch(source: Stretch, limits: Limits) -> Iterator[bytes]:
    if source.size > limits.max_bytes:
        raise ClipError(remote.too_large(source.size, limits))
    left = source.size
    try:
        with Path(source.place).open("rb") as file:
            file.seek(source.offset)
            while left:
                piece = file.read(min(remote.PIECE, left))
                if not piece:
                    raise ClipError(f"{source.place} is cut off in {source.name!r}")
                left -= len(piece)
                yield piece
    except OSError as error:
        raise ClipError(f"{source.place} cannot be read: {error.strerror}") from error


def is_local(source: Source) -> bool:
    """Whether a source is a local file of its own."""
    return isinstance(source, File) and not is_address(source.place)


def hash_source(source: File, limits: Limits) -> str:
    """sha256 of a file's bytes, a remote one's as they pass. Raises ClipError, and OSError for a local one."""
    if is_local(source):
        return sha256_file(Path(source.place))

    def whole() -> str:
        hashed = hashlib.sha256()
        for piece in remote.read(source.place, limits):
            hashed.update(piece)
        return hashed.hexdigest()

    return again(whole)


def again(work: Callable[[], str]) -> str:
    """The result of `work`, tried again where the network failed."""
    for wait in WAITS:
        try:
            return work()
        except remote.PassingError:
            time.sleep(wait)
    return work()
