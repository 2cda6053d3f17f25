"""Looking after a store: is all there as it was written, and many small shards made into few large ones."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from motive.attribution.holdings import Holding
from motive.attribution.plan import Pair
from motive.attribution.shards import decode, pairs_of, shard_name
from motive.attribution.store import Store
from motive.attribution.store_files import kept_file, row_file, shard_file
from motive.errors import StoreError
from motive.progress import Progress

PLACES = ("shards", "kept", "rows", "plans", "snapshots")
"""Folders of a store whose files carry checksums."""


@dataclass(frozen=True)
class Verified:
    """What a store holds, and what is wrong with it.

    shards, rows: how many there are, those of clips that are no longer current included. clips: current ones; missing: those
    that no shard holds; statuses: of the others; repeated: current clips that are in several shards, which are read once.
    damaged: file by name, and why it cannot be used.
    """

    shards: int
    rows: int
    clips: int
    missing: int
    statuses: dict[str, int]
    repeated: int
    damaged: dict[str, str]


@dataclass(frozen=True)
class Compacted:
    """How many shards there were before and after."""

    before: int
    after: int


def verify(store: Store, progress: Progress) -> Verified:
    """Read every file of a store and compare it with its checksum, its name, the fingerprint and the plan."""
    damaged: dict[str, str] = {}
    held: Counter[Pair] = Counter()
    good: dict[Pair, str] = {}
    names = [f"{place}/{name}" for place in PLACES for name in store.folder.names(place)]
    files = [name for name in names if name.endswith(".parquet")]
    with progress.steps(f"verifying {store.folder.name}", len(files)) as step:
        for file in files:
            try:
                table = _checked(store, file)
            except FileNotFoundError:
                pass  # compacted, or finished, meanwhile
            except (StoreError, pa.ArrowException) as error:
                damaged[file] = str(error)
            else:
                if file.startswith("shards/"):
                    held.update(pairs_of(table))
                    good |= zip(pairs_of(table), table["status"].to_pylist(), strict=True)
            step()
    try:
        current = pairs_of(store.current().clips)
    except StoreError as error:
        damaged.setdefault("plan.json", str(error))
        current = []
    return Verified(
        shards=sum(file.startswith("shards/") for file in files),
        rows=held.total(),
        clips=len(current),
        missing=sum(pair not in held for pair in current),
        statuses=dict(Counter(good[pair] for pair in current if pair in good)),
        repeated=sum(held[pair] > 1 for pair in current),
        damaged=damaged,
    )


def remove_damaged(store: Store, damaged: Iterable[str]) -> None:
    """Delete the files that `verify` found damaged, so that `motive index` makes them again."""
    store.folder.remove(damaged)


def compact(store: Store, rows: int, progress: Progress) -> Compacted:
    """Make larger shards, of about `rows` rows, of those that current clips are read from, and take the small ones out.

    Readers and writers may be at work meanwhile. The new shards are written first, then the plan names them, and only then
    the old ones go: a kill at any moment loses nothing, and compacting again ends the work. Rows of clips that are no longer
    current move along. Raises StoreError if a shard is damaged, or another process compacts; nothing is then lost either.
    """
    before = len(store.files.shard_names())
    groups = list(_groups(store, rows))
    moved: dict[Pair, str] = {}
    with progress.steps(f"compacting {store.folder.name}", sum(map(len, groups))) as step:
        for group in groups:
            tables: list[pa.Table] = []
            taken: set[Pair] = set()
            for holding in group:
                tables.append(_rows_of(store, holding.shard, taken))
                step()
            merged = pa.concat_tables(tables)
            merged = merged.take(pc.sort_indices(merged, sort_keys=[("id", "ascending"), ("key", "ascending")]))
            name = shard_name(pairs_of(merged))
            store.files.create(shard_file(name), merged)
            moved |= {pair: name for holding in group for pair in pairs_of(holding.clips)}
    store.regroup(moved)
    try:
        store.files.drop_shards(_superfluous(store))
    except FileNotFoundError as error:
        raise StoreError(f"{store.folder}: another process compacts this store ({error}); compact again") from None
    needed = store.files.shards_of_snapshots()
    store.folder.remove(f"kept/{name}" for name in store.folder.names("kept") if name.removesuffix(".parquet") not in needed)
    return Compacted(before, len(store.files.shard_names()))


def _checked(store: Store, file: str) -> pa.Table:
    """The table in a file; raises StoreError with what is wrong with it."""
    (data,) = store.folder.read([file])
    table = decode(data)
    if file.startswith(("plans/", "snapshots/")):
        return table
    if not table.schema.equals(store.schema, check_metadata=True):
        raise StoreError("it was made with another fingerprint, or has other columns")
    pairs = pairs_of(table)
    if file not in (shard_file(shard_name(pairs)), kept_file(shard_name(pairs)), *map(row_file, pairs[:1])):
        raise StoreError("it does not hold the clips that it is named for")
    if not pc.equal(table["status"], "ok").equals(table["feature"].is_valid()):
        raise StoreError("a row that is ok lacks its feature, or another one has one")
    return table


def _groups(store: Store, rows: int) -> Iterator[list[Holding]]:
    """Shards to be made one, in order of the plan. One that is planned as it is and large enough is left as it is."""
    planned = {name for name, _ in store.current().groups}
    group: list[Holding] = []
    for holding in store.holdings(store.current().groups)[0]:
        if holding.shard in planned and len(holding.clips) >= rows:
            continue
        group.append(holding)
        if sum(len(some.clips) for some in group) >= rows:
            yield group
            group = []
    if len(group) > 1 or any(holding.shard not in planned for holding in group):
        yield group


def _rows_of(store: Store, shard: str, taken: set[Pair]) -> pa.Table:
    """The rows of a shard, checked, but for those that are taken already, to which they are added."""
    try:
        (table,) = store.files.read_whole([shard_file(shard)])
    except FileNotFoundError:
        raise StoreError(f"{store.folder}: shard {shard} is gone; another process compacts this store") from None
    pairs = pairs_of(table)
    fresh = pa.array([pair not in taken for pair in pairs], pa.bool_())
    taken.update(pairs)
    return table.filter(fresh)


def _superfluous(store: Store) -> list[str]:
    """Shards that the plan does not name, and whose every row is in one that it names."""
    there = set(store.files.shard_names())
    planned = there & {name for name, _ in store.current().groups}
    others = sorted(there - planned)
    held = {pair for name in planned for pair in store.files.pairs(name)} if others else set()
    return [name for name in others if held.issuperset(store.files.pairs(name))]
