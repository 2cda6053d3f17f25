"""What attributing 1e6, 1e8 and 1e9 clips takes, from constants that are measured here; docs/scale.md is written from it.

* Stores: ten of a million synthetic features each (`--clips`, 1e7 rows) are planned, written, scored and counted one after the
  other, as ten processes that know nothing of each other would; their counts are added up to the exact cuts of the whole, and
  each votes with them. Core time, by the CPU clock: it does not depend on what else the machine does.
* Arithmetic of denoiser and VAE at 81 x 480 x 832, counted on the meta device: forward, backward, and forward again, since
  activations are recomputed.
* Decoding, tracking and masking of such a clip, in core seconds.

Seconds of a GPU are arithmetic over `--rate` times `--efficiency`, which are assumptions and are printed as such.

    python benchmarks/scale.py
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from gpu import TRUE, forward_flops
from numpy.typing import NDArray
from preparing import made, prepare
from synthetic import FINGERPRINT, features, make_clip, make_store, write_shard
from torch.utils.flop_counter import FlopCounterMode

from motive.attribution.influence import score
from motive.attribution.packing import layout
from motive.attribution.quantiles import Counts, between, locate, order_statistics, ranks_of_quantile
from motive.attribution.scores import Scores, load_scores
from motive.attribution.store import Store

KEEP, DIM, QUERIES, SHARD = 0.1, 512, 50, 65_536
POOLS = (1_000_000, 100_000_000, 1_000_000_000)
PREPARED = 4 * (16 + 1) * 21 * 60 * 104
"""Bytes of a clip's latents and mask."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=10_000_000)
    parser.add_argument("--part", type=int, default=1_000_000, help="clips of one store")
    parser.add_argument("--rate", type=float, default=989.0, help="TFLOP/s of a GPU in bfloat16 by its data sheet")
    parser.add_argument("--efficiency", type=float, default=0.4, help="share of it that forward and backward passes reach")
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.store:
        print(json.dumps(simulated(options.store, options.number, options.part)))
        return
    with tempfile.TemporaryDirectory() as name:
        found = whole(Path(name), options.clips, options.part)
        found["decode, track, mask: core s a clip"] = decoding(Path(name))
    for case in TRUE:
        found[f"attribution, {case.name}: TFLOP a clip"] = 4 * forward_flops(case) / 1e12
    found["VAE encoding: TFLOP a clip"] = encoding_flops() / 1e12
    print(f"torch {torch.__version__}, pyarrow {pa.__version__}; {options.clips:,} rows in stores of {options.part:,}\n")
    print("| constant | measured |\n|---|--:|")
    for what, figure in found.items():
        print(f"| {what} | {figure:,.4g} |")
    print(f"\nAssumed: {options.rate:g} TFLOP/s a GPU, of which {options.efficiency:.0%} is reached.\n")
    print(f"| clips | {' | '.join(f'{pool:.0e}' for pool in POOLS)} |\n|---|{'--:|' * len(POOLS)}")
    for what, each in costs(found, options.rate * options.efficiency).items():
        print(f"| {what} | {' | '.join(f'{each * pool:,.3g}' for pool in POOLS)} |")


def costs(found: dict[str, float], speed: float) -> dict[str, float]:
    """What one clip costs, in the units that are printed; `speed` in TFLOP/s."""
    core_hours = 1 / 3.6e9
    rows = {f"GPU hours, {case.name}": found[f"attribution, {case.name}: TFLOP a clip"] / speed / 3600 for case in TRUE}
    return rows | {
        "GPU hours, VAE encoding (at the same rate)": found["VAE encoding: TFLOP a clip"] / speed / 3600,
        "core hours, decoding, tracking, masking": found["decode, track, mask: core s a clip"] / 3600,
        "TB of prepared inputs, if kept": PREPARED / 1e12,
        "GB of plans": found["plan: bytes a clip"] / 1e9,
        "GB of shards, float32": (found["shard: bytes a clip beside the feature"] + 4 * DIM) / 1e9,
        "GB of shards, int8": (found["shard: bytes a clip beside the feature"] + layout("int8", DIM).itemsize) / 1e9,
        "GB of scores": found["scores: bytes a clip"] / 1e9,
        "core hours of a scan: score, count, vote": core_hours
        * sum(found[f"{step}: core us a clip"] for step in ("scoring", "counting", "voting")),
        "GB of memory to put all clips in order": found["ordering: bytes of memory a clip"] / 1e9,
    }


def whole(folder: Path, clips: int, part: int) -> dict[str, float]:
    """The ten stores; the counts of each are all that is brought together. The votes are compared with those of all scores
    at once where those fit."""
    numbers = range(clips // part)
    make_store(folder / "queries", "q", QUERIES, DIM)
    each = []
    for number in numbers:
        command = [sys.executable, __file__, "--store", str(folder), "--number", str(number), "--part", str(part)]
        each.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    opened = [load_scores(folder / f"scores-{number}.parquet") for number in numbers]
    names, (low, high, weight) = opened[0].facts.columns, ranks_of_quantile(clips, 1 - KEEP)
    with core_time() as counting:
        places = locate(sum_of(opened, names, None), (low, high))
        ends = order_statistics(places, sum_of(opened, names, places.bins))
    cuts = between(ends[:, 0], ends[:, 1], weight)
    for query in (0, QUERIES - 1):
        column = np.concatenate([scores.column(query) for scores in opened]).astype(np.float64)
        assert np.quantile(column, 1 - KEEP) == cuts[query], "counts of parts are not those of the whole"
    with core_time() as voting:
        tallied = [tally(scores, cuts) for scores in opened]
    votes, mean = (np.concatenate(one) for one in zip(*tallied, strict=True))
    before, kept = resident(), int(clips * KEEP + 0.5)
    order = np.lexsort((-mean, -votes.astype(np.int64)))
    ordering = resident() - before
    assert votes[order[kept - 1]] >= votes[order[kept]]
    found = {key: float(np.mean([one[key] for one in each])) for key in each[0]}
    return found | {
        "counting: core us a clip": counting() / clips * 1e6,
        "counts: MiB a store": Counts.of(QUERIES).counts.nbytes / 2**20,
        "voting: core us a clip": voting() / clips * 1e6,
        "ordering: bytes of memory a clip": (ordering + votes.nbytes + mean.nbytes) / clips,
    }


def simulated(folder: Path, number: int, clips: int) -> dict[str, float]:
    """One store of the whole, in a process of its own: planned, written, scored; then its shards are deleted."""
    place = folder / f"pool-{number}"
    store = Store(place, FINGERPRINT, DIM, "float32")
    listed = [make_clip(f"{number:x}", n) for n in range(clips)]
    with core_time() as planning:
        shards = store.plan(listed, SHARD)
    del listed
    plans = size(place / "plans")
    for n, shard in enumerate(shards):
        write_shard(place, store, shard, features(len(shard.clips), DIM, 1000 * number + n))
    pool, queries = Store.open(place), Store.open(folder / "queries")
    file = folder / f"scores-{number}.parquet"
    with core_time() as scoring:
        score(pool, queries, file, beside=["id"])
    rows = size(place / "shards") - clips * layout("float32", DIM).itemsize
    for shard in (place / "shards").iterdir():
        shard.unlink()
    return {
        "plan: bytes a clip": plans / clips,
        "planning: core us a clip": planning() / clips * 1e6,
        "shard: bytes a clip beside the feature": rows / clips,
        "scores: bytes a clip": file.stat().st_size / clips,
        "scoring: core us a clip": scoring() / clips * 1e6,
        "planning, writing and scoring a store: peak MiB": peak() / 2**20,
    }


def sum_of(opened: list[Scores], names: list[str], bins: NDArray[np.uint16] | None) -> Counts:
    total = Counts.of(len(names), bins)
    for scores in opened:
        counts = Counts.of(len(names), bins)
        for _, table in scores.blocks(names):
            for query, column in enumerate(table.columns):
                counts.add(query, column.to_numpy())
        total = total + counts
    return total


def tally(scores: Scores, cuts: NDArray[np.float64]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Votes and mean influence of a store's clips."""
    votes, mean = np.zeros(len(scores), np.uint8), np.zeros(len(scores), np.float32)
    for first, table in scores.blocks(scores.facts.columns):
        own = slice(first, first + len(table))
        for column, cut in zip(table.columns, cuts, strict=True):
            influence = column.to_numpy()
            votes[own] += influence > cut
            mean[own] += influence / len(cuts)
    return votes, mean


def decoding(folder: Path, repeats: int = 3) -> float:
    clip = made(folder / "clip.mp4")
    prepare(clip)
    with core_time() as spent:
        for _ in range(repeats):
            prepare(clip)
    return spent() / repeats


def encoding_flops() -> float:
    from diffusers import AutoencoderKLWan

    with torch.device("meta"):
        vae = AutoencoderKLWan().eval()
        video = torch.rand(1, 3, 81, 480, 832)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        vae.encode(video)
    return float(counter.get_total_flops())


@contextmanager
def core_time() -> Iterator[Callable[[], float]]:
    """Seconds of all this process's threads within the context, once it has been left."""
    spent = [time.process_time()]
    yield lambda: spent[1] - spent[0]
    spent.append(time.process_time())


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak() -> int:
    """Bytes that this process has had at most: `ru_maxrss` would also count the process that started this one."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) << 10


if __name__ == "__main__":
    main()
