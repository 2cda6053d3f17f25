"""Which finished shard each clip of a plan is read from."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from motive.attribution.plan import Plan
from motive.attribution.shards import WHEREABOUTS, pairs_of
from motive.attribution.store_files import REPAIR, StoreFiles
from motive.errors import StoreError


@dataclass(frozen=True)
class Holding:
    """A finished shard, and the clips that are read from it, as rows of a plan."""

    shard: str
    clips: pa.Table


Groups = Sequence[tuple[str, pa.Table]]
"""Shards by name and their clips, as `Plan.groups`."""


def find_holdings(files: StoreFiles, wanted: Groups) -> tuple[list[Holding], pa.Table]:
    """Where the `wanted` clips are, and those that no shard holds.

    A planned shard holds what was planned for it, and needs no look inside. Only for clips whose own shard is not there are
    the shards searched that no plan names: made for another plan, copied from elsewhere, or compacted.
    """
    there = set(files.shard_names())
    found = [Holding(name, clips) for name, clips in wanted if name in there]
    rest = pa.concat_tables([Plan.empty().clips, *(clips for name, clips in wanted if name not in there)]).combine_chunks()
    others = sorted(there - {name for name, _ in wanted})
    if not len(rest) or not others:
        return found, rest
    lacking = {pair: n for n, pair in enumerate(pairs_of(rest))}
    for other in others:
        try:
            pairs = files.pairs(other)
        except FileNotFoundError:
            continue
        rows = [lacking.pop(pair) for pair in pairs if pair in lacking]
        if rows:
            found.append(Holding(other, rest.take(rows)))
    return found, rest.take(pa.array(sorted(lacking.values()), pa.int64()))


def read_holding(files: StoreFiles, file: str, clips: pa.Table, columns: Sequence[str] | None) -> pa.Table:
    """The rows of `clips` in `file`, in their order, with whereabouts as the plan has them; raises FileNotFoundError."""
    wanted = files.schema.names if columns is None else list(columns)
    table = files.read(file, list(dict.fromkeys([*wanted, "id", "key"])))
    if not (table["id"].equals(clips["id"]) and table["key"].equals(clips["key"])):
        places = {pair: n for n, pair in enumerate(pairs_of(table))}
        rows = [places.get(pair) for pair in pairs_of(clips)]
        if None in rows:
            raise StoreError(f"{files.folder}/{file}: lacks clips that it should hold; {REPAIR}")
        table = table.take(pa.array(rows, pa.int64()))
    for column in set(WHEREABOUTS) & set(wanted):
        table = table.set_column(table.schema.get_field_index(column), table.schema.field(column), clips[column])
    return table.select(wanted)
