"""Manifests as people have them: each reader turns one kind of file into rows of named values.

A row that cannot be read becomes a row with a `problem`; only a manifest that makes no sense as a whole is an error.
"""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from motive.errors import ManifestError

VIDEO_SUFFIXES = frozenset(
    ".3gp .avi .flv .gif .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .mxf .ogv .ts .webm .wmv .y4m".split()
)
CELL_LIMIT = 1 << 24
"""Characters a CSV cell may hold; the standard library's own limit (131,072) would end the whole read."""
CAPTION_FILE_LIMIT = 1 << 20
"""Bytes of a caption file; many times what any caption has."""


@dataclass(frozen=True)
class Row:
    """One line of a manifest: where it stands, its values by column name, and why it is unreadable if it is."""

    where: str
    values: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None


def read_rows(source: Path, root: Path | None = None) -> list[Row]:
    """Rows of a folder of videos, or of a .csv, .jsonl, .json, .parquet or videos.txt manifest.

    root: what a folder's caption files must stay inside, also through links; by default the folder itself.

    Raises ManifestError when `source` is missing, of another kind, or not readable as what its name says.
    """
    if source.is_dir():
        return list(_folder(source, root or source))
    if not source.is_file():
        raise ManifestError(f"{source}: no such file or folder; give a folder of videos or a manifest")
    readers = {".csv": _csv, ".jsonl": _jsonl, ".json": _json, ".parquet": _parquet, ".txt": _two_lists}
    reader = readers.get(source.suffix.lower())
    if reader is None:
        raise ManifestError(f"{source}: not a manifest; give a folder of videos or one of {', '.join(sorted(readers))}")
    return list(reader(source))


def _folder(source: Path, root: Path) -> Iterator[Row]:
    """Every video below the folder, its caption in a .txt of the same name beside it (diffusion-pipe's layout)."""
    for path in sorted(p for p in source.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES and not p.is_dir()):
        name = path.relative_to(source).as_posix()
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


def _csv(source: Path) -> Iterator[Row]:
    """CSV with a header line; a row with more cells than the header is a problem of that row."""
    limit = csv.field_size_limit(CELL_LIMIT)
    try:
        reader = csv.DictReader(io.StringIO(_text(source), newline=""), strict=True)
        for number, values in enumerate(reader, start=1):
            where = f"{source.name} row {number}"
            if values.pop(None, None):
                yield Row(where, values, f"has more cells than the header's {len(reader.fieldnames or [])}: quote commas")
            else:
                yield Row(where, {name: value for name, value in values.items() if value is not None})
    except csv.Error as error:
        raise ManifestError(f"{source} after line {reader.line_num}: not CSV ({error})") from None
    finally:
        csv.field_size_limit(limit)


def _jsonl(source: Path) -> Iterator[Row]:
    """One JSON object a line; blank lines are passed over."""
    for number, line in enumerate(_text(source).split("\n"), start=1):
        if line.strip():
            where = f"{source.name} line {number}"
            try:
                yield _json_row(where, json.loads(line))
            except (ValueError, RecursionError) as error:
                yield Row(where, problem=f"is not JSON: {error}")


def _json(source: Path) -> Iterator[Row]:
    """A JSON list of objects (VideoX-Fun's metadata.json)."""
    try:
        entries = json.loads(_text(source))
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{source}: not JSON: {error}") from None
    if not isinstance(entries, list):
        raise ManifestError(f"{source}: expected a JSON list of objects, one a clip")
    for number, entry in enumerate(entries, start=1):
        yield _json_row(f"{source.name} entry {number}", entry)


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


def _parquet(source: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(source) as file:
            number = 0
            for batch in file.iter_batches(batch_size=1024):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(f"{source.name} row {number}", {k: v for k, v in values.items() if v is not None})
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise ManifestError(f"{source}: not readable as Parquet: {error}") from None


def _two_lists(source: Path) -> Iterator[Row]:
    """videos.txt with prompts.txt beside it, one a line (finetrainers)."""
    prompts = source.with_name("prompts.txt")
    if source.name == prompts.name or not prompts.is_file():
        raise ManifestError(f"{source}: a .txt manifest is videos.txt, with prompts.txt beside it, one line a clip")
    names, captions = ([line.rstrip("\n") for line in io.StringIO(_text(path), newline=None)] for path in (source, prompts))
    if len(names) != len(captions):
        raise ManifestError(f"{source}: {len(names)} videos but {len(captions)} lines in prompts.txt")
    for number, (name, caption) in enumerate(zip(names, captions, strict=True), start=1):
        yield Row(f"{source.name} line {number}", {"video": name, "caption": caption})


def _text(source: Path) -> str:
    try:
        return source.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{source}: not readable as UTF-8 text: {error}") from None
