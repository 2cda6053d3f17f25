"""The feature store: one row a clip, in immutable Parquet shards that any reader of Parquet opens.

    store.json              the fingerprint of everything a feature depends on
    plan.json               which clips are current, and which shard holds which
    shards/<hash>.parquet   finished shards, named by the clips they hold
    rows/<hash>.parquet     finished rows of unfinished shards, one file each; gone once their shard is written

A shard is planned by clip id alone and always holds all of its clips, failed ones too. Making one again gives the same
bytes, so any machine may make any shard, and shards made elsewhere are merged by copying them into the folder. Every file
appears whole by a rename: after a kill at any moment the next run goes on from the last finished row.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from motive.attribution.packing import Precision, layout, pack, unpack
from motive.attribution.prepare import check_fingerprint
from motive.errors import StoreError
from motive.files import digest, write_atomic, write_json
from motive.video.table import Clip

Status = Literal["ok", "failed", "left-out"]
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
"""Every column but `feature`. Motion in px/frame; `extra` is JSON of the manifest's other columns."""

WHEREABOUTS = {"name", "path", "extra"}
"""Columns that may change without the clip being another one."""

FINGERPRINT_KEY = b"motive.fingerprint"


@dataclass(frozen=True)
class Shard:
    """A planned shard: its clips as (id, key), in order of id."""

    clips: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        return digest(*(part for clip in self.clips for part in clip))[:16]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.clips)


class Store:
    """Features of one set of clips, made with one fingerprint."""

    def __init__(self, folder: Path, fingerprint: dict[str, Any], dim: int, precision: Precision) -> None:
        """Open or create; raises StoreError, listing the differences, if it was made with another fingerprint."""
        made_with = fingerprint | {"dim": dim, "features": precision}
        check_fingerprint(folder / "store.json", made_with, ("shards/*.parquet", "rows/*.parquet"))
        self._open(folder)

    @classmethod
    def open(cls, folder: Path) -> "Store":
        """Open an existing store to read it, whatever it was made with."""
        store = cls.__new__(cls)
        store._open(folder)
        return store

    def _open(self, folder: Path) -> None:
        self.folder = folder
        file = folder / "store.json"
        if not file.exists():
            raise StoreError(f"{folder}: no store here; run `motive index` first")
        self.fingerprint: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        self.dim = int(self.fingerprint["dim"])
        self.precision: Precision = self.fingerprint["features"]
        self.mark = digest(json.dumps(self.fingerprint, sort_keys=True)).encode()
        self.schema = pa.schema(
            [pa.field(name, kind) for name, kind in PLAIN_COLUMNS.items()]
            + [pa.field("feature", pa.binary(layout(self.precision, self.dim).itemsize))],
            metadata={FINGERPRINT_KEY: self.mark},
        )

    def plan(self, clips: Sequence[Clip], shard_size: int) -> list[Shard]:
        """Make `clips` the current ones, and return the shards still to be made for them.

        Clips that a finished shard holds stay where they are. The rest keep the shards planned for them as long as these
        hold current clips only; what is left is planned anew, in order of id.
        """
        current = {(clip.id, clip.key) for clip in clips}
        finished = {pair for file in self._shard_files() for pair in self._pairs(file)}
        kept = [shard for shard in self._planned() if set(shard.clips) <= current - finished]
        placed = finished | {pair for shard in kept for pair in shard.clips}
        rest = sorted(current - placed)
        todo = kept + [Shard(tuple(rest[i : i + shard_size])) for i in range(0, len(rest), shard_size)]
        described = {clip.id: {"key": clip.key, **_whereabouts(clip)} for clip in sorted(clips, key=lambda clip: clip.id)}
        plan = {"current": described, "unfinished": [list(map(list, shard.clips)) for shard in todo]}
        write_json(self.folder / "plan.json", plan)
        return todo

    def has_row(self, clip: Clip) -> bool:
        return self._row_file(clip.id, clip.key).exists()

    def add_row(self, clip: Clip, row: Row, feature: NDArray[np.float32] | None) -> None:
        """Keep one clip's row until its shard is whole. `feature` is None exactly when the clip has no score."""
        identity: Row = {"id": clip.id, "key": clip.key, "caption": clip.caption, "sha256": clip.sha256}
        identity |= _whereabouts(clip)
        packed = None if feature is None else pack(feature, self.precision)
        table = pa.Table.from_pylist([row | identity | {"feature": packed}], schema=self.schema)
        self._write(self._row_file(clip.id, clip.key), table)

    def finish(self, shard: Shard) -> None:
        """Write a shard from its rows, all of which must be there, and drop these."""
        files = [self._row_file(*clip) for clip in shard.clips]
        self._write(self._shard_file(shard), pa.concat_tables(self._read(file) for file in files))
        for file in files:
            file.unlink()

    def reopen_failures(self) -> int:
        """Take shards with failed rows apart, so that the next plan tries those clips again; how many there are."""
        count = 0
        for file in self._shard_files():
            table = self._read(file)
            failed = sum(status == "failed" for status in table["status"].to_pylist())
            if failed:
                count += failed
                for i, row in enumerate(table.select(["id", "key", "status"]).to_pylist()):
                    if row["status"] != "failed":
                        self._write(self._row_file(row["id"], row["key"]), table.slice(i, 1))
                file.unlink()
        return count

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The current clips' rows, shard by shard; a clip that several shards hold comes once.

        Where a clip lies and the manifest's other columns are told as the plan has them: files may have moved since.
        """
        current = self._plan()["current"]
        seen: set[str] = set()
        for file in self._shard_files():
            pairs = self._pairs(file)
            wanted = [current.get(name, {}).get("key") == key and name not in seen for name, key in pairs]
            seen |= {name for (name, _), want in zip(pairs, wanted, strict=True) if want}
            if any(wanted):
                ids = [name for (name, _), want in zip(pairs, wanted, strict=True) if want]
                table = self._read(file, columns).filter(pa.array(wanted))
                for column in WHEREABOUTS & set(table.column_names):
                    told = pa.array([current[name][column] for name in ids], pa.string())
                    table = table.set_column(table.schema.get_field_index(column), column, told)
                yield table

    def rows(self, columns: Sequence[str] | None = None) -> list[Row]:
        """All current clips' rows but for their features, in order of id."""
        names = list(PLAIN_COLUMNS) if columns is None else ["id", *(c for c in columns if c != "id")]
        return sorted((row for table in self.tables(names) for row in table.to_pylist()), key=lambda row: row["id"])

    def missing(self) -> int:
        """How many current clips no finished shard holds yet."""
        held = {row["id"] for row in self.rows(["id"])}
        return len(self._plan()["current"].keys() - held)

    @property
    def state(self) -> str:
        """A digest of what a score of this store depends on: its fingerprint and its current clips."""
        return digest(self.mark.decode(), json.dumps({name: clip["key"] for name, clip in self._plan()["current"].items()}))

    def unpack(self, table: pa.Table) -> NDArray[np.float32]:
        """Features float32 [rows, dim] of a table whose rows all have one."""
        packed = table["feature"].combine_chunks()
        if not len(packed):
            return np.empty((0, self.dim), np.float32)
        if packed.null_count:
            raise StoreError(f"{self.folder}: asked for features of clips that have none")
        size = layout(self.precision, self.dim).itemsize
        first = packed.offset * size
        return unpack(packed.buffers()[1][first : first + len(packed) * size], self.precision, self.dim)

    def _plan(self) -> dict[str, Any]:
        file = self.folder / "plan.json"
        try:
            plan: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {"current": {}, "unfinished": []}
        except ValueError as error:
            raise StoreError(f"{file}: damaged ({error}); delete it and run `motive index` again") from None
        return plan

    def _planned(self) -> list[Shard]:
        return [Shard(tuple((name, key) for name, key in clips)) for clips in self._plan()["unfinished"]]

    def _shard_files(self) -> list[Path]:
        return sorted((self.folder / "shards").glob("*.parquet"))

    def _shard_file(self, shard: Shard) -> Path:
        return self.folder / "shards" / f"{shard.name}.parquet"

    def _row_file(self, name: str, key: str) -> Path:
        return self.folder / "rows" / f"{digest(name, key)[:32]}.parquet"

    def _pairs(self, file: Path) -> list[tuple[str, str]]:
        table = self._read(file, ["id", "key"])
        return list(zip(table["id"].to_pylist(), table["key"].to_pylist(), strict=True))

    def _read(self, file: Path, columns: Iterable[str] | None = None) -> pa.Table:
        try:
            table = pq.read_table(file, columns=None if columns is None else list(columns))
        except (pa.ArrowException, OSError) as error:
            raise StoreError(f"{file}: damaged ({error}); delete it and run `motive index` again") from error
        if (table.schema.metadata or {}).get(FINGERPRINT_KEY) != self.mark:
            raise StoreError(f"{file}: made with another fingerprint than {self.folder / 'store.json'}; take it out")
        return table

    def _write(self, file: Path, table: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="none", use_dictionary=False, write_statistics=False)
        write_atomic(file, sink.getvalue().to_pybytes())


def _whereabouts(clip: Clip) -> dict[str, str | None]:
    return {
        "name": clip.name,
        "path": None if clip.source is None else str(clip.source),
        "extra": json.dumps(dict(clip.extra), default=str, ensure_ascii=False),
    }
