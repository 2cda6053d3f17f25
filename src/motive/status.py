"""How far a run is, from its files alone: its stores, and what its workers say of themselves (see attribution.notes)."""

import time
from collections import Counter
from dataclasses import dataclass

from motive.attribution.notes import Note, read_notes
from motive.attribution.run_stores import WHICH, store_place
from motive.attribution.store import Store
from motive.config import Config, stage_config
from motive.errors import StoreError
from motive.progress import duration

SILENT = 120.0
"""Seconds without a word after which a worker counts as lost, or eight times what a clip takes it, if that is more."""

COMMON = 5
"""Reasons of failures that are told."""


@dataclass(frozen=True)
class StoreStatus:
    """A store: how many clips its plan holds, how many have a durable row (in finished shards and beside them), how many of
    those in finished shards have no feature, and the commonest reasons for it."""

    name: str
    clips: int
    done: int
    failed: int
    left_out: int
    reasons: list[tuple[str, int]]


@dataclass(frozen=True)
class Status:
    """stores: of every stage. workers: those that have said something within a day. rate: clips a second of those at work.
    pure: share of their time spent in forward and backward passes. left: seconds until all is done at this rate, None if
    nobody is at work."""

    stores: list[StoreStatus]
    workers: list[Note]
    silent: list[str]
    rate: float
    pure: float | None
    left: float | None


def status(config: Config) -> Status:
    """Raises StoreError if nothing has begun there."""
    stages = [*(stage_config(config, number) for number in range(1, len(config.cascade) + 1)), config]
    stores, notes = [], []
    for stage in stages:
        notes += read_notes(stage.out / "workers")
        for which in WHICH:
            try:
                store = Store.open(store_place(stage, which))
            except StoreError:
                continue
            stores.append(_store(store, which if stage is config else f"{stage.out.name}/{which}"))
    if not stores:
        raise StoreError(f"{config.out}: nothing has begun here; run `motive index` first")
    now = time.time()
    silent = [note.worker for note in notes if not note.ended and now - note.updated > _patience(note)]
    working = [note for note in notes if not note.ended and note.worker not in silent]
    rate = sum(sum(note.done.values()) / max(note.updated - note.started, 1e-9) for note in working)
    spent = sum(note.updated - note.started for note in working)
    missing = sum(store.clips - store.done for store in stores)
    return Status(
        stores=stores,
        workers=notes,
        silent=silent,
        rate=rate,
        pure=sum(note.seconds.get("attributing", 0.0) for note in working) / spent if spent else None,
        left=missing / rate if rate else None,
    )


def told(found: Status) -> list[str]:
    """The same in lines."""
    lines = []
    for store in found.stores:
        apart = [f"{count} {name}" for count, name in ((store.failed, "failed"), (store.left_out, "left out")) if count]
        lines.append(f"{store.name}: {store.done} of {store.clips} clips{''.join(f', {words}' for words in apart)}")
        lines += [f"  {count} x {reason}" for reason, count in store.reasons]
    for note in found.workers:
        state = "done" if note.ended else "LOST" if note.worker in found.silent else note.doing
        rows, ago = sum(note.done.values()), duration(max(0.0, time.time() - note.updated))
        lines.append(f"worker {note.worker} on {note.device}: {state}, {rows} clips ({note.failed} failed), heard {ago} ago")
    if found.left is not None and found.pure is not None:
        lines.append(
            f"{found.rate * 3600:,.0f} clips an hour, {found.pure:.0%} of the time in forward and backward passes; "
            f"{duration(found.left)} left"
        )
    elif any(store.done < store.clips for store in found.stores):
        lines.append("nobody is at work; `motive index` goes on from here")
    return lines


def _store(store: Store, name: str) -> StoreStatus:
    plan = store.current()
    clips = len(plan.clips)
    missing = store.missing()
    rows = min(missing, len(store.folder.names("rows")))
    found = [row for row in store.rows(["status", "reason"]) if row["status"] != "ok"]
    reasons = Counter(row["reason"] for row in found)
    failed = sum(row["status"] == "failed" for row in found)
    return StoreStatus(name, clips, clips - missing + rows, failed, len(found) - failed, reasons.most_common(COMMON))


def _patience(note: Note) -> float:
    """Seconds that a worker may say nothing: a batch of a large model takes minutes."""
    rows = sum(note.done.values())
    each = (note.updated - note.started) / rows if rows else SILENT
    return max(SILENT, 8 * each)
