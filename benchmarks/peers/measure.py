"""What all sides of `benchmarks/peers.py` share: the command line, the clock, the memory, and the one JSON line they print.

A side is run as `python NAME_side.py CASE VARIANT SEED THREADS`.
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from case import Examples, Transformer, read_examples, read_model
from torch import Tensor


@dataclass(frozen=True)
class Score:
    """What a library says of every pool example and query."""

    what: str
    """What is compared, in a few words."""
    values: list[list[float]]
    """[pool][queries]; a higher score is a better example."""
    projected: bool
    """Whether it is the cosine of projected gradients, as Motive's is."""


@dataclass(frozen=True)
class Measured:
    seconds: float
    """For the whole pool."""
    dim: str
    """Numbers kept of each example, D'."""
    batch: int
    """Examples given to the library at a time."""
    scores: list[Score]


Side = Callable[[Transformer, Examples, Examples, str, int], Measured]
"""A model, the pool, the queries, the variant's name and the seed of the projection to what was measured, after one example."""


def main(package: str, side: Side) -> None:
    """Measure one side in this process and print it as one line of JSON; `package` is the distribution that it is about."""
    file, variant, seed, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    pool, queries = read_examples(Path(file))
    before = resident("VmRSS")
    with redirect_stdout(sys.stderr):
        measured = side(read_model(Path(file)), pool, queries, variant, int(seed))
    peak = resident("VmHWM") - before
    print(json.dumps(asdict(measured) | {"version": version(package), "torch": torch.__version__, "memory": peak}))


def timed(function: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def cosines(pool: Tensor, queries: Tensor) -> list[list[float]]:
    """Cosines of the rows of [n, D] and [m, D], as [n][m]."""
    units = [torch.nn.functional.normalize(rows.double(), dim=1) for rows in (pool, queries)]
    return (units[0] @ units[1].T).tolist()


def resident(field: str) -> float:
    """VmRSS (now) or VmHWM (peak) of this process, MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise LookupError(field)
