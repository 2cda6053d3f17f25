"""The feature store: one row a clip, in immutable Parquet shards that any reader of Parquet opens.

    store.json                the fingerprint of everything a feature depends on
    plan.json                 the name of the plan that is current
    plans/<hash>.parquet      the clips of one manifest, where they lie, and which shard each is made in
    rows/<hash>.parquet       finished rows of unfinished shards, one file each; gone once their shard is written
    shards/<hash>.parquet     finished shards, named by the clips they hold
    snapshots/<name>.parquet  a plan with the checksum of every shard, to score against later
    kept/<hash>.parquet       shards that only snapshots still need

A store lies in a local folder or at s3://bucket/prefix, and any number of processes on any machines may fill it at once. A
shard always holds all of its clips, failed ones too. Making one again gives the same bytes, and the first that is made stays;
so shards made elsewhere are merged by copying them into the folder. Every file is whole or absent, durable before the next
step relies on it, and carries its checksum: after a kill at any moment the next run goes on from the last finished row.

Processes that plan the same clips get the same plan. If they plan different ones, each makes its own shards, all of which
stay, and the clips that were planned last are current. A store that holds no row yet takes other settings; who began with the
old ones is refused at the next row.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from motive.attribution.holdings import Groups, Holding, find_holdings, read_holding
from motive.attribution.packing import Precision, layout, unpack
from motive.attribution.plan import COMPRESSION, Pair, Plan, make_plan, manifest_name, to_make
from motive.attribution.shards import PLAIN_COLUMNS, add_features, describe_rows, pairs_of
from motive.attribution.shards import Row as Row
from motive.attribution.shards import Shard as Shard
from motive.attribution.store_files import StoreFiles, claim, kept_file, row_file, shard_file
from motive.errors import StoreError
from motive.files import digest, json_text
from motive.folders import Folder, open_folder
from motive.video.table import Clip

Status = Literal["ok", "failed", "left-out"]

ROUNDS = 20
"""How often a reader looks for shards that others took out while it was reading."""


class Store:
    """Features of one set of clips, made with one fingerprint."""

    def __init__(self, place: Path | str, fingerprint: dict[str, Any], dim: int, precision: Precision) -> None:
        """Open or create in a folder or at s3://bucket/prefix; raises StoreError, listing the differences, if it was made with
        another fingerprint."""
        folder = open_folder(place)
        claim(folder, fingerprint | {"dim": dim, "features": precision})
        self._open(folder, None)

    @classmethod
    def open(cls, place: Path | str, snapshot: str | None = None) -> "Store":
        """Open an existing store to read it, whatever it was made with: its current clips, or those of a snapshot."""
        store = cls.__new__(cls)
        store._open(open_folder(place), snapshot)
        return store

    def _open(self, folder: Folder, snapshot: str | None) -> None:
        self.folder = folder
        self.snapshot = snapshot
        self.files = StoreFiles(folder)
        self.fingerprint, self.mark = self.files.fingerprint, self.files.mark
        self.dim, self.precision, self.schema = self.files.dim, self.files.precision, self.files.schema
        self._planned: str | None = None
        self._known: tuple[str, str | None, Plan] | None = None

    def plan(self, clips: Sequence[Clip], shard_size: int) -> list[Shard]:
        """Make `clips` the current ones, and return the shards still to be made for them.

        Clips that a finished shard holds stay where they are, the others in the shards that they were planned in; what is
        new is cut by `shard_size` in order of id. Whoever plans the same clips gets the same shards with the same numbers.
        """
        name = manifest_name(clips)
        if not self.folder.exists(_plan_file(name)):
            self.files.create(_plan_file(name), self._made_plan(clips, shard_size).clips, COMPRESSION)
        if self._current_name() != name:
            self.folder.replace("plan.json", json_text({"plan": name}))
        self._planned = name
        plan = self.current()
        held, missing = self.holdings(plan.groups)
        self._drop_strays(held, missing)
        return to_make(plan, missing)

    @property
    def superseded(self) -> bool:
        """Whether another process has planned other clips since `plan` was called here."""
        return self._planned is not None and self._current_name() != self._planned

    def has_row(self, clip: Clip) -> bool:
        return self.folder.exists(row_file((clip.id, clip.key)))

    def without_row(self, clips: Sequence[Clip]) -> list[Clip]:
        """Those of `clips` for which `has_row` is false, by one look at the store."""
        there = set(self.folder.names("rows"))
        return [clip for clip in clips if row_file((clip.id, clip.key)).removeprefix("rows/") not in there]

    def add_row(self, clip: Clip, row: Row, feature: NDArray[np.float32] | None) -> None:
        """Keep one clip's row until its shard is whole. `feature` is None exactly when the clip has no score."""
        features = np.empty((0, self.dim), np.float32) if feature is None else feature[None]
        table = add_features(describe_rows([clip], [row]), features, self.precision, self.schema)
        self.files.check_settings()
        self.files.replace(row_file((clip.id, clip.key)), table)

    def finish(self, shard: Shard) -> None:
        """Write a shard from its rows, all of which must be there, and drop these. Nothing is done if the shard is there."""
        rows = [row_file(pair) for pair in shard.clips]
        try:
            table = pa.concat_tables(self.files.read_whole(rows))
        except FileNotFoundError as error:
            if not self.folder.exists(shard_file(shard.name)):
                raise StoreError(f"{self.folder}: shard {shard.name} lacks a row ({error}); run `motive index` again") from None
        else:
            self._create(shard, table)
        self.folder.remove(rows)

    def write_shard(self, shard: Shard, rows: pa.Table, features: NDArray[np.float32]) -> None:
        """Write a whole shard at once, unless it is there; the same bytes as of `add_row` and `finish`.

        rows: of PLAIN_COLUMNS, one a clip of the shard in its order; columns but id, key and status may lack
            (`describe_rows` makes them of clips). features: float32 [rows with status ok, dim], in the same order.
        """
        self._create(shard, add_features(rows, features, self.precision, self.schema))

    def reopen_failures(self) -> int:
        """Take failed rows out of their shards, so that the next plan tries those clips again; how many there are."""
        read_from = {holding.shard: set(pairs_of(holding.clips)) for holding in self.holdings(self.current().groups)[0]}
        count, moved, apart = 0, dict[Pair, str](), []
        for name in self.files.shard_names():
            if "failed" not in self.files.read(shard_file(name), ["status"])["status"].to_pylist():
                continue
            (table,) = self.files.read_whole([shard_file(name)])
            failed = pc.equal(table["status"], "failed")
            for part in (table.filter(pc.invert(failed)), table.filter(failed)):
                shard = Shard(tuple(pairs_of(part)))
                moved |= dict.fromkeys(read_from.get(name, set()).intersection(shard.clips), shard.name)
                if len(part) and part["status"][0].as_py() != "failed":
                    self._create(shard, part)
            count += len(read_from.get(name, set()).intersection(shard.clips))
            apart.append(name)
        self.regroup(moved)
        self.files.drop_shards(apart)
        return count

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The current clips' rows, shard by shard; a clip that several shards hold comes once.

        Where a clip lies and the manifest's other columns are told as the plan has them: files may have moved since. Shards
        may be compacted meanwhile; every row still comes once.
        """
        wanted = self.current().groups
        for _ in range(ROUNDS):
            gone = []
            for holding in self.holdings(wanted)[0]:
                try:
                    table = read_holding(self.files, self._file_of(holding), holding.clips, columns)
                except FileNotFoundError:
                    gone.append((holding.shard, holding.clips))
                else:
                    yield table
            if not gone:
                return
            wanted = gone
        raise StoreError(f"{self.folder}: shards vanish while they are read, {wanted[0][0]} among them")

    def rows(self, columns: Sequence[str] | None = None) -> list[Row]:
        """All current clips' rows but for their features, in order of id."""
        names = list(PLAIN_COLUMNS) if columns is None else ["id", *(c for c in columns if c != "id")]
        return sorted((row for table in self.tables(names) for row in table.to_pylist()), key=lambda row: row["id"])

    def missing(self) -> int:
        """How many current clips no finished shard holds yet."""
        return len(self.holdings(self.current().groups)[1])

    @property
    def state(self) -> str:
        """A digest of what a score of this store depends on: its fingerprint and its current clips, or its snapshot."""
        plan = self.current()
        shards = [] if self.snapshot is None else plan.clips["checksum"].unique().to_pylist()
        return digest(self.mark.decode(), plan.clips_digest, *shards)

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

    def current(self) -> Plan:
        """The clips of the current plan, or of the snapshot that this store was opened with."""
        if self.snapshot is not None:
            return self._plan_in(f"snapshots/{self.snapshot}.parquet")
        name = self._current_name()
        return Plan.empty() if name is None else self._plan_in(_plan_file(name))

    def holdings(self, wanted: Groups) -> tuple[list[Holding], pa.Table]:
        """Where the clips of `wanted`, as `Plan.groups` has them, are read from, and those that no shard holds."""
        if self.snapshot is not None:
            return [Holding(name, clips) for name, clips in wanted], Plan.empty().clips
        return find_holdings(self.files, wanted)

    def regroup(self, shards: Mapping[Pair, str]) -> None:
        """Say in which shards clips are from now on; the current plan stays the same otherwise."""
        name = self._current_name()
        if name is not None and shards:
            self.files.replace(_plan_file(name), self.current().regrouped(shards).clips, COMPRESSION)

    def _create(self, shard: Shard, table: pa.Table) -> None:
        if pairs_of(table) != list(shard.clips):
            raise StoreError(f"{self.folder}: the rows of shard {shard.name} are not those of its clips, in their order")
        self.files.check_settings()
        self.files.create(shard_file(shard.name), table)

    def _made_plan(self, clips: Sequence[Clip], shard_size: int) -> Plan:
        name = self._current_name()
        there = name is not None and self.folder.exists(_plan_file(name))
        before = self.current() if there else Plan.empty()
        finished = set(self.files.shard_names())
        others = finished - {name for name, _ in before.groups}
        held = {pair for other in others for pair in self.files.pairs(other)}
        return make_plan(clips, shard_size, before, finished, held)

    def _plan_in(self, file: str) -> Plan:
        """A plan is replaced when shards are compacted; its checksum tells whether the one in memory still is the one there."""
        try:
            told = self.files.told_checksum(file)
            if self._known is None or self._known[:2] != (file, told):
                self._known = file, told, self.files.read_plan(file)
        except FileNotFoundError:
            raise StoreError(f"{self.folder}/{file}: no such file") from None
        return self._known[2]

    def _current_name(self) -> str | None:
        try:
            (text,) = self.folder.read(["plan.json"])
        except FileNotFoundError:
            return None
        try:
            name: str | None = json.loads(text).get("plan")
        except ValueError as error:
            raise StoreError(f"{self.folder}/plan.json: damaged ({error}); delete it and run `motive index` again") from None
        return name

    def _file_of(self, holding: Holding) -> str:
        if self.snapshot is None:
            return shard_file(holding.shard)
        for file in (shard_file(holding.shard), kept_file(holding.shard)):
            try:
                if self.files.told_checksum(file) == holding.clips["checksum"][0].as_py():
                    return file
            except FileNotFoundError:
                continue
        raise StoreError(f"{self.folder}: snapshot {self.snapshot} needs shard {holding.shard}, which is gone or another one")

    def _drop_strays(self, held: Sequence[Holding], missing: pa.Table) -> None:
        """Drop rows that are in a finished shard already: their worker was killed before it could."""
        strays = {f"rows/{name}" for name in self.folder.names("rows")} - set(map(row_file, pairs_of(missing)))
        if strays:
            strays &= {row_file(pair) for holding in held for pair in pairs_of(holding.clips)}
            self.folder.remove(strays)


def _plan_file(name: str) -> str:
    return f"plans/{name}.parquet"
