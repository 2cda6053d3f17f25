"""ClipTable: which clips there are, under stable ids, from any manifest a trainer reads."""

import stat
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from motive.errors import ManifestError
from motive.files import digest, sha256_file
from motive.progress import Progress, Silent
from motive.video.manifests import Row, read_rows

COLUMNS = {
    "video": ("video", "video_path", "file_path", "file_name", "file", "path"),
    "caption": ("prompt", "caption", "text"),
    "id": ("id", "clip_id"),
    "sha256": ("sha256",),
}
"""What a column means, by the names trainers use for it; the first one present wins."""

PATH_LIMIT = 4_096
"""Characters; what Linux takes."""
CAPTION_LIMIT = 20_000
"""Characters; no text encoder reads more than 512 tokens, so a longer one is a mistake or an attack."""


@dataclass(frozen=True)
class Clip:
    """One clip of a pool, or one query.

    id: the manifest's own, else the first 16 hex digits of `key`.
    key: digest of the file's bytes and the caption. The same key is the same clip, wherever it lies; an edited file or
        caption is another one, also under an unchanged id.
    name: the path as the manifest gives it; `path` the resolved file, None if it was refused or the row names none.
    sha256: of the file's bytes. problem: why the clip cannot be used; such a clip is kept, and recorded as failed.
    extra: the manifest's other columns.
    """

    id: str
    key: str
    name: str
    caption: str
    path: Path | None
    sha256: str | None
    where: str
    problem: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ClipTable:
    """Clips in manifest order, without repetitions, and the lines that say which rows repeat another."""

    source: Path
    clips: tuple[Clip, ...]
    duplicates: tuple[str, ...] = ()

    @classmethod
    def read(
        cls,
        source: str | Path,
        root: str | Path | None = None,
        columns: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> "ClipTable":
        """Read a folder of videos or a manifest (.csv, .jsonl, .json, .parquet, videos.txt) and hash its files.

        Relative paths start from the manifest's folder.
        root: the folder that every path must stay inside, also through links; by default the manifest's own.
        columns: names for "video", "caption", "id" or "sha256" where they are not among `COLUMNS`; a folder has its own.

        Raises ManifestError if the manifest as a whole is unreadable, empty, or has no column of videos.
        """
        source = Path(source)
        base = (source if source.is_dir() else source.parent).resolve()
        bound = Path(root).resolve() if root is not None else base
        rows = read_rows(source, bound)
        names = _column_names(source, rows, columns or {})
        clips = []
        with (progress or Silent()).steps(f"reading {source.name}", len(rows)) as step:
            for row in rows:
                clips.append(_clip(row, names, base, bound))
                step()
        return cls(source, *_without_repetitions(clips))

    def only(self, ids: Set[str]) -> "ClipTable":
        """The clips of this table whose ids are among `ids`."""
        return replace(self, clips=tuple(clip for clip in self.clips if clip.id in ids))

    def __len__(self) -> int:
        return len(self.clips)

    def __iter__(self) -> Iterator[Clip]:
        return iter(self.clips)


def _column_names(source: Path, rows: list[Row], columns: Mapping[str, str]) -> dict[str, str | None]:
    if not rows:
        raise ManifestError(f"{source}: holds no clips")
    present = {name for row in rows for name in row.values}
    for meaning, name in columns.items():
        if name not in present and not source.is_dir():
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


def _clip(row: Row, names: Mapping[str, str | None], base: Path, root: Path) -> Clip:
    known = {meaning: row.values.get(column) for meaning, column in names.items() if column}
    odd = [f"its {meaning} is not text" for meaning, value in known.items() if isinstance(value, list | dict | bytes)]

    def cell(meaning: str) -> str:
        value = known.get(meaning)
        return "" if value is None or isinstance(value, list | dict | bytes) else str(value).strip()

    name, caption = cell("video"), cell("caption")
    problem = row.problem or next(iter(odd), None)
    path, problem = (None, problem) if problem else _resolve(name, base, root)
    if not problem and len(caption) > CAPTION_LIMIT:
        problem = f"its caption has {len(caption):,} characters; the limit is {CAPTION_LIMIT:,}"
        caption = caption[:CAPTION_LIMIT]
    actual = None
    if path is not None and not problem:
        try:
            actual = sha256_file(path)
        except OSError as error:
            problem = f"cannot be read: {error.strerror}"
        promised = cell("sha256").lower()
        if actual and promised and promised != actual:
            problem = f"its sha256 is {actual[:12]}..., the manifest says {promised[:12]}...: the file was changed or damaged"
    given = cell("id")
    if given and (len(given) > 200 or not given.isprintable()):
        problem, given = problem or "its id is longer than 200 characters or holds control characters", ""
    key = digest("clip", actual or "", caption) if problem is None else _unusable(row.where, name, caption, problem)
    extra = {column: value for column, value in row.values.items() if column and column not in names.values()}
    shown = name[:PATH_LIMIT].encode(errors="backslashreplace").decode()
    where = row.where.encode(errors="backslashreplace").decode()
    return Clip(given or key[:16], key, shown, caption, path, actual, where, problem, extra)


def _unusable(where: str, name: str, caption: str, problem: str) -> str:
    """The key of a clip with a problem: its own, so that it shares nothing with a good clip, and gone with the problem."""
    return digest("unusable", where, name, caption, problem)


def _resolve(name: str, base: Path, root: Path) -> tuple[Path | None, str | None]:
    """The file a manifest's path means, or why it may not be opened."""
    if not name:
        return None, "names no video"
    if len(name) > PATH_LIMIT:
        return None, f"its path has {len(name):,} characters"
    if "://" in name:
        return None, f"{name!r} is an address; only local files are read"
    try:
        path = (base / name).resolve()
        str(path).encode()  # a name that is not Unicode could not be written to a store
        if not path.is_relative_to(root):
            return None, f"{name!r} leaves the data root {root}; set `root` if it belongs there"
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None, f"no such file: {name!r} in {base}"
    except (OSError, ValueError, RuntimeError) as error:
        return None, f"{name!r} is not a usable path: {error}"
    return (path, None) if stat.S_ISREG(mode) else (None, f"{name!r} is not a regular file")


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
