"""The rows of a store as bytes: Parquet files that any reader opens, and that tell whether they are as they were written.

Each carries in its footer the SHA-256 of its own bytes, in which the checksum's own 64 digits count as zeros. So a copied or
moved shard brings its checksum along, and a single flipped bit anywhere is found.
"""

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from motive.attribution.packing import Precision, layout, pack_rows
from motive.errors import StoreError
from motive.files import Data, digest
from motive.video.table import Clip

Row = dict[str, Any]

PLAIN_COLUMNS = {
    "id": pa.string(),
    "key": pa.string(),
    "name": pa.string(),
    "path": pa.string(),
    "caption": pa.string(),
    "sha256": pa.string(),
    "status": pa.string(),
    "reason": pa.string(),
    "frames": pa.int32(),
    "fps": pa.float64(),
    "source_width": pa.int32(),
    "source_height": pa.int32(),
    "source_fps": pa.float64(),
    "source_seconds": pa.float64(),
    "codec": pa.string(),
    "repeated": pa.int32(),
    "motion_mean": pa.float64(),
    "motion_peak": pa.float64(),
    "motion_sustained": pa.float64(),
    "camera_px": pa.float64(),
    "camera_support": pa.float64(),
    "cuts": pa.int32(),
    "label": pa.string(),
    "loss": pa.float64(),
    "gradient_norm": pa.float64(),
    "projected_norm": pa.float64(),
    "extra": pa.string(),
}
"""Every column but `feature`. Motion in px/frame; `extra` is JSON of the manifest's other columns. `status` is ok, failed or
left-out; a clip has a feature exactly when it is ok."""

WHEREABOUTS = ("name", "path", "extra")
"""Columns that may change without the clip being another one."""

FINGERPRINT = b"motive.fingerprint"
CHECKSUM = b"motive.sha256"
BLANK = b"0" * 64
BEFORE_CHECKSUM = CHECKSUM + b"\x18\x40"
"""What stands before the 64 digits in a Parquet footer: the key, then Thrift's header of a string of that length."""


@dataclass(frozen=True)
class Shard:
    """A planned shard: its clips as (id, key), in order of id, and its place in the plan, which stays as others are made."""

    clips: tuple[tuple[str, str], ...]
    number: int = 0

    @property
    def name(self) -> str:
        return shard_name(self.clips)

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.clips)


def shard_name(clips: Iterable[tuple[str, str]]) -> str:
    """A shard is named by the clips that it holds, as (id, key) in order."""
    return digest(*(part for clip in clips for part in clip))[:16]


def row_schema(precision: Precision, dim: int, mark: bytes) -> pa.Schema:
    """Columns of a store's rows; `mark`, a digest of its fingerprint, goes into every file."""
    plain = [pa.field(name, kind) for name, kind in PLAIN_COLUMNS.items()]
    feature = pa.field("feature", pa.binary(layout(precision, dim).itemsize))
    return pa.schema([*plain, feature], metadata={FINGERPRINT: mark})


def describe_rows(clips: Sequence[Clip], rows: Sequence[Row]) -> pa.Table:
    """Clips and what is known of them as a table of PLAIN_COLUMNS; what a row lacks is null."""
    whole = [row | whereabouts(clip) | _identity(clip) for clip, row in zip(clips, rows, strict=True)]
    return pa.Table.from_pylist(whole, schema=pa.schema(list(PLAIN_COLUMNS.items())))


def whereabouts(clip: Clip) -> dict[str, str | None]:
    """A clip's WHEREABOUTS."""
    return {
        "name": clip.name,
        "path": None if clip.source is None else str(clip.source),
        "extra": json.dumps(dict(clip.extra), default=str, ensure_ascii=False),
    }


def add_features(plain: pa.Table, features: NDArray[np.float32], precision: Precision, schema: pa.Schema) -> pa.Table:
    """Rows as `schema` has them, from PLAIN_COLUMNS, of which any but id, key and status may lack, and the features, float32
    [rows that are ok, dim], in the same order. Raises StoreError if there are more or fewer, or one is not finite."""
    has = pc.fill_null(pc.equal(plain["status"], "ok"), False).combine_chunks()
    size = schema.field("feature").type.byte_width
    packed = pack_rows(features, precision)
    if packed.shape != (has.true_count, size):
        raise StoreError(f"{has.true_count} rows are ok, and there are {len(features)} features of {packed.shape[1]} bytes")
    if not np.isfinite(features).all():
        raise StoreError("a feature is not finite; its clip should have been recorded as failed")
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(size), len(packed), [None, pa.py_buffer(packed)])
    if len(column) < len(plain):
        column = column.take(pc.if_else(has, pc.subtract(pc.cumulative_sum(has.cast(pa.int64())), 1), None))
    names = set(plain.column_names)
    columns = [plain[name].cast(kind) if name in names else pa.nulls(len(plain), kind) for name, kind in PLAIN_COLUMNS.items()]
    return pa.table([*columns, column], schema=schema)


def encode(table: pa.Table, compression: str = "none") -> Callable[[BinaryIO], None]:
    """Writes a table as a Parquet file with its checksum. The same rows give the same bytes, however they lie in memory."""

    def write(file: BinaryIO) -> None:
        hashed = _Hashed(file)
        # Dictionaries only where they are asked to save space: rows of a store have next to no repetitions.
        dictionary = compression != "none"
        with pq.ParquetWriter(
            hashed, table.schema, compression=compression, use_dictionary=dictionary, write_statistics=False
        ) as writer:
            writer.write_table(table.combine_chunks())
            writer.add_key_value_metadata({CHECKSUM.decode(): BLANK.decode()})
        size = file.seek(-8, os.SEEK_END) + 8
        footer = int.from_bytes(file.read(4), "little") + 8
        start = file.seek(size - footer)
        file.seek(start + _checksum_place(memoryview(file.read())))
        file.write(hashed.digest.hexdigest().encode())

    return write


class _Hashed(io.RawIOBase):
    """Passes on what is written, and hashes it on the way."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return self.file.write(data)

    def tell(self) -> int:
        return self.file.tell()


def checksum(data: Data) -> str | None:
    """The checksum in a file that `encode` made; None if the file is not as it was written."""
    data = memoryview(data)
    at = _checksum_place(data)
    whole = hashlib.sha256(data[:at])
    whole.update(BLANK)
    whole.update(data[at + len(BLANK) :])
    told = bytes(data[at : at + len(BLANK)])
    return told.decode() if told == whole.hexdigest().encode() else None


def told_checksum(file: BinaryIO) -> str | None:
    """The checksum that a file of `encode` carries, without a look at the rest of it; damaged, it is no file's."""
    return (pq.read_metadata(file).metadata or {}).get(CHECKSUM, b"").decode("ascii", "replace") or None


def decode(data: Data) -> pa.Table:
    """The table of a file that `encode` made; raises StoreError if the file is not as it was written."""
    if checksum(data) is None:
        raise StoreError("its bytes are not those that were written")
    table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
    return table.replace_schema_metadata({key: value for key, value in table.schema.metadata.items() if key != CHECKSUM})


def pairs_of(table: pa.Table) -> list[tuple[str, str]]:
    """The clips of a table as (id, key)."""
    return list(zip(table["id"].to_pylist(), table["key"].to_pylist(), strict=True))


def _identity(clip: Clip) -> Row:
    return {"id": clip.id, "key": clip.key, "caption": clip.caption, "sha256": clip.sha256}


def _checksum_place(data: memoryview) -> int:
    """Where the digits of the checksum begin; anywhere if there are none."""
    footer = int.from_bytes(data[-8:-4], "little") + 8
    start = max(0, len(data) - footer)
    return start + bytes(data[start:]).rfind(BEFORE_CHECKSUM) + len(BEFORE_CHECKSUM)
