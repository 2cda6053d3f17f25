"""Writing a store: a million rows of 512 float32 by two processes at once, over one bare pyarrow writer of the same layout.

* the store: two processes, each with every second shard of one plan, through `Store.write_shard`: packing, checks, a checksum,
  a file aside that is synced, a name that is taken once, the folder synced.
* bare: one process that writes the same tables with `pyarrow.parquet.write_table` and syncs each file.

Both end when everything is durable. Ratio of rows a second; the goal is at least 0.7. The store is then read and counted.

    python benchmarks/writers.py --check
"""

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from motive.attribution.shards import add_features, describe_rows
from motive.attribution.store import Shard, Store
from motive.video.table import Clip

GOAL, DIM = 0.7, 512
FINGERPRINT = {"benchmark": "writers"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if the goal is missed")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--shard-size", type=int, default=8_192)
    parser.add_argument("--writers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="rounds, the two ways in turns; the fastest of each counts")
    parser.add_argument("--folder", type=Path, help="where to write, twice the size of the rows; by default a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        shards = plan(folder / "plan", options.rows, options.shard_size)
        seconds: dict[str, list[float]] = {"bare": [], "store": []}
        for _ in range(options.repeats):
            seconds["bare"].append(timed([shards], bare, folder / "bare"))
            halves = [shards[n :: options.writers] for n in range(options.writers)]
            seconds["store"].append(timed(halves, through_store, folder / "store"))
            check(folder / "store", options.rows)
            for done in ("bare", "store"):
                shutil.rmtree(folder / done)
    bare_rate, store_rate = (options.rows / min(seconds[way]) for way in ("bare", "store"))
    size = DIM * 4 / 1e6
    print(f"pyarrow {pa.__version__}, {options.rows:,} rows of {DIM} float32 in shards of {options.shard_size:,}\n")
    print("| figure | rows/s | MB/s of features | ratio | goal |\n|---|--:|--:|--:|---|")
    print(f"| one bare pyarrow writer, synced | {bare_rate:,.0f} | {bare_rate * size:,.0f} | | |")
    ratio = store_rate / bare_rate
    print(f"| {options.writers} store writers | {store_rate:,.0f} | {store_rate * size:,.0f} | {ratio:.2f} | at least {GOAL} |")
    print(f"\ngoal: {'met' if ratio >= GOAL else 'MISSED'}")
    sys.exit(1 if ratio < GOAL and options.check else 0)


def plan(folder: Path, rows: int, size: int) -> list[Shard]:
    """The shards of a store that is planned here and then only read for its plan."""
    return Store(folder, FINGERPRINT, DIM, "float32").plan([clip(n) for n in range(rows)], size)


def clip(n: int) -> Clip:
    return Clip(f"{n:016x}", f"{n:064x}", f"clips/{n}.mp4", "a caption of some length", None, f"{n:064x}", f"row {n}")


def timed(parts: list[list[Shard]], way: object, folder: Path) -> float:
    """Seconds from when all processes are ready until the last one is done."""
    folder.mkdir()
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(len(parts) + 1)
    workers = [context.Process(target=work, args=(way, folder, part, barrier)) for part in parts]
    for worker in workers:
        worker.start()
    barrier.wait()
    begin = time.perf_counter()
    barrier.wait()
    seconds = time.perf_counter() - begin
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    return seconds


def work(way: object, folder: Path, shards: list[Shard], barrier: Barrier) -> None:
    assert callable(way)
    rows = [rows_of(shard) for shard in shards]
    features = np.random.default_rng(0).normal(size=(max(map(len, rows)), DIM)).astype(np.float32)
    barrier.wait()
    way(folder, shards, rows, features)
    barrier.wait()


def rows_of(shard: Shard) -> pa.Table:
    """The plain columns of a shard's rows, as attribution leaves them; made before the clock starts."""
    clips = [clip(int(name, 16)) for name in shard.ids]
    facts = {"status": "ok", "frames": 81, "fps": 16.0, "label": "moving", "motion_mean": 1.5, "loss": 0.25, "codec": "h264"}
    return describe_rows(clips, [facts] * len(clips))


def through_store(folder: Path, shards: list[Shard], rows: list[pa.Table], features: np.ndarray) -> None:
    store = Store(folder, FINGERPRINT, DIM, "float32")
    for shard, table in zip(shards, rows, strict=True):
        store.write_shard(shard, table, features[: len(table)])


def bare(folder: Path, shards: list[Shard], rows: list[pa.Table], features: np.ndarray) -> None:
    schema = pa.schema([*rows[0].schema, pa.field("feature", pa.binary(4 * DIM))])
    for shard, table in zip(shards, rows, strict=True):
        whole = add_features(table, features[: len(table)], "float32", schema)
        with (folder / f"{shard.name}.parquet").open("wb") as file:
            pq.write_table(whole, file, compression="none", use_dictionary=False, write_statistics=False)
            file.flush()
            os.fsync(file.fileno())


def check(folder: Path, rows: int) -> None:
    """Every row is there, once."""
    files = list((folder / "shards").glob("*.parquet"))
    ids = pa.concat_tables(pq.read_table(file, columns=["id"]) for file in files)["id"]
    assert len(ids) == len(ids.unique()) == rows


if __name__ == "__main__":
    main()
