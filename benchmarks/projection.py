"""The cost of the default projector, Fastfood: beside one read of the gradient, and beside other projectors.

    python benchmarks/projection.py --check

Every comparison is made within one run, on one torch thread, with the two sides timed in turn. What a projector can keep
from one gradient to the next (its tables, the layout of the parameters) is made before the clock starts, on every side.
TRAK, dattri and bergson are timed where they can be imported; `pip install traker dattri bergson` brings them.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from motive.gradients.projection import Fastfood

DIM = 512
READ_SIZE = 100_000_000
VERSUS_SIZE = 10_000_000
COSINE_SIZE = QUICK_SIZE = 1_000_000
COSINE_PAIRS = 36
CPU = torch.device("cpu")

READS = 3.0
"""Goal: at most this many times one read of the gradient."""
MEMORY = 32.0
"""Goal: at most this many MiB beyond the gradient."""
SPEEDUP = 1000.0
"""Goal: at least this many times faster than the projector each other library uses by default on a CPU."""
COSINE = 1.25 / DIM**0.5
"""Goal: at most this root mean square error of a cosine."""


@dataclass(frozen=True)
class Goal:
    name: str
    value: str
    passed: bool | None
    """None where there is nothing to judge: a speed in a quick run, a library that is not installed."""

    @property
    def verdict(self) -> str:
        return "-" if self.passed is None else "PASS" if self.passed else "MISS"


@dataclass(frozen=True)
class Comparison:
    name: str
    judged: bool
    """Whether the speed goal is about this one: it is what its library does unless told otherwise."""
    seconds: float | None
    """None where it is not installed."""
    own: float
    """Seconds of the project's own projector, timed just before and just after."""

    @property
    def ratio(self) -> float | None:
        return None if self.seconds is None else self.seconds / self.own


def clock(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def seconds(function: Callable[[], object], enough: float = 5.0) -> float:
    """The median of up to three runs; no further run is started once `enough` seconds have gone."""
    times = [clock(function)]
    while len(times) < 3 and sum(times) < enough:
        times.append(clock(function))
    return median(times)


def normal(size: int, seed: int) -> Tensor:
    return torch.empty(size).normal_(generator=torch.Generator().manual_seed(seed))


# The project's own.


def project(projector: Fastfood, vector: Tensor) -> Tensor:
    accumulator = torch.zeros(projector.width)
    projector.add(accumulator, "gradient", vector)
    return projector.finish(accumulator)


def own(vector: Tensor, dim: int) -> Callable[[], Tensor]:
    """One projection by the project's own projector, in the steady state."""
    run = partial(project, Fastfood(dim, 0, CPU), vector)
    run()
    return run


def against_one_read(size: int, repeats: int) -> tuple[list[float], list[float]]:
    """Seconds of `repeats` projections and of as many sums of the same vector, taken in turn."""
    vector = normal(size, 0)
    run = own(vector, DIM)
    torch.sum(vector)
    pairs = [(clock(run), clock(partial(torch.sum, vector))) for _ in range(repeats)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def status(key: str) -> int:
    """A line of the kernel's account of this process, in bytes, e.g. VmRSS."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) * 1024


def memory_here(size: int) -> int:
    """Bytes by which the peak of this process rises from just before a projector is made to just after its first feature."""
    vector = normal(size, 0)
    with suppress(OSError):  # Without the reset an earlier peak would count too: a stricter measurement.
        Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    project(Fastfood(DIM, 0, CPU), vector)
    return status("VmHWM") - before


def memory(size: int) -> int | None:
    """`memory_here`, in a fresh process; None where the system does not tell."""
    if not Path("/proc/self/status").exists():
        return None
    command = [sys.executable, str(Path(__file__).resolve()), "--memory-here", str(size)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def cosine_error() -> float:
    """Root mean square error of projected cosines over pairs of correlated vectors, each with a projector of its own."""
    squares = []
    for pair in range(COSINE_PAIRS):
        correlation = 0.6 * pair / (COSINE_PAIRS - 1)
        a, other = normal(COSINE_SIZE, 2 * pair), normal(COSINE_SIZE, 2 * pair + 1)
        b = correlation * a + (1 - correlation**2) ** 0.5 * other
        projector = Fastfood(DIM, pair, CPU)
        error = cosine(project(projector, a), project(projector, b)) - cosine(a, b)
        squares.append(error**2)
    return (sum(squares) / len(squares)) ** 0.5


def cosine(a: Tensor, b: Tensor) -> float:
    return torch.nn.functional.cosine_similarity(a.double(), b.double(), dim=0).item()


# The others. Each takes the vector and D' and gives the seconds of one projection; ImportError: not installed.


def full_fastfood(vector: Tensor, dim: int) -> float:
    """Fastfood as it was published, S H G Pi H B over the whole vector padded to a power of two, with `dim` rows kept."""
    draw = torch.Generator().manual_seed(0)
    length = 1 << (vector.numel() - 1).bit_length()
    signs = torch.randint(0, 2, (length,), generator=draw, dtype=torch.int8).float().mul_(2).sub_(1)
    gaussian = normal(length, 1)
    permutation = torch.randperm(length, generator=draw)
    rows = torch.full((dim,), 1 / (length * dim) ** 0.5)  # sqrt(chi-square) over |G|, nearly 1 at this length

    def run() -> Tensor:
        y = torch.zeros(length)
        torch.mul(vector, signs[: vector.numel()], out=y[: vector.numel()])
        walsh_hadamard(y)
        y = y[permutation].mul_(gaussian)
        walsh_hadamard(y)
        return y[:dim] * rows

    return seconds(run)


def walsh_hadamard(y: Tensor) -> None:
    """In place and unnormalised, by log2(n) passes of butterflies."""
    half = 1
    while half < y.numel():
        upper, lower = y.view(-1, 2, half).unbind(1)
        upper += lower
        torch.sub(upper, lower, alpha=2, out=lower)
        half *= 2


def dense_gaussian(vector: Tensor, dim: int) -> float:
    """N(0, 1 / D'), too large to keep: drawn anew for every gradient, a block of rows at a time."""
    draw = torch.Generator().manual_seed(0)

    def run() -> Tensor:
        feature = torch.zeros(dim)
        for part in vector.split(1 << 12):
            feature += part @ torch.randn(part.numel(), dim, generator=draw)
        return feature / dim**0.5

    return seconds(run)


def trak(vector: Tensor, dim: int, kind: str) -> float:
    from trak.projectors import BasicProjector

    projector = BasicProjector(grad_dim=vector.numel(), proj_dim=dim, seed=0, proj_type=kind, device=CPU)
    return seconds(lambda: projector.project(vector[None], model_id=0))


def dattri(vector: Tensor, dim: int, kind: str) -> float:
    from dattri.func.projection import random_project

    run = random_project(vector[None], 1, dim, proj_max_batch_size=32, proj_seed=0, proj_type=kind, device="cpu")
    return seconds(lambda: run(vector[None]))


def bergson(vector: Tensor, dim: int, kind: str) -> float:
    from bergson.collector.collector import project_global

    return seconds(lambda: project_global("gradient", vector[None], dim, kind))


OTHERS: dict[str, dict[str, tuple[Callable[[Tensor, int], float], bool]]] = {
    "full-fastfood": {"full-length Fastfood": (full_fastfood, False)},
    "dense": {"dense Gaussian, in blocks": (dense_gaussian, False)},
    "trak": {
        "TRAK normal (default)": (partial(trak, kind="normal"), True),
        "TRAK rademacher": (partial(trak, kind="rademacher"), False),
    },
    "dattri": {
        "dattri normal (default)": (partial(dattri, kind="normal"), True),
        "dattri rademacher": (partial(dattri, kind="rademacher"), False),
    },
    "bergson": {
        "bergson rademacher (default)": (partial(bergson, kind="rademacher"), True),
        "bergson normal": (partial(bergson, kind="normal"), False),
    },
}
"""What each name of `--only` runs: by title, the function, and whether the speed goal is about it."""


def against_others(names: list[str], size: int, repeats: int) -> list[Comparison]:
    vector = normal(size, 0)
    run = own(vector, DIM)
    comparisons = []
    for title, (function, judged) in [item for name in names for item in OTHERS[name].items()]:
        times = [clock(run) for _ in range(repeats)]
        taken: float | None = None
        with suppress(ImportError):
            taken = function(vector, DIM)
        times += [clock(run) for _ in range(repeats)]
        comparisons.append(Comparison(title, judged, taken, median(times)))
    return comparisons


# The report.


def report(chosen: list[str], quick: bool) -> tuple[list[Goal], dict[str, Any]]:
    """Run what is chosen, printing as it goes; the goals met and missed, and every number."""
    numbers: dict[str, Any] = {"machine": machine(), "quick": quick}
    goals: list[Goal] = []
    print(*(f"{key} {value}" for key, value in numbers["machine"].items()), sep=", ")
    if "own" in chosen:
        size = QUICK_SIZE if quick else READ_SIZE
        mine, read = against_one_read(size, 5 if quick else 25)
        ratio = median(mine) / median(read)
        rows = [
            (name, *(f"{1e3 * f(times):.2f}" for f in (min, median))) for name, times in (("fastfood", mine), ("sum", read))
        ]
        print_table([(f"D = {size:,}, D' = {DIM}", "min ms", "median ms"), *rows])
        extra, error = memory(size), cosine_error()
        goals += [
            Goal(f"time over one read <= {READS:g}", f"{ratio:.2f}", None if quick else ratio <= READS),
            Goal(f"memory beyond the gradient <= {MEMORY:g} MiB", *judge_memory(extra)),
            Goal(f"rmse of {COSINE_PAIRS} cosines <= {COSINE:.4f}", f"{error:.4f}", error <= COSINE),
        ]
        numbers |= {"fastfood_s": mine, "sum_s": read, "time_over_read": ratio, "memory_bytes": extra, "cosine_rmse": error}
    if others := [name for name in OTHERS if name in chosen]:
        size = QUICK_SIZE if quick else VERSUS_SIZE
        comparisons = against_others(others, size, 5 if quick else 15)
        rows = [(c.name, *fields(c)) for c in comparisons]
        print_table([(f"D = {size:,}, D' = {DIM}", "seconds", "fastfood ms beside it", "times slower"), *rows])
        goals += [
            Goal(f"{c.name}: >= {SPEEDUP:g} times slower", fields(c)[-1], None if quick or not c.ratio else c.ratio >= SPEEDUP)
            for c in comparisons
            if c.judged
        ]
        numbers["others"] = [asdict(c) | {"ratio": c.ratio} for c in comparisons]
    print_table([("goal", "measured", ""), *((goal.name, goal.value, goal.verdict) for goal in goals)])
    numbers["goals"] = [asdict(goal) for goal in goals]
    return goals, numbers


def judge_memory(extra: int | None) -> tuple[str, bool | None]:
    return ("not measured", None) if extra is None else (f"{extra / 2**20:.1f} MiB", extra <= MEMORY * 2**20)


def fields(comparison: Comparison) -> tuple[str, str, str]:
    if comparison.seconds is None or comparison.ratio is None:
        return "not installed", f"{1e3 * comparison.own:.2f}", "not installed"
    return f"{comparison.seconds:.3f}", f"{1e3 * comparison.own:.2f}", f"{comparison.ratio:,.0f}"


def machine() -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return {
        "CPU": model,
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
    }


def print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    print()
    for first, *rest in rows:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *cells]).rstrip(), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="The cost of the default projector, beside other ways to project.")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a goal is missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number to FILE")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        choices=["own", "competitors", *OTHERS],
        default=["own", "competitors"],
        help=f"own, competitors, or some of {', '.join(OTHERS)}",
    )
    parser.add_argument("--quick", action="store_true", help=f"D = {QUICK_SIZE:,} everywhere; speeds are not judged")
    parser.add_argument("--memory-here", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.memory_here is not None:
        print(memory_here(options.memory_here))
        return 0
    chosen = [*options.only, *(OTHERS if "competitors" in options.only else [])]
    goals, numbers = report(chosen, options.quick)
    if options.json:
        options.json.write_text(json.dumps(numbers, indent=1) + "\n")
    return int(options.check and any(goal.passed is False for goal in goals))


if __name__ == "__main__":
    sys.exit(main())
