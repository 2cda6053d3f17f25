"""Two stores, or two snapshots of one, compared: settings, clips, features."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from motive.attribution.store import Store
from motive.fingerprints import differences

SHOWN = 10_000
"""Clips whose features are compared number by number."""


@dataclass(frozen=True)
class Difference:
    """What differs between two stores; ids in order.

    settings: as `gradients.dim: stored 512, now 1024`, stored being here. only_here, only_there: clips. edited: clips in both
    whose file or caption is another one. statuses: the same clips, as `id: ok here, failed there`. changed: the same clips
    with features that are not equal to the last bit, and, for the first SHOWN of them, `cosines` between the two. Both are
    None if the features differ in length.
    """

    settings: list[str]
    only_here: list[str]
    only_there: list[str]
    edited: list[str]
    statuses: list[str]
    changed: list[str] | None
    cosines: dict[str, float] | None


@dataclass(frozen=True)
class _Known:
    key: str
    status: str
    feature: bytes | None


def compare(here: Store, there: Store) -> Difference:
    """Compare current clips, or those of snapshots; takes a hundred bytes a clip, whatever their features take."""
    ours, theirs = _read(here), _read(there)
    both = sorted(ours.keys() & theirs.keys())
    same = [name for name in both if ours[name].key == theirs[name].key]
    changed = [name for name in same if _differ(ours[name].feature, theirs[name].feature)] if here.dim == there.dim else None
    return Difference(
        settings=differences(here.fingerprint, there.fingerprint),
        only_here=sorted(ours.keys() - theirs.keys()),
        only_there=sorted(theirs.keys() - ours.keys()),
        edited=[name for name in both if ours[name].key != theirs[name].key],
        statuses=[
            f"{name}: {ours[name].status} here, {theirs[name].status} there"
            for name in same
            if ours[name].status != theirs[name].status
        ],
        changed=changed,
        cosines=None if changed is None else _cosines(here, there, changed[:SHOWN]),
    )


def describe_difference(found: Difference, shown: int = 10) -> list[str]:
    """In words, with up to `shown` examples of each kind."""
    kinds = [
        ("settings differ", found.settings),
        ("only in the first", found.only_here),
        ("only in the second", found.only_there),
        ("in both, with another file or caption", found.edited),
        ("with another status", found.statuses),
    ]
    lines = [line for what, found_ones in kinds if found_ones for line in _examples(what, found_ones, shown)]
    if found.changed is None or found.cosines is None:
        lines.append("features differ in length and are not compared")
    elif found.changed:
        examples = [f"{name}: cosine {found.cosines[name]:.6f}" for name in found.changed[:shown]]
        told = f"with other features, of which the least similar have cosine {min(found.cosines.values()):.6f}"
        lines += _examples(told, examples, shown, len(found.changed))
    return lines or ["no difference"]


def _examples(what: str, some: list[str], shown: int, count: int | None = None) -> list[str]:
    count = len(some) if count is None else count
    rest = [f"  and {count - shown} more"] if count > shown else []
    return [f"{count} {what}:", *(f"  {one}" for one in some[:shown]), *rest]


def _read(store: Store) -> dict[str, _Known]:
    known = {}
    for table in store.tables(["id", "key", "status", "feature"]):
        for row in table.to_pylist():
            feature = row["feature"]
            mark = None if feature is None else hashlib.blake2b(feature, digest_size=8).digest()
            known[row["id"]] = _Known(row["key"], row["status"], mark)
    return known


def _differ(one: bytes | None, other: bytes | None) -> bool:
    return one is not None and other is not None and one != other


def _cosines(here: Store, there: Store, names: list[str]) -> dict[str, float]:
    ours, theirs = _features(here, names), _features(there, names)
    lengths = {name: np.linalg.norm(ours[name]) * np.linalg.norm(theirs[name]) for name in names}
    return {name: float(ours[name] @ theirs[name] / lengths[name]) if lengths[name] else 0.0 for name in names}


def _features(store: Store, names: list[str]) -> dict[str, NDArray[np.float64]]:
    wanted = pa.array(names, pa.string())
    found: dict[str, NDArray[np.float64]] = {}
    for table in store.tables(["id", "feature"]) if names else ():
        some = table.filter(pc.is_in(table["id"], value_set=wanted))
        found |= zip(some["id"].to_pylist(), store.unpack(some).astype(np.float64), strict=True)
    return found
