"""Which clips of a store are current, and in which shard each is made: one table a manifest.

A plan follows from the manifest, the plan before it and what is finished; and once made, it stays. So whoever plans the same
clips, at the same time or later, on whatever machine, gets the same shards with the same numbers.
"""

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from motive.attribution.shards import WHEREABOUTS, Shard, pairs_of, shard_name, whereabouts
from motive.files import digest
from motive.video.table import Clip

Pair = tuple[str, str]
"""A clip as (id, key)."""

COLUMNS = ("id", "key", *WHEREABOUTS, "shard")
CLIPS = b"motive.clips"

COMPRESSION = "zstd"
"""Of plans, which are mostly text."""


@dataclass(frozen=True)
class Plan:
    """clips: a row a current clip, shard by shard and in order of id within one; id, key, where it lies, and `shard`, the name
    of the shard that it is made in or that holds it."""

    clips: pa.Table

    @classmethod
    def empty(cls) -> "Plan":
        """That of a store in which nothing is planned yet."""
        nothing = pa.table({name: pa.array([], pa.string()) for name in COLUMNS})
        return cls(nothing.replace_schema_metadata({CLIPS: digest()}))

    @cached_property
    def groups(self) -> list[tuple[str, pa.Table]]:
        """Shards by name, in order, and their clips."""
        if not len(self.clips):
            return []
        runs = pc.run_end_encode(self.clips["shard"].combine_chunks())
        ends = runs.run_ends.to_pylist()
        starts = [0, *ends[:-1]]
        return [
            (name, self.clips.slice(start, end - start))
            for name, start, end in zip(runs.values.to_pylist(), starts, ends, strict=True)
        ]

    @property
    def clips_digest(self) -> str:
        """Of ids and keys alone: it does not change when files move or shards are compacted."""
        told: bytes = self.clips.schema.metadata[CLIPS]
        return told.decode()

    def regrouped(self, groups: Mapping[Pair, str]) -> "Plan":
        """The same clips, those in `groups` in the shards that it names."""
        before = zip(pairs_of(self.clips), self.clips["shard"].to_pylist(), strict=True)
        return _arranged(self.clips, [groups.get(pair, name) for pair, name in before])


def manifest_name(clips: Sequence[Clip]) -> str:
    """Names a plan: the same for the same clips in the same places, whatever their order."""
    return digest(json.dumps([[clip.id, clip.key, *whereabouts(clip).values()] for clip in _in_order(clips)]))[:16]


def make_plan(clips: Sequence[Clip], size: int, before: Plan, finished: Set[str], held: Set[Pair]) -> Plan:
    """Plan `clips`: those that the plan before had stay in their shards; the rest is cut by `size` in order of id, what other
    finished shards do not hold first.

    finished: names of the shards that are there. held: clips in those of them that the plan before does not name.
    """
    ordered = _in_order(clips)
    current = {(clip.id, clip.key) for clip in ordered}
    named: dict[Pair, str] = {}
    for name, group in before.groups:
        stay = [pair for pair in pairs_of(group) if pair in current]
        # A finished shard keeps its name, whatever of it is still current; one still to be made is named by what it will hold.
        named |= dict.fromkeys(stay, name if name in finished else shard_name(stay))
    rest = [pair for pair in ((clip.id, clip.key) for clip in ordered) if pair not in named]
    for part in ([pair for pair in rest if pair not in held], [pair for pair in rest if pair in held]):
        for first in range(0, len(part), size):
            some = part[first : first + size]
            named |= dict.fromkeys(some, shard_name(some))
    rows = [{"id": clip.id, "key": clip.key, **whereabouts(clip)} for clip in ordered]
    table = pa.Table.from_pylist(rows, schema=pa.schema([(name, pa.string()) for name in COLUMNS[:-1]]))
    clips_digest = digest(*(part for clip in ordered for part in (clip.id, clip.key)))
    return _arranged(table.replace_schema_metadata({CLIPS: clips_digest}), [named[clip.id, clip.key] for clip in ordered])


def to_make(plan: Plan, missing: pa.Table) -> list[Shard]:
    """The shards that `missing`, those of the plan's clips that no shard holds, still have to be made in."""
    lacking = set(pairs_of(missing))
    todo = []
    for number, (_, group) in enumerate(plan.groups):
        clips = tuple(pair for pair in pairs_of(group) if pair in lacking) if lacking else ()
        if clips:
            todo.append(Shard(clips, number))
    return todo


def _in_order(clips: Sequence[Clip]) -> list[Clip]:
    return sorted({clip.id: clip for clip in clips}.values(), key=lambda clip: clip.id)


def _arranged(clips: pa.Table, named: Sequence[str]) -> Plan:
    """Shard by shard, these in order of their first clips."""
    ids = clips["id"].to_pylist()
    order = sorted(range(len(ids)), key=ids.__getitem__)
    first: dict[str, int] = {}
    for place, n in enumerate(order):
        first.setdefault(named[n], place)
    order.sort(key=lambda n: first[named[n]])
    table = clips.drop_columns(["shard"]) if "shard" in clips.column_names else clips
    table = table.append_column("shard", pa.array(named, pa.string()))
    return Plan(table.take(pa.array(order, pa.int64())).combine_chunks())
