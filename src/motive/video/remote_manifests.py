"""Manifests behind addresses, and patterns that stand for many: fetched within limits, then read as local ones are."""

import glob
import posixpath
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from motive.errors import ClipError, ManifestError
from motive.places import Place, braces, folder_of, join, name_of
from motive.video import hub, remote
from motive.video.isolated import isolated_rows, plain_row, row_of
from motive.video.manifests import CAPTION_FILE_LIMIT, PACKED, SUFFIXES, read_rows
from motive.video.remembered import remembered
from motive.video.remote import Limits
from motive.video.rows import VIDEO_SUFFIXES, Held, Row, Tell
from motive.video.sources import File, again, hash_source

TOGETHER = 8
"""Small files fetched at once."""


def expand(place: Place, limits: Limits) -> list[Place]:
    """The manifests that a pattern with {000..099}, {a,b}, * and ? stands for, in order; a place without any is itself.

    Raises ManifestError if it stands for none, or for more than a pattern may.
    """
    if isinstance(place, Path) and (place.exists() or not any(sign in str(place) for sign in "{*?[")):
        return [place]
    if isinstance(place, str) and (hub.is_dataset(place) or not any(sign in place for sign in "{*?")):
        return [place]
    found: list[Place] = []
    try:
        for one in braces(str(place)):
            if isinstance(place, Path):
                found += sorted(map(Path, glob.glob(one, recursive=True))) if glob.has_magic(one) else [Path(one)]  # noqa: PTH207
            else:
                web = one.lower().startswith("http")
                wild = "*" in one if web else any(sign in one for sign in "*?")
                found += remote.listing(one, limits) if wild else [one]
    except (ValueError, ClipError) as error:
        raise ManifestError(f"{place}: {error}") from None
    if not found:
        raise ManifestError(f"{place}: no file fits this pattern")
    return found


def read_address(address: str, video: Sequence[str], limits: Limits, tell: Tell) -> tuple[list[Row], str]:
    """Rows of what stands behind an address, as `read_rows` reads it from a disk, and the folder their paths start from.

    The rows of tars, and of tables with videos in them, are remembered as long as the server says the same of the file.
    """
    try:
        if hub.is_dataset(address):
            pinned = hub.pinned(address)
            return _remembered_rows("dataset", pinned, pinned, video, tell), hub.folder(pinned)
        suffix = posixpath.splitext(name_of(address))[1].lower()
        if name_of(address).lower().endswith(PACKED):
            raise ManifestError("is compressed, which allows neither bounds nor access to single clips; unpack it")
        if suffix in SUFFIXES:
            if suffix in (".tar", ".parquet"):
                return _remembered_rows("manifest", address, remote.stamp(address, limits), video, tell, limits), folder_of(
                    address
                )
            return _fetched_rows(address, video, limits, tell), folder_of(address)
        folder = address.rstrip("/") + "/"
        return _folder(folder, video, limits, tell), folder
    except (ClipError, ManifestError) as error:
        raise ManifestError(f"{address}: {error}") from None


def _fetched_rows(address: str, video: Sequence[str], limits: Limits, tell: Tell) -> list[Row]:
    """Rows of a manifest that is fetched whole, and deleted after."""
    with tempfile.TemporaryDirectory(prefix="motive-") as folder:
        local = Path(folder) / (name_of(address) or "manifest")
        wanted = [(address, local)]
        if local.suffix.lower() == ".txt":
            wanted.append((join(folder_of(address), "prompts.txt"), local.with_name("prompts.txt")))
        for place, path in wanted:
            _fetch(place, path, limits)
        try:
            rows = read_rows(local, None, video, limits, tell)
        except ManifestError as error:
            raise ManifestError(str(error).replace(f"{local}: ", "").replace(folder, "")) from None
    return [row if row.held is None else replace(row, held=_moved(row.held, address)) for row in rows]


def _moved(held: Held, address: str) -> Held:
    return replace(held, source=replace(held.source, place=address))


def _fetch(address: str, path: Path, limits: Limits) -> None:
    def fetch() -> str:
        with path.open("wb") as file:
            for piece in remote.read(address, limits):
                file.write(piece)
        return ""

    again(fetch)


def _remembered_rows(
    kind: str, address: str, stamp: str | None, video: Sequence[str], tell: Tell, limits: Limits | None = None
) -> list[Row]:
    def find() -> dict[str, Any]:
        told: list[str] = []
        if limits is None:
            rows = isolated_rows("hub", address, video, told.append)
        else:
            rows = _fetched_rows(address, video, limits, told.append)
        return {"rows": [plain_row(row) for row in rows], "told": told}

    within = 0 if limits is None else limits.max_bytes
    found = remembered(f"{kind} {within} {' '.join(video)}", address, stamp, find)
    for line in found["told"]:
        tell(line)
    return [row_of(entry) for entry in found["rows"]]


def _folder(address: str, video: Sequence[str], limits: Limits, tell: Tell) -> list[Row]:
    """Every video below an address, its caption in a .txt of the same name beside it, and every clip of the tars below it."""
    files = remote.listing(address, limits)
    known = set(files)
    small = replace(limits, max_bytes=CAPTION_FILE_LIMIT)

    def row(file: str) -> list[Row]:
        name = file.removeprefix(address)
        stem, suffix = posixpath.splitext(file)
        if suffix.lower() == ".tar":
            try:
                return _remembered_rows("manifest", file, remote.stamp(file, limits), video, tell, limits)
            except (ClipError, ManifestError) as error:
                return [Row(name, {"video": name}, str(error))]
        try:
            told = b"".join(remote.read(f"{stem}.txt", small)) if f"{stem}.txt" in known else None
            caption = {} if told is None else {"caption": told.decode("utf-8-sig").strip()}
            return [Row(name, {"video": name} | caption)]
        except (ClipError, UnicodeDecodeError) as error:
            return [Row(name, {"video": name}, f"its caption file {posixpath.basename(stem)}.txt cannot be read: {error}")]

    wanted = [file for file in files if posixpath.splitext(file)[1].lower() in VIDEO_SUFFIXES | {".tar"}]
    with ThreadPoolExecutor(TOGETHER) as pool:
        return [one for rows in pool.map(row, wanted) for one in rows]


def remote_hash(source: File, limits: Limits) -> str:
    """sha256 of what stands behind an address: read once, remembered as long as the server says the same of it."""
    stamp = remote.stamp(source.place, limits)
    return str(remembered("file", source.place, stamp, lambda: hash_source(source, limits)))
