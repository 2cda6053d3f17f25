"""The files of one store, each by its kind; which clips are current is the store's to know."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from motive.attribution.packing import Precision
from motive.attribution.plan import Pair, Plan
from motive.attribution.shards import (
    FINGERPRINT,
    checksum,
    decode,
    encode,
    pairs_of,
    row_schema,
    told_checksum,
)
from motive.errors import StoreError
from motive.files import digest, json_text
from motive.fingerprints import differences, refuse_differences
from motive.folders import Folder

REPAIR = "run `motive store verify --remove-damaged`, then `motive index`"


def claim(folder: Folder, made_with: dict[str, Any]) -> None:
    """Write store.json, or raise StoreError with the differences if the store holds rows of another fingerprint."""
    text = json_text(made_with)
    holds = any(folder.names(below) for below in ("shards", "rows", "kept"))
    if holds and not folder.exists("store.json"):
        raise StoreError(f"{folder}/store.json: missing, and {folder} holds files; move it away and run again")
    if folder.create("store.json", text):
        return
    stored = StoreFiles(folder).fingerprint
    if holds:
        refuse_differences(
            f"{folder} was made with other settings", stored, made_with, "Use them again, or choose another `out`."
        )
    elif differences(stored, made_with):
        folder.replace("store.json", text)


class StoreFiles:
    """Reads and writes what lies in a store's folder, which must be there; raises StoreError for what is damaged or was made
    with another fingerprint than store.json tells."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._settings = self._read_settings()
        try:
            self.fingerprint: dict[str, Any] = json.loads(self._settings)
            self.dim = int(self.fingerprint["dim"])
            self.precision: Precision = self.fingerprint["features"]
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{folder}/store.json: damaged ({error}); move {folder} away and run again") from None
        self.mark = digest(json.dumps(self.fingerprint, sort_keys=True)).encode()
        self.schema = row_schema(self.precision, self.dim, self.mark)

    def check_settings(self) -> None:
        """Raise StoreError if another process has taken the store, while it was empty, for other settings."""
        if self._read_settings() != self._settings:
            raise StoreError(f"{self.folder}: another run began here with other settings; choose another `out`")

    def shard_names(self) -> list[str]:
        return [name.removesuffix(".parquet") for name in self.folder.names("shards") if name.endswith(".parquet")]

    def read(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """A file of rows, or only some of its columns; raises FileNotFoundError."""
        with self.folder.open(name, whole=columns is None or "feature" in columns) as file:
            return self._table(name, file, columns)

    def read_whole(self, names: Sequence[str]) -> list[pa.Table]:
        """Files of rows, each checked bit by bit: whatever is written again must be as it was."""
        tables = []
        for name, data in zip(names, self.folder.read(names), strict=True):
            self._check(name, data)
            tables.append(self._table(name, pa.BufferReader(data), None))
        return tables

    def pairs(self, shard: str) -> list[Pair]:
        """The clips that a shard holds."""
        return pairs_of(self.read(shard_file(shard), ["id", "key"]))

    def create(self, name: str, table: pa.Table, compression: str = "none") -> None:
        """Make a file unless an undamaged one is there, which stays."""
        data = encode(table, compression)
        while not self.folder.create(name, data):
            try:
                (there,) = self.folder.read([name])
            except FileNotFoundError:
                continue
            if checksum(there) is None:
                self.folder.replace(name, data)
            return

    def replace(self, name: str, table: pa.Table, compression: str = "none") -> None:
        self.folder.replace(name, encode(table, compression))

    def told_checksum(self, name: str) -> str | None:
        """The checksum that a file carries; raises FileNotFoundError."""
        with self.folder.open(name) as file, self._damage(name):
            return told_checksum(file)

    def read_plan(self, name: str) -> Plan:
        """The plan in plans/ or snapshots/; raises FileNotFoundError."""
        (data,) = self.folder.read([name])
        self._check(name, data)
        return Plan(decode(data))

    def shards_of_snapshots(self) -> set[str]:
        """Names of the shards that snapshots need."""
        needed: set[str] = set()
        for name in self.folder.names("snapshots"):
            needed |= set(self.read_plan(f"snapshots/{name}").clips["shard"].unique().to_pylist())
        return needed

    def drop_shards(self, names: Iterable[str]) -> None:
        """Take shards out; those that snapshots need go to kept/."""
        names = list(names)
        needed = self.shards_of_snapshots() if names else set()
        for name in names:
            if name in needed:
                (data,) = self.folder.read([shard_file(name)])
                self.folder.create(kept_file(name), data)
        self.folder.remove(map(shard_file, names))

    def _read_settings(self) -> bytes:
        try:
            (text,) = self.folder.read(["store.json"])
        except FileNotFoundError:
            raise StoreError(f"{self.folder}: no store here; run `motive index` first") from None
        return text

    def _check(self, name: str, data: bytes) -> None:
        if checksum(data) is None:
            raise StoreError(f"{self.folder}/{name}: damaged, its bytes are not those that were written; {REPAIR}")

    def _table(self, name: str, source: Any, columns: Sequence[str] | None) -> pa.Table:
        with self._damage(name):
            # Without threads: nearly all bytes are one column's; and Arrow's, if they let go of Python's bytes while Python
            # exits, abort it.
            table = pq.ParquetFile(source).read(None if columns is None else list(columns), use_threads=False)
        if (table.schema.metadata or {}).get(FINGERPRINT) != self.mark:
            raise StoreError(f"{self.folder}/{name}: made with another fingerprint than store.json tells; take it out")
        # Without the checksum, which is of this file alone.
        table = table.replace_schema_metadata(self.schema.metadata)
        return table if columns is None else table.select(list(columns))

    @contextmanager
    def _damage(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise StoreError(f"{self.folder}/{name}: damaged ({error}); {REPAIR}") from error


def shard_file(name: str) -> str:
    return f"shards/{name}.parquet"


def kept_file(name: str) -> str:
    return f"kept/{name}.parquet"


def row_file(pair: Pair) -> str:
    return f"rows/{digest(*pair)[:32]}.parquet"
