"""Stores of features that no model has made: unit vectors around a direction that all share, with rows as a run writes them."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from motive.attribution.packing import Precision, layout
from motive.attribution.store import PLAIN_COLUMNS, Shard, Store
from motive.video.table import Clip

FINGERPRINT = {"gradients": {"projector": "fastfood"}, "model": {"trained": True}}
SHARD = 4096
"""Clips a shard."""


def make_store(folder: Path, letter: str, clips: int, dim: int, precision: Precision = "float32", shard: int = SHARD) -> Store:
    """A finished store of this many clips, shards as large as `shard`."""
    store = Store(folder, FINGERPRINT, dim, precision)
    planned = store.plan([make_clip(letter, n) for n in range(clips)], shard)
    for number, one in enumerate(planned):
        write_shard(folder, store, one, features(len(one.clips), dim, number))
    return store


def write_shard(folder: Path, store: Store, shard: Shard, drawn: NDArray[np.float32]) -> None:
    """A shard as the store writes it, from its features."""
    count = len(shard.clips)
    words = {
        "id": list(shard.ids),
        "key": [key for _, key in shard.clips],
        "name": [f"clips/{name}.mp4" for name in shard.ids],
        "path": [f"/data/pool/clips/{name}.mp4" for name in shard.ids],
        "caption": [
            f"A clip that shows something round and red as it falls, bounces and rolls away, {name}" for name in shard.ids
        ],
        "sha256": [key for _, key in shard.clips],
        "status": ["ok"] * count,
        "codec": ["h264"] * count,
        "label": ["moving"] * count,
        "extra": ["{}"] * count,
    }
    columns = []
    for name, kind in PLAIN_COLUMNS.items():
        if name in words:
            columns.append(pa.array(words[name], kind))
        elif name == "reason":
            columns.append(pa.nulls(count, kind))
        else:
            columns.append(pa.array(np.linspace(1, 2, count), pa.float64()).cast(kind, safe=False))
    size = layout(store.precision, store.dim).itemsize
    packed = pa.py_buffer(_packed(drawn, store.precision))
    columns.append(pa.FixedSizeBinaryArray.from_buffers(pa.binary(size), count, [None, packed]))
    file = folder / "shards" / f"{shard.name}.parquet"
    file.parent.mkdir(exist_ok=True)
    table = pa.Table.from_arrays(columns, schema=store.schema)
    pq.write_table(table, file, compression="none", use_dictionary=False, write_statistics=False)


def features(count: int, dim: int, seed: int) -> NDArray[np.float32]:
    """Unit float32 [count, dim]."""
    drawn = np.random.default_rng(seed).standard_normal((count, dim), np.float32)
    drawn[:, 0] += 3
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def read_features(store: Store, clips: int) -> NDArray[np.float32]:
    """All features of a store, float32 [clips, dim]."""
    found, first = np.empty((clips, store.dim), np.float32), 0
    for table in store.tables(["feature"]):
        found[first : first + len(table)] = store.unpack(table)
        first += len(table)
    return found


def _packed(drawn: NDArray[np.float32], precision: Precision) -> bytes:
    records = np.zeros(len(drawn), layout(precision, drawn.shape[1]))
    if precision == "int8":
        records["scale"] = np.abs(drawn).max(axis=1) / 127
        drawn = np.rint(drawn / records["scale"][:, None])
    records["numbers"] = drawn
    return records.tobytes()


def make_clip(letter: str, n: int) -> Clip:
    name = f"{letter}{n:015x}"
    key = hashlib.sha256(name.encode()).hexdigest()
    return Clip(name, key, f"clips/{name}.mp4", "", Path(f"/data/pool/clips/{name}.mp4"), key, "")
