"""ClipTable: which clips there are, under stable ids, from any manifest a trainer reads."""

import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from motive.errors import ClipError, ManifestError
from motive.files import digest
from motive.places import Place, as_place, join, name_of, reachable
from motive.progress import Progress, Silent
from motive.video.manifests import read_rows
from motive.video.remote import LIMITS, Limits
from motive.video.remote_manifests import expand, read_address, remote_hash
from motive.video.rows import COLUMNS, Row
from motive.video.sources import File, Source, hash_source, is_local

PATH_LIMIT = 4_096
"""Characters; what Linux takes."""
CAPTION_LIMIT = 20_000
"""Characters; no text encoder reads more than 512 tokens, so a longer one is a mistake or an attack."""
TOGETHER = 8
"""Addresses read at once to be hashed."""
SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Clip:
    """One clip of a pool, or one query.

    id: the manifest's own, else the first 16 hex digits of `key`.
    key: digest of the file's bytes and the caption. The same key is the same clip, wherever it lies; an edited file or
        caption is another one, also under an unchanged id.
    name: the path as the manifest gives it, or the archive's or table's name and what the clip is called in it; `source`
        where its bytes lie, None if that was refused or the row names none.
    sha256: of the video's bytes. problem: why the clip cannot be used; such a clip is kept, and recorded as failed.
    extra: the manifest's other columns.
    """

    id: str
    key: str
    name: str
    caption: str
    source: Source | None
    sha256: str | None
    where: str
    problem: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path | None:
        """The local file that the clip is, if it is one of its own."""
        return Path(str(self.source)) if self.source is not None and is_local(self.source) else None


@dataclass(frozen=True)
class ClipTable:
    """Clips in manifest order, without repetitions, the lines that say which rows repeat another, and notes: what else a person
    should know about the manifest."""

    source: Place
    clips: tuple[Clip, ...]
    duplicates: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def read(
        cls,
        source: str | Path,
        root: str | Path | None = None,
        columns: Mapping[str, str] | None = None,
        progress: Progress | None = None,
        limits: Limits = LIMITS,
    ) -> "ClipTable":
        """Read clips and hash their bytes, those of addresses once (see video.remembered) unless the manifest says the hash.

        source: a folder of videos or tars, a .tar, a manifest (.csv, .jsonl, .json, .parquet, videos.txt), a dataset that
        Hugging Face's library saved, a pattern that stands for several of them, or an address of any.
        Relative paths start from the manifest's folder, or from `root` where only one of the two is an address.
        root: the folder or address that every clip must stay inside, also through links; by default the manifest's own.
        columns: names for "video", "caption", "id" or "sha256" where they are not among `COLUMNS`; a folder has its own.

        Raises ManifestError if the manifest as a whole is unreadable, empty, or has no column of videos.
        """
        place = as_place(str(source)) if isinstance(source, str) else source
        bound = None if root is None else _absolute(as_place(root))
        columns = columns or {}
        told: list[str] = []
        video = (*([columns["video"]] if "video" in columns else []), *COLUMNS["video"])
        rows: list[tuple[Row, Place, Place]] = []
        for one in expand(place, limits):
            found, base = _rows(one, bound, video, limits, told)
            inside = base if bound is None else bound
            rows += [(row, base if type(base) is type(inside) else inside, inside) for row in found]
        folders = isinstance(place, Path) and place.is_dir()
        names = _column_names(place, [row for row, *_ in rows], columns, optional=folders)
        drafts = [_draft(row, names, base, inside) for row, base, inside in rows]
        clips = []
        progress = progress or Silent()
        if far := sum(_needs_reading(draft) for draft in drafts):
            progress.say(
                f"{far:,} videos lie behind addresses; each is read once to be hashed, and what was found is remembered"
            )
        with progress.steps(f"reading {name_of(place)}", len(rows)) as step:
            for draft, found_hash in zip(drafts, _hashes(drafts, limits), strict=True):
                clips.append(_clip(draft, found_hash))
                step()
        return cls(place, *_without_repetitions(clips), tuple(dict.fromkeys(told)))

    def only(self, ids: Set[str]) -> "ClipTable":
        """The clips of this table whose ids are among `ids`."""
        return replace(self, clips=tuple(clip for clip in self.clips if clip.id in ids))

    def __len__(self) -> int:
        return len(self.clips)

    def __iter__(self) -> Iterator[Clip]:
        return iter(self.clips)


def _rows(place: Place, bound: Place | None, video: Sequence[str], limits: Limits, told: list[str]) -> tuple[list[Row], Place]:
    """The rows of one manifest, and the folder that their paths start from."""
    if isinstance(place, str):
        if problem := reachable(place, place.partition("://")[0] + "://"):
            raise ManifestError(problem)
        return read_address(place, video, limits, told.append)
    base = (place if place.is_dir() else place.parent).resolve()
    return read_rows(place, bound if isinstance(bound, Path) else base, video, limits, told.append), base


def _absolute(place: Place) -> Place:
    return place.resolve() if isinstance(place, Path) else place


def _column_names(source: Place, rows: list[Row], columns: Mapping[str, str], optional: bool) -> dict[str, str | None]:
    if not rows:
        raise ManifestError(f"{source}: holds no clips")
    present = {name for row in rows for name in row.values}
    for meaning, name in columns.items():
        if name not in present and not optional:
            raise ManifestError(f"{source}: no column {name!r} for {meaning}; it has {', '.join(sorted(present))}")
    found = {
        meaning: next((name for name in (columns.get(meaning), *known) if name in present), None)
        for meaning, known in COLUMNS.items()
    }
    if found["video"] is None and present:
        raise ManifestError(
            f"{source}: no column of videos; it has {', '.join(sorted(present))}. "
            f"Name it one of {', '.join(COLUMNS['video'])}, or say which with columns.video"
        )
    return found


@dataclass(frozen=True)
class _Draft:
    """A row, understood: everything of a clip but what its bytes say."""

    row: Row
    name: str
    caption: str
    given: str
    promised: str
    source: Source | None
    problem: str | None
    extra: dict[str, Any]


def _draft(row: Row, names: Mapping[str, str | None], base: Place, root: Place) -> _Draft:
    known = {meaning: row.values.get(column) for meaning, column in names.items() if column}
    odd = [f"its {meaning} is not text" for meaning, value in known.items() if isinstance(value, list | dict | bytes)]

    def cell(meaning: str) -> str:
        value = known.get(meaning)
        return "" if value is None or isinstance(value, list | dict | bytes) else str(value).strip()

    name, caption = cell("video"), cell("caption")
    problem = row.problem or next(iter(odd), None)
    source: Source | None = None
    if row.held is not None:
        source = row.held.source
    elif not problem:
        source, problem = _resolve(name, base, root)
    if not problem and len(caption) > CAPTION_LIMIT:
        problem = f"its caption has {len(caption):,} characters; the limit is {CAPTION_LIMIT:,}"
        caption = caption[:CAPTION_LIMIT]
    extra = {column: value for column, value in row.values.items() if column and column not in names.values()}
    return _Draft(row, name, caption, cell("id"), cell("sha256").lower(), source, problem, extra)


def _needs_reading(draft: _Draft) -> bool:
    """Whether a video has to come over the network before its hash is known."""
    held = draft.row.held is not None or draft.source is None or is_local(draft.source)
    return not held and not draft.problem and not SHA256.fullmatch(draft.promised)


def _hashes(drafts: Sequence[_Draft], limits: Limits) -> Iterator[str | ClipError | None]:
    """For each draft the sha256 of its video's bytes, or why it has none; several addresses are read at once."""

    def found(draft: _Draft) -> str | ClipError | None:
        if draft.row.held is not None:
            return draft.row.held.sha256
        if not isinstance(draft.source, File) or draft.problem:
            return None
        try:
            if is_local(draft.source):
                return hash_source(draft.source, limits)
            if SHA256.fullmatch(draft.promised):
                return draft.promised  # what is fetched later must hash to it
            return remote_hash(draft.source, limits)
        except OSError as error:
            return ClipError(f"cannot be read: {error.strerror}")
        except ClipError as error:
            return error

    if all(draft.source is None or is_local(draft.source) for draft in drafts):
        yield from map(found, drafts)
        return
    pool = ThreadPoolExecutor(TOGETHER)
    try:
        yield from pool.map(found, drafts)
    finally:
        pool.shutdown(cancel_futures=True)


def _clip(draft: _Draft, found: str | ClipError | None) -> Clip:
    problem, given = draft.problem, draft.given
    actual = None if isinstance(found, ClipError) else found
    if isinstance(found, ClipError):
        problem = problem or str(found)
    elif actual and draft.promised and draft.promised != actual:
        problem = problem or (
            f"its sha256 is {actual[:12]}..., the manifest says {draft.promised[:12]}...: the file was changed or damaged"
        )
    if given and (len(given) > 200 or not given.isprintable()):
        problem, given = problem or "its id is longer than 200 characters or holds control characters", ""
    name, caption, where = draft.name, draft.caption, draft.row.where
    key = digest("clip", actual or "", caption) if problem is None else _unusable(where, name, caption, problem)
    shown = name[:PATH_LIMIT].encode(errors="backslashreplace").decode()
    where = where.encode(errors="backslashreplace").decode()
    return Clip(given or key[:16], key, shown, caption, draft.source, actual, where, problem, draft.extra)


def _unusable(where: str, name: str, caption: str, problem: str) -> str:
    """The key of a clip with a problem: its own, so that it shares nothing with a good clip, and gone with the problem."""
    return digest("unusable", where, name, caption, problem)


def _resolve(name: str, base: Place, root: Place) -> tuple[File | None, str | None]:
    """The file that a manifest's path means, or why it may not be opened. base and root are of one kind."""
    if not name:
        return None, "names no video"
    if len(name) > PATH_LIMIT:
        return None, f"its path has {len(name):,} characters"
    if isinstance(base, str) and isinstance(root, str):
        address = join(base, name)
        problem = reachable(address, root)
        return (None, problem) if problem else (File(address), None)
    if "://" in name:
        return None, f"{name!r} is an address; only local files are read, unless `root` is an address that it lies under"
    try:
        path = (Path(base) / name).resolve()
        str(path).encode()  # a name that is not Unicode could not be written to a store
        if not path.is_relative_to(root):
            return None, f"{name!r} leaves the data root {root}; set `root` if it belongs there"
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None, f"no such file: {name!r} in {base}"
    except (OSError, ValueError, RuntimeError) as error:
        return None, f"{name!r} is not a usable path: {error}"
    return (File(str(path)), None) if stat.S_ISREG(mode) else (None, f"{name!r} is not a regular file")


def _without_repetitions(clips: Iterable[Clip]) -> tuple[tuple[Clip, ...], tuple[str, ...]]:
    """Drop rows that repeat a clip; report those, and videos that stand under several captions or ids."""
    by_id: dict[str, Clip] = {}
    by_file: dict[str, Clip] = {}
    duplicates: list[str] = []
    for clip in clips:
        first = by_id.get(clip.id)
        if first is not None and first.key == clip.key:
            duplicates.append(f"{clip.where} ({clip.name}) repeats {first.where} ({first.name}): left out")
            continue
        if first is not None:
            problem = f"its id {clip.id!r} is already that of {first.where}, another clip"
            key = _unusable(clip.where, clip.name, clip.caption, problem)
            clip = Clip(key[:16], key, clip.name, clip.caption, None, None, clip.where, problem, clip.extra)
        elif clip.sha256 and clip.sha256 in by_file:
            other = by_file[clip.sha256]
            duplicates.append(f"{clip.where} ({clip.name}) is the same video as {other.where} ({other.name}): both kept")
        elif clip.sha256:
            by_file[clip.sha256] = clip
        by_id[clip.id] = clip
    return tuple(by_id.values()), tuple(duplicates)
