"""Parquet files and Arrow streams, read batch by batch in bounded memory, whatever they declare."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from motive.errors import ManifestError

COLUMN_LIMIT = 1_000
CHUNK_LIMIT = 1 << 30
"""Bytes of one column in one row group, uncompressed, of a column that is not the videos'."""

UNREADABLE = (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError, NotImplementedError)
"""What pyarrow raises for damaged files."""


def is_media(kind: pa.DataType) -> bool:
    """Whether a column holds files: bytes, or bytes beside a path, as Hugging Face datasets write them."""
    if pa.types.is_struct(kind):
        names = [kind.field(n).name for n in range(kind.num_fields)]
        return "bytes" in names and "path" in names and is_media(kind.field("bytes").type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def media_path(value: pa.Scalar) -> str | None:
    """The path beside a file's bytes."""
    return value["path"].as_py() if value.is_valid and pa.types.is_struct(value.type) else None


def media_bytes(value: pa.Scalar) -> pa.Buffer | None:
    """A file's bytes, without a copy."""
    held = value["bytes"] if value.is_valid and pa.types.is_struct(value.type) else value
    return held.as_buffer() if held.is_valid else None


@contextmanager
def opened_parquet(file: Path | IO[bytes], row_limit: int | None = None) -> Iterator[pq.ParquetFile]:
    """A Parquet file whose description is within bounds; every failure inside becomes a ManifestError without a name."""
    # Buffered, so that a chunk of videos is not read at once.
    plain: dict[str, Any] = {"pre_buffer": False, "buffer_size": 1 << 20, "arrow_extensions_enabled": False}
    try:
        with pq.ParquetFile(file, **plain) as parquet:
            about, schema = parquet.metadata, parquet.schema_arrow
        if row_limit is not None and about.num_rows > row_limit:
            raise ManifestError(f"declares {about.num_rows:,} rows; the limit is {row_limit:,}, so split it")
        if about.num_columns > COLUMN_LIMIT:
            raise ManifestError(f"has {about.num_columns:,} columns; the limit is {COLUMN_LIMIT:,}")
        # As a dictionary, a text that stands in a million rows is held once.
        texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
        with pq.ParquetFile(file, metadata=about, read_dictionary=texts, **plain) as parquet:
            yield parquet
    except UNREADABLE as error:
        raise ManifestError(f"not readable as Parquet: {error}") from None


def parquet_batches(file: pq.ParquetFile, columns: list[str], media: str | None) -> Iterator[pa.RecordBatch]:
    """Batches of `columns`: single rows where `media`, the videos' column, is among them."""
    about = file.metadata
    for group in range(about.num_row_groups):
        for place in range(about.num_columns):
            chunk = about.row_group(group).column(place)
            if chunk.path_in_schema.split(".")[0] in set(columns) - {media} and chunk.total_uncompressed_size > CHUNK_LIMIT:
                raise ManifestError(
                    f"column {chunk.path_in_schema!r} takes {chunk.total_uncompressed_size:,} bytes in one row group; "
                    f"the limit is {CHUNK_LIMIT:,}"
                )
    yield from file.iter_batches(batch_size=1 if media else 1024, columns=columns, use_threads=False)


def arrow_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Batches of an Arrow stream or file, each checked from end to end before anything trusts its offsets."""
    try:
        with pa.memory_map(str(path)) as held:
            reader: Any
            try:
                reader = pa.ipc.open_stream(held)
            except pa.ArrowInvalid:
                reader = pa.ipc.open_file(held)
                reader = map(reader.get_batch, range(reader.num_record_batches))
            for batch in reader:
                batch.validate(full=True)
                yield batch
    except UNREADABLE as error:
        raise ManifestError(f"not readable as Arrow: {error}") from None


def values(file: Path | IO[bytes], column: str, first: int) -> Iterator[bytes | None]:
    """The files' bytes in a media column, from row `first` on."""
    if isinstance(file, Path) and file.suffix == ".arrow":
        yield from from_row(arrow_batches(file), column, first)
        return
    with opened_parquet(file) as parquet:
        groups = list(range(parquet.metadata.num_row_groups))
        while groups and first >= parquet.metadata.row_group(groups[0]).num_rows:
            first -= parquet.metadata.row_group(groups.pop(0)).num_rows
        batches = parquet.iter_batches(batch_size=1, row_groups=groups, columns=[column], use_threads=False)
        yield from from_row(batches, column, first)


def from_row(batches: Iterator[pa.RecordBatch], column: str, first: int) -> Iterator[bytes | None]:
    """The files' bytes in a media column of batches, from row `first` on; raises ManifestError if there is no such column."""
    for batch in batches:
        if first >= batch.num_rows:
            first -= batch.num_rows
            continue
        if column not in batch.schema.names or not is_media(batch.schema.field(column).type):
            raise ManifestError(f"has no column {column!r} of videos any more")
        for value in batch.column(column)[first:]:
            held = media_bytes(value)
            yield None if held is None else held.to_pybytes()
        first = 0
