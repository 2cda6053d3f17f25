"""Snapshots: a store's clips and the shards that hold them, with checksums, under a name, to score against later.

A snapshot is a plan, so a store is read through it as through its current one. Shards that are compacted or tried again
after it was taken are kept for it. Deleting its file, and compacting, frees what only it needed.
"""

import re

import pyarrow as pa

from motive.attribution.plan import COMPRESSION
from motive.attribution.shards import encode
from motive.attribution.store import Store
from motive.attribution.store_files import REPAIR, shard_file
from motive.errors import StoreError
from motive.progress import Progress


def take_snapshot(store: Store, name: str, progress: Progress) -> int:
    """Write snapshots/<name>.parquet; how many clips it holds.

    Raises StoreError if there is one of that name, which never changes, or if clips are not attributed yet. Not to be done
    while the store is being compacted.
    """
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) is None:
        raise StoreError(f"{name!r} cannot name a snapshot: use letters, digits, '.', '_' and '-'")
    file = f"snapshots/{name}.parquet"
    plan = store.current()
    held, missing = store.holdings(plan.groups)
    if len(missing) or not held:
        what = f"{len(missing)} clips are not attributed yet" if held else "it holds no clips"
        raise StoreError(f"{store.folder}: {what}; run `motive index` to the end")
    parts = []
    with progress.steps(f"snapshot of {store.folder.name}", len(held)) as step:
        for holding in held:
            try:
                told = store.files.told_checksum(shard_file(holding.shard))
            except FileNotFoundError:
                raise StoreError(f"{store.folder}: it is being compacted; take the snapshot afterwards") from None
            if told is None:
                raise StoreError(f"{store.folder}/{shard_file(holding.shard)}: carries no checksum; {REPAIR}")
            parts.append(holding.clips.drop_columns(["shard"]))
            for column, value in (("shard", holding.shard), ("checksum", told)):
                parts[-1] = parts[-1].append_column(column, pa.array([value] * len(holding.clips), pa.string()))
            step()
    table = pa.concat_tables(parts).replace_schema_metadata(plan.clips.schema.metadata)
    if not store.folder.create(file, encode(table, COMPRESSION)):
        raise StoreError(f"{store.folder}: there is a snapshot {name}, and snapshots do not change; choose another name")
    return len(table)
