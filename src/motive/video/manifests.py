"""Manifests as people have them: each reader turns one kind of file into rows of named values.

A row that cannot be read becomes a row with a `problem`; only a manifest that makes no sense as a whole is an error.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from motive.errors import ManifestError
from motive.video.isolated import isolated_rows
from motive.video.remote import LIMITS, Limits
from motive.video.rows import CELL_LIMIT, COLUMNS, TEXT_LIMIT, VIDEO_SUFFIXES, Row, Tell
from motive.video.table_rows import is_saved_dataset
from motive.video.tars import tar_rows

CAPTION_FILE_LIMIT = 1 << 20
"""Bytes of a caption file; many times what any caption has."""
JSON_LIMIT = 1 << 28
"""Bytes of a .json manifest, which is read at once."""
VALUE_LIMIT = 100_000_000
"""Values in all rows of a JSON manifest: a byte of it may become an object of sixty."""

TEXTS = (".csv", ".json", ".jsonl", ".txt")
SUFFIXES = frozenset((*TEXTS, ".parquet", ".tar"))
"""Of files that are manifests."""
PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".csv.gz", ".jsonl.gz", ".json.gz")


def read_rows(
    source: Path,
    root: Path | None = None,
    video: Sequence[str] = COLUMNS["video"],
    limits: Limits = LIMITS,
    tell: Tell = lambda line: None,
) -> list[Row]:
    """Rows of a folder of videos and tars, of a .tar, of a dataset that Hugging Face's library saved, or of a .csv, .jsonl,
    .json, .parquet or videos.txt manifest.

    root: what a folder's caption files and tars, and prompts.txt, must stay inside, also through links; by default the
    folder itself. video: names of the column of videos, the best first: in a Parquet file it may hold their bytes.
    tell: is told what concerns no single row.

    Raises ManifestError when `source` is missing, of another kind, or not readable as what its name says.
    """
    if source.is_dir():
        if is_saved_dataset(source):
            return isolated_rows("saved", source, video, tell)
        return list(_folder(source, root or source, limits, tell))
    if not source.is_file():
        raise ManifestError(f"{source}: no such file or folder; give a folder of videos or a manifest")
    suffix = source.suffix.lower()
    if suffix == ".parquet":
        return isolated_rows("parquet", source, video, tell)
    if suffix == ".tar":
        return list(tar_rows(source, tell, limits.max_bytes))
    readers = {".csv": _csv, ".jsonl": _jsonl, ".json": _json, ".txt": lambda lists: _two_lists(lists, root or lists.parent)}
    if suffix not in readers:
        if source.name.lower().endswith(PACKED):
            raise ManifestError(f"{source}: is compressed, which allows neither bounds nor access to single clips; unpack it")
        kinds = ", ".join(sorted(SUFFIXES - {".tar"}))
        raise ManifestError(f"{source}: not a manifest; give a folder of videos, a .tar, or one of {kinds}")
    if source.stat().st_size > TEXT_LIMIT:
        raise ManifestError(f"{source}: has {source.stat().st_size:,} bytes; the limit is {TEXT_LIMIT:,}, so split it")
    return list(readers[suffix](source))


def _folder(source: Path, root: Path, limits: Limits, tell: Tell) -> Iterator[Row]:
    """Every video below the folder, its caption in a .txt of the same name beside it (diffusion-pipe's layout), and every
    clip of the tars below it."""
    wanted = (path for path in source.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES | {".tar"})
    for path in sorted(path for path in wanted if not path.is_dir()):
        name = path.relative_to(source).as_posix()
        if path.suffix.lower() == ".tar":
            yield from _tar_in_folder(path, name, root, limits, tell)
            continue
        values: dict[str, Any] = {"video": name}
        beside = path.with_suffix(".txt")
        try:
            problem = None
            if beside.is_file():
                if not beside.resolve().is_relative_to(root.resolve()):
                    problem = f"its caption file {beside.name} leaves the data root {root}"
                elif beside.stat().st_size > CAPTION_FILE_LIMIT:
                    problem = f"its caption file {beside.name} has {beside.stat().st_size:,} bytes"
                else:
                    values["caption"] = beside.read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            problem = f"its caption file {beside.name} cannot be read: {error}"
        yield Row(name, values, problem)


def _tar_in_folder(path: Path, name: str, root: Path, limits: Limits, tell: Tell) -> Iterator[Row]:
    try:
        if not path.resolve().is_relative_to(root.resolve()):
            raise ManifestError(f"leaves the data root {root}")
        if not path.is_file():
            raise ManifestError("is not a regular file")
        yield from tar_rows(path, tell, limits.max_bytes)
    except (ManifestError, OSError, RuntimeError) as error:
        yield Row(name, {"video": name}, str(error))


def _csv(source: Path) -> Iterator[Row]:
    """CSV with a header line; a row with more cells than the header is a problem of that row."""
    limit = csv.field_size_limit(CELL_LIMIT)
    reader = None
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            for number, values in enumerate(reader, start=1):
                where = f"{source.name} row {number}"
                if values.pop(None, None):
                    yield Row(where, values, f"has more cells than the header's {len(reader.fieldnames or [])}: quote commas")
                else:
                    yield Row(where, {name: value for name, value in values.items() if value is not None})
    except csv.Error as error:
        raise ManifestError(f"{source} after line {reader.line_num if reader else 0}: not CSV ({error})") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{source}: not readable as UTF-8 text: {error}") from None
    finally:
        csv.field_size_limit(limit)


def _jsonl(source: Path) -> Iterator[Row]:
    """One JSON object a line; blank lines are passed over."""
    count = 0
    try:
        with source.open("rb") as file:
            for number, line in enumerate(_lines(file), start=1):
                where = f"{source.name} line {number}"
                if len(line) > CELL_LIMIT:
                    yield Row(where, problem=f"is longer than {CELL_LIMIT:,} bytes")
                    continue
                count = _counted(line, count, source)
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                    if text.strip():
                        yield _json_row(where, json.loads(text))
                except (ValueError, RecursionError) as error:
                    yield Row(where, problem=f"is not JSON: {error}")
    except OSError as error:
        raise ManifestError(f"{source}: cannot be read: {error.strerror}") from None


def _lines(file: io.BufferedReader) -> Iterator[bytes]:
    """Lines of a file; of one that is too long only a beginning that is too long as well."""
    while line := file.readline(CELL_LIMIT + 1):
        rest = line
        while not rest.endswith(b"\n") and (rest := file.readline(CELL_LIMIT)):
            pass
        yield line


def _json(source: Path) -> Iterator[Row]:
    """A JSON list of objects (VideoX-Fun's metadata.json)."""
    if source.stat().st_size > JSON_LIMIT:
        raise ManifestError(f"{source}: has {source.stat().st_size:,} bytes; more than {JSON_LIMIT:,} belong in a .jsonl")
    try:
        text = _text(source)
        _counted(text.encode(errors="replace"), 0, source)
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{source}: not JSON: {error}") from None
    if not isinstance(entries, list):
        raise ManifestError(f"{source}: expected a JSON list of objects, one a clip")
    for number, entry in enumerate(entries, start=1):
        yield _json_row(f"{source.name} entry {number}", entry)


def _counted(text: bytes, before: int, source: Path) -> int:
    """How many values there may be up to here; raises ManifestError if too many to hold."""
    count = before + sum(text.count(sign) for sign in (b",", b"[", b"{"))
    if count > VALUE_LIMIT:
        raise ManifestError(f"{source}: holds more than {VALUE_LIMIT:,} values; split it")
    return count


def _json_row(where: str, entry: Any) -> Row:
    if not isinstance(entry, dict):
        return Row(where, problem="is not a JSON object")
    try:
        text = json.dumps(entry, ensure_ascii=False)
    except RecursionError:
        return Row(where, problem="is nested too deeply")
    # JSON can spell half a surrogate pair, which no file or tokenizer takes.
    whole = text.encode(errors="replace").decode()
    return Row(where, entry) if whole == text else Row(where, json.loads(whole), "holds text that is not valid Unicode")


def _two_lists(source: Path, root: Path) -> Iterator[Row]:
    """videos.txt with prompts.txt beside it, one a line (finetrainers)."""
    prompts = source.with_name("prompts.txt")
    if source.name == prompts.name or not prompts.is_file():
        raise ManifestError(f"{source}: a .txt manifest is videos.txt, with prompts.txt beside it, one line a clip")
    if not prompts.resolve().is_relative_to(root.resolve()):
        raise ManifestError(f"{prompts}: leaves the data root {root}")
    names, captions = ([line.rstrip("\n") for line in io.StringIO(_text(path), newline=None)] for path in (source, prompts))
    if len(names) != len(captions):
        raise ManifestError(f"{source}: {len(names)} videos but {len(captions)} lines in prompts.txt")
    for number, (name, caption) in enumerate(zip(names, captions, strict=True), start=1):
        yield Row(f"{source.name} line {number}", {"video": name, "caption": caption})


def _text(source: Path) -> str:
    try:
        if source.stat().st_size > TEXT_LIMIT:
            raise ManifestError(f"{source}: has {source.stat().st_size:,} bytes; the limit is {TEXT_LIMIT:,}, so split it")
        return source.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{source}: not readable as UTF-8 text: {error}") from None
