"""Scoring a large pool from its store: 1e6 clips x 50 queries x 512.

* score and vote: from the store (in the page cache) to scores.parquet with ids, and to cuts, votes, means and order; over the
  same product, X @ Q.T, of float32 arrays in memory, in turns in one run. Goal: at most 3.
* memory of that, in a process of its own: peak resident size, less what the interpreter has after its imports. Goal: at most
  1 GiB.
* the same with shards that the page cache does not hold: no goal, it is the disk that is measured.
* all files: with the fourteen columns that stand beside the scores, and all that `motive select` writes. No goal.

    python benchmarks/scan.py --check
    python benchmarks/scan.py --features int8      # what the store keeps; the product beside it stays float32
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from synthetic import make_store, read_features

from motive.attribution.influence import score
from motive.attribution.scores import DESCRIBING
from motive.attribution.selection import Selection, select
from motive.attribution.selection_files import save_selection
from motive.attribution.store import Store

RATIO_GOAL, MEMORY_GOAL = 3.0, 1 << 30
KEEP = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    parser.add_argument("--clips", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--features", choices=("float32", "float16", "int8"), default="float32")
    parser.add_argument("--shard", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--part", choices=("time", "memory"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        found = timed(options.folder, options.clips, options.repeats) if options.part == "time" else peak(options.folder)
        print(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as name:
        # In processes of their own: making the stores leaves this one large.
        folder = Path(name)
        for which, count in (("pool", options.clips), ("queries", options.queries)):
            make_store(folder / which, which[0], count, options.dim, options.features, options.shard)
        common = ["--folder", name, "--clips", str(options.clips), "--repeats", str(options.repeats)]
        parts = [
            json.loads(
                subprocess.run([sys.executable, __file__, *common, "--part", part], check=True, capture_output=True).stdout
            )
            for part in ("memory", "time")
        ]
    found = parts[0] | parts[1]
    ratio = found["scan"] / found["product"]
    missed = ratio > RATIO_GOAL or found["peak"] > MEMORY_GOAL
    what = f"{options.clips:,} clips x {options.queries} queries x {options.dim}"
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; {what}, {options.features}, {options.shard} a shard\n"
    )
    print("| figure | measured | goal |\n|---|--:|---|")
    print(f"| the product in memory, float32, s | {found['product']:.3f} | |")
    print(f"| score and vote, s | {found['scan']:.3f} | |")
    print(f"| of it scoring, s | {found['score']:.3f} | |")
    print(f"| score and vote / product | {ratio:.2f} | at most {RATIO_GOAL:g} |")
    print(f"| memory of score and vote, MiB | {found['peak'] / 2**20:.0f} | at most {MEMORY_GOAL / 2**20:.0f} |")
    print(f"| score and vote, shards not in the page cache, s | {found['cold']:.3f} | |")
    print(f"| score and select with all columns and files, s | {found['files']:.1f} | |")
    print(f"| its memory, MiB | {found['peak of files'] / 2**20:.0f} | |")
    print(f"\ngoals: {'MISSED' if missed else 'met'}")
    sys.exit(1 if missed and options.check else 0)


def scan(folder: Path) -> Selection:
    pool, queries = (Store.open(folder / which) for which in ("pool", "queries"))
    return select(score(pool, queries, folder / "scores.parquet", beside=["id"]), KEEP)


def everything(folder: Path) -> None:
    pool, queries = (Store.open(folder / which) for which in ("pool", "queries"))
    scores = score(pool, queries, folder / "scores.parquet", beside=DESCRIBING)
    save_selection(select(scores, KEEP), scores, folder / "files")


def timed(folder: Path, clips: int, repeats: int) -> dict[str, float]:
    pool, queries = (Store.open(folder / which) for which in ("pool", "queries"))
    asked = read_features(queries, len(queries.rows(["id"])))
    product, whole, part = in_turns(folder, read_features(pool, clips), asked, repeats)
    _forget(folder / "pool" / "shards")
    return {"product": product, "scan": whole, "score": part, "cold": _seconds(lambda: scan(folder))}


def in_turns(folder: Path, features: NDArray[np.float32], asked: NDArray[np.float32], repeats: int) -> list[float]:
    """Seconds of the product, of scoring and voting, and of scoring alone; the fastest of each."""
    pool, queries = (Store.open(folder / which) for which in ("pool", "queries"))
    ways: tuple[Callable[[], object], ...] = (
        lambda: features @ asked.T,
        lambda: scan(folder),
        lambda: score(pool, queries, folder / "scores.parquet", beside=["id"]),
    )
    _check(folder, features @ asked.T)
    fastest: list[float] = np.min([[_seconds(way) for way in ways] for _ in range(repeats)], axis=0).tolist()
    return fastest


def peak(folder: Path) -> dict[str, float]:
    before = _memory("VmRSS")
    scan(folder)
    scanned = _memory("VmHWM") - before
    files = _seconds(lambda: everything(folder))
    return {"peak": scanned, "files": files, "peak of files": _memory("VmHWM") - before}


def _check(folder: Path, influence: NDArray[np.float32]) -> None:
    """What was timed is right: the scores, the cuts to the bit, and the votes."""
    selection = scan(folder)
    pool, queries = (Store.open(folder / which) for which in ("pool", "queries"))
    scores = score(pool, queries, folder / "scores.parquet", beside=["id"])
    votes = np.zeros(len(scores), np.int64)
    for query in range(influence.shape[1]):
        column = scores.column(query)
        assert np.abs(column - influence[:, query]).max() < 1e-5
        cut = np.quantile(column.astype(np.float64), 1 - KEEP)
        assert cut == selection.cuts[query]
        votes += column > cut
    assert np.array_equal(votes, selection.votes)


def _forget(shards: Path) -> None:
    """Take files out of the page cache."""
    for path in shards.iterdir():
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def _memory(field: str) -> int:
    """Bytes that this process has, or has had at most: `ru_maxrss` would also count the process that started this one."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) << 10


def _seconds(way: Callable[[], object]) -> float:
    begin = time.perf_counter()
    way()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
