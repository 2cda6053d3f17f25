"""WebDataset tars: clips from the members x.mp4, x.txt and x.json. Nothing is ever extracted under a name from inside, or
unpickled; the archive is walked header by header, so that none of its promises is believed."""

import hashlib
import io
import json
import posixpath
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from motive.errors import ManifestError
from motive.video.remote import PIECE
from motive.video.rows import VIDEO_SUFFIXES, Held, Row, Tell
from motive.video.sources import Stretch

BLOCK = 512
MEMBER_LIMIT = 1_000_000
"""Members of one tar."""
HEADER_LIMIT = 1 << 20
"""Bytes of a header that holds a long name."""
TEXT_MEMBER_LIMIT = 1 << 20
"""Bytes of a caption or of a clip's JSON."""

COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
PICKLES = frozenset(".pkl .pickle .pyd .pt .pth .npy .npz".split())

HEADERS = frozenset((tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK))
"""Not members, but what is said of the next one, or of all."""
FILES = frozenset((tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE))
SPARSE = tarfile.GNUTYPE_SPARSE
LINKS = dict.fromkeys((tarfile.LNKTYPE, tarfile.SYMTYPE), "a link")
DEVICES = dict.fromkeys((tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE), "a device or pipe")
OTHERS = {SPARSE: "a sparse file"} | LINKS | DEVICES
EMPTY = frozenset((*LINKS, *DEVICES, tarfile.DIRTYPE))
"""Kinds without data, whatever size they declare."""


@dataclass(frozen=True)
class Member:
    """A member of a tar: its name, what it is ("file", or "a link" and so on), and where its bytes lie."""

    name: str
    kind: str
    offset: int
    size: int


class _BrokenError(Exception):
    """The archive cannot be followed any further."""


def tar_rows(source: Path, tell: Tell, max_bytes: int) -> Iterator[Row]:
    """A row for each video of a tar, in order, with the caption of its .txt and the values of its .json.

    A member that is refused or cannot be read is the problem of its row. max_bytes: of one video.

    Raises ManifestError if the file is no tar.
    """
    samples: dict[str, _Sample] = {}
    refused: list[Row] = []
    ignored: Counter[str] = Counter()
    try:
        with source.open("rb") as file:
            _refuse_compressed(file, source)
            size = file.seek(0, io.SEEK_END)
            for member in _walk(file, size):
                suffix = posixpath.splitext(member.name)[1].lower()
                if problem := _refusal(member, suffix):
                    refused.append(Row(f"{source.name} {member.name}", {"video": f"{source.name}/{member.name}"}, problem))
                elif suffix in VIDEO_SUFFIXES or suffix in (".txt", ".json"):
                    key = member.name[: -len(suffix)]
                    samples.setdefault(key, _Sample()).add(suffix, member, file, source, max_bytes)
                else:
                    ignored[suffix] += 1
    except _BrokenError as error:
        if not samples and not refused:
            raise ManifestError(f"{source}: not a tar: {error}") from None
        refused.append(Row(f"{source.name} at its end", {"video": source.name}, f"its tar {error}; what follows is not read"))
    except OSError as error:
        raise ManifestError(f"{source}: cannot be read: {error.strerror}") from None
    pickles = sum(count for suffix, count in ignored.items() if suffix in PICKLES)
    if pickles:
        tell(f"{source.name}: {pickles:,} pickles and arrays are ignored; they are never loaded")
    if others := {suffix: count for suffix, count in ignored.items() if suffix not in PICKLES}:
        kinds = ", ".join(f"{count:,} {suffix or 'without a suffix'}" for suffix, count in sorted(others.items())[:10])
        tell(f"{source.name}: members that are neither videos nor captions are ignored: {kinds}")
    if alone := sum(not sample.videos for sample in samples.values()):
        tell(f"{source.name}: {alone:,} captions stand without a video of the same name")
    for sample in samples.values():
        yield from sample.rows(source)
    yield from refused


@dataclass(slots=True)
class _Sample:
    """The members of one name. videos: each with its sha256, or the reason why it has none."""

    videos: list[tuple[Member, str | None, str | None]] = field(default_factory=list)
    caption: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None
    seen: set[str] = field(default_factory=set)

    def add(self, suffix: str, member: Member, file: IO[bytes], source: Path, max_bytes: int) -> None:
        if suffix in self.seen:
            self.problem = self.problem or f"its tar holds two members called {member.name!r}"
            return
        self.seen.add(suffix)
        file.seek(member.offset)
        if suffix in VIDEO_SUFFIXES:
            if member.size > max_bytes:
                self.videos.append((member, None, f"has {member.size:,} bytes; the limit is fetch.max_bytes = {max_bytes:,}"))
            else:
                self.videos.append((member, _hash(file, member.size), None))
        elif member.size > TEXT_MEMBER_LIMIT:
            self.problem = self.problem or f"its member {member.name!r} has {member.size:,} bytes"
        else:
            self._read(suffix, member.name, file.read(member.size))

    def _read(self, suffix: str, name: str, data: bytes) -> None:
        try:
            text = data.decode("utf-8-sig")
            if suffix == ".txt":
                self.caption = text.strip()
                return
            values = json.loads(text)
            # JSON can spell half a surrogate pair, which no file or tokenizer takes.
            json.dumps(values, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            self.problem = self.problem or f"its member {name!r} cannot be read: {str(error)[:200]}"
            return
        if isinstance(values, dict):
            self.values = values
        else:
            self.problem = self.problem or f"its member {name!r} is not a JSON object"

    def rows(self, source: Path) -> Iterator[Row]:
        for member, sha256, problem in self.videos:
            # The .txt counts before whatever caption the .json has.
            values = self.values | ({} if self.caption is None else {"prompt": self.caption})
            values |= {"video": f"{source.name}/{member.name}"}
            held = None if sha256 is None else Held(Stretch(str(source), member.offset, member.size, member.name), sha256)
            yield Row(f"{source.name} {member.name}", values, problem or self.problem, held)


def _refusal(member: Member, suffix: str) -> str | None:
    if member.kind != "file":
        return f"is {member.kind} in a tar, which is refused"
    if member.name.startswith("/") or ".." in member.name.split("/") or "\\" in member.name:
        return "its name leaves the tar, which is refused"
    return None


def _hash(file: IO[bytes], size: int) -> str:
    hashed = hashlib.sha256()
    while size:
        piece = file.read(min(PIECE, size))
        if not piece:
            raise _BrokenError("became shorter while it was read")
        size -= len(piece)
        hashed.update(piece)
    return hashed.hexdigest()


def _refuse_compressed(file: IO[bytes], source: Path) -> None:
    magic = file.read(6)
    for start, kind in COMPRESSED.items():
        if magic.startswith(start):
            raise ManifestError(
                f"{source}: is compressed with {kind}, which allows neither bounds nor access to single clips; unpack it"
            )


def _walk(file: IO[bytes], whole: int) -> Iterator[Member]:
    """Members in order, folders left out; raises _BrokenError where the archive stops making sense. whole: its bytes."""
    place = count = 0
    told: dict[str, str] = {}
    while True:
        file.seek(place)
        block = file.read(BLOCK)
        if len(block) < BLOCK:
            raise _BrokenError("ends without its end mark: cut off, perhaps")
        if not any(block):
            return
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except (tarfile.HeaderError, ValueError) as error:
            raise _BrokenError(f"is damaged at byte {place:,} ({error})") from None
        data = place + BLOCK
        if header.type == SPARSE:
            data = _behind_sparse_map(file, block, data)
        size = int(told["size"]) if re.fullmatch("[0-9]{1,18}", told.get("size", "")) else header.size
        held = 0 if header.type in EMPTY else size
        if not 0 <= held <= whole - data:
            raise _BrokenError(f"is cut off: the member at byte {place:,} declares {held:,} bytes, more than there are")
        place = data + -(-held // BLOCK) * BLOCK
        if header.type in HEADERS:
            if held > HEADER_LIMIT:
                raise _BrokenError(f"has a header of {held:,} bytes at byte {data - BLOCK:,}")
            file.seek(data)
            told |= _told(header.type, file.read(held))
            continue
        count += 1
        if count > MEMBER_LIMIT:
            raise _BrokenError(f"has more than {MEMBER_LIMIT:,} members")
        sparse = any(key.startswith("GNU.sparse") for key in told)
        kind = "a sparse file" if sparse else "file" if header.type in FILES else OTHERS.get(header.type, "of an unknown kind")
        name = told.get("path", header.name).removeprefix("./")
        told = {}
        if header.type != tarfile.DIRTYPE:
            yield Member(name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"), kind, data, held)


def _behind_sparse_map(file: IO[bytes], block: bytes, data: int) -> int:
    """Where the data of a sparse file begin: behind the blocks that go on with the map of its holes."""
    more = block[482]
    while more:
        block = file.read(BLOCK)
        if len(block) < BLOCK:
            raise _BrokenError("ends in the middle of a sparse file")
        more, data = block[504], data + BLOCK
    return data


def _told(kind: bytes, data: bytes) -> dict[str, str]:
    """What a header before a member says of it."""
    if kind == tarfile.GNUTYPE_LONGNAME:
        return {"path": data.split(b"\0")[0].decode("utf-8", "surrogateescape")}
    if kind == tarfile.GNUTYPE_LONGLINK:
        return {}
    fields = _pax(data)
    if kind == tarfile.XGLTYPE:
        if "path" in fields or "size" in fields or any(key.startswith("GNU.sparse") for key in fields):
            raise _BrokenError("gives all its members one name or size")
        return {}
    return fields


def _pax(data: bytes) -> dict[str, str]:
    """The fields of an extended header: lines of "LENGTH KEY=VALUE\\n"."""
    fields: dict[str, str] = {}
    while data:
        length, space, _ = data.partition(b" ")
        if not space or not length.isdigit() or len(length) > 8 or not len(length) + 2 < int(length) <= len(data):
            raise _BrokenError("has an extended header that makes no sense")
        key, equals, value = data[len(length) + 1 : int(length) - 1].partition(b"=")
        if not equals:
            raise _BrokenError("has an extended header that makes no sense")
        fields[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        data = data[int(length) :]
    return fields
