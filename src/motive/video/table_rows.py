"""Rows of tables that may hold the videos' bytes: Parquet files, datasets saved by Hugging Face's library, streamed ones."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from motive.errors import ManifestError
from motive.video import columnar, hub
from motive.video.rows import CELL_LIMIT, COLUMNS, ROW_LIMIT, TEXT_LIMIT, Held, Row, Tell
from motive.video.sources import Cell, Sample, Source

SourceOf = Callable[[int, str], Source]
"""Row from 0, and column, to where the bytes there lie."""


def parquet_rows(source: Path, video: Sequence[str], tell: Tell) -> Iterator[Row]:
    """Rows of a Parquet file. video: names of the column of videos, the best first."""
    try:
        with columnar.opened_parquet(source, ROW_LIMIT) as file:
            columns, media = _columns(file.schema_arrow, video, source.name, tell)
            batches = columnar.parquet_batches(file, columns, media)
            yield from _rows(batches, source.name, lambda row, column: Cell(str(source), row, column), media)
    except ManifestError as error:
        raise ManifestError(f"{source}: {error}") from None


def is_saved_dataset(folder: Path) -> bool:
    """Whether Hugging Face's library saved a dataset here."""
    whole = (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    return whole or (folder / "dataset_dict.json").is_file()


def saved_rows(folder: Path, video: Sequence[str], tell: Tell) -> Iterator[Row]:
    """Rows of a dataset that `save_to_disk` wrote, from its Arrow files alone."""
    if (folder / "dataset_dict.json").is_file():
        splits = sorted(path.name for path in folder.iterdir() if (path / "state.json").is_file())
        if "train" not in splits and len(splits) != 1:
            raise ManifestError(f"{folder}: holds several splits; give the folder of one of them: {', '.join(splits)}")
        folder = folder / ("train" if "train" in splits else splits[0])
        if len(splits) > 1:
            tell(f"{folder.parent}: of its splits {', '.join(splits)} the one read is train")
    for path in _arrow_files(folder):
        try:
            batches = columnar.arrow_batches(path)
            first = next(batches, None)
            if first is None:
                continue
            columns, media = _columns(first.schema, video, path.name, tell)
            chosen = (batch.select(columns) for batch in _chain(first, batches))
            yield from _rows(chosen, path.name, _cells_of(path), media)
        except ManifestError as error:
            raise ManifestError(f"{path}: {error}") from None
        except columnar.UNREADABLE as error:  # names of columns that are no text
            raise ManifestError(f"{path}: not readable as Arrow: {error}") from None


def hub_rows(address: str, video: Sequence[str], tell: Tell) -> Iterator[Row]:
    """Rows of a streamed dataset of the hub, whose address is pinned."""
    name = address.removeprefix("hf://datasets/").partition("@")[0]
    for shard in range(hub.shards(address)):
        batches = hub.batches(address, shard)
        first = next(batches, None)
        if first is not None:
            columns, media = _columns(first.schema, video, name, tell if shard == 0 else lambda line: None)
            chosen = (batch.select(columns) for batch in _chain(first, batches))
            yield from _rows(chosen, f"{name} shard {shard}", _samples_of(address, shard), media)


def _cells_of(path: Path) -> SourceOf:
    return lambda row, column: Cell(str(path), row, column)


def _samples_of(address: str, shard: int) -> SourceOf:
    return lambda row, column: Sample(address, shard, row, column)


def _chain(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


def _arrow_files(folder: Path) -> list[Path]:
    """The files that state.json names, which must lie beside it."""
    file = folder / "state.json"
    try:
        if file.stat().st_size > 1 << 24:
            raise ManifestError(f"{file}: has {file.stat().st_size:,} bytes")
        names = [entry["filename"] for entry in json.loads(file.read_bytes())["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ManifestError(f"{file}: not what a saved dataset says of itself ({type(error).__name__})") from None
    for name in names:
        if (
            not isinstance(name, str)
            or Path(name).name != name
            or not (folder / name).resolve().is_relative_to(folder.resolve())
        ):
            raise ManifestError(f"{file}: names {name!r}, which does not lie beside it")
        if not (folder / name).is_file():
            raise ManifestError(f"{file}: names {name!r}, which is not there")
    return [folder / name for name in names]


def _columns(schema: pa.Schema, video: Sequence[str], name: str, tell: Tell) -> tuple[list[str], str | None]:
    """Which columns are read, and which of them holds the videos' bytes, if one does."""
    if len(set(schema.names)) < len(schema.names):
        raise ManifestError("has two columns of one name")
    chosen = next((column for column in video if column in schema.names), None)
    media = chosen if chosen is not None and columnar.is_media(schema.field(chosen).type) else None
    meant = {column for names in COLUMNS.values() for column in names} | set(video)
    # Lists, and files that are no videos, could not be carried along, and a few bytes of either may become gigabytes.
    left = [field.name for field in schema if field.name not in meant and pa.types.is_nested(field.type)]
    left += [field.name for field in schema if field.name != media and columnar.is_media(field.type) and field.name not in left]
    if left:
        tell(f"{name}: neither text nor numbers, and not carried along: {', '.join(left)}")
    return [column for column in schema.names if column not in left], media


def _rows(batches: Iterator[pa.RecordBatch], name: str, source_of: SourceOf, media: str | None) -> Iterator[Row]:
    first = text = 0
    for batch in batches:
        plain = [column for column in batch.schema.names if column != media]
        spelled = sum(_spelled(batch.column(column)) for column in plain)
        text += spelled
        if text > TEXT_LIMIT:
            raise ManifestError(f"its text is more than {TEXT_LIMIT:,} bytes without its videos")
        if first + batch.num_rows > ROW_LIMIT:
            raise ManifestError(f"has more than {ROW_LIMIT:,} rows")
        columns = [_python(batch.column(column)) for column in plain]
        cells = zip(*columns, strict=True) if plain else iter([()] * batch.num_rows)
        for number, values in enumerate(cells, start=first):
            said = {column: value for column, value in zip(plain, values, strict=True) if value is not None}
            row = Row(f"{name} row {number + 1}", said)
            if media is not None:
                row = _with_video(row, batch.column(media)[number - first], media, source_of(number, media))
            yield _bounded(row) if spelled > CELL_LIMIT else row
        first += batch.num_rows


def _with_video(row: Row, value: pa.Scalar, column: str, source: Source) -> Row:
    path, held = columnar.media_path(value), columnar.media_bytes(value)
    if held is None:
        return Row(row.where, row.values if path is None else {**row.values, column: path})
    values = {**row.values, column: path or row.where}
    return Row(row.where, values, held=Held(source, hashlib.sha256(held).hexdigest()))


def _bounded(row: Row) -> Row:
    long = [name for name, value in row.values.items() if isinstance(value, str | bytes) and len(value) > CELL_LIMIT]
    if not long:
        return row
    rest = {name: value for name, value in row.values.items() if name not in long}
    return Row(row.where, rest, f"its {long[0]} has more than {CELL_LIMIT:,} characters")


def _python(column: pa.Array) -> list[Any]:
    """A column's values; raises ArrowInvalid for one that Python cannot hold, such as a time between microseconds."""
    if getattr(column.type, "unit", None) == "ns":
        # Else what becomes of it depends on whether pandas is installed.
        kind = column.type
        coarser = pa.timestamp("us", kind.tz) if pa.types.is_timestamp(kind) else pa.duration("us")
        column = column.cast(pa.time64("us") if pa.types.is_time(kind) else coarser)
    return list(column.to_pylist())


def _spelled(column: pa.Array) -> int:
    """Bytes that a column's values take once each is written out."""
    if pa.types.is_nested(column.type):
        return 32 * int(column.nbytes)  # as Python's lists, each byte may become an object
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = pc.binary_length(column.dictionary).take(column.indices.cast(pa.int64()))
    return int(pc.sum(lengths).as_py() or 0)
