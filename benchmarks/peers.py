"""Motive beside TRAK, dattri, bergson and Kronfluence: seconds an example, memory and fidelity, on one small transformer.

    make bench-peers

Every side attributes the same 64 examples to the same 8 queries, each library in an environment and process of its own, with
its own defaults for a CPU, and for the size of a batch where it has one. Seconds are of what a library does for the pool:
gradients, projection, factors, whatever it needs; not imports, not the first example. Where one call of a library does queries
and pool together (Grad-Cos, Kronfluence), it is that call. Memory is the peak of the process above what it was before the model
was loaded. Fidelity is Spearman's correlation, over all pairs of an example and a query, between the library's scores and the
exact cosines of full gradients, which `exact_gram` computes in float64; on average over seeds, one a repeat. A score that is no
cosine need not agree with them.

The model, the loss and the data are in `peers/case.py`, a file for each library beside it. An environment that is missing makes
a row "not installed".
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))

from case import POOL, QUERIES, losses, read_examples, read_model, write_case
from measure import cosines

HERE = Path(__file__).resolve().parent
FIDELITY = 0.02
"""Goal: Motive's correlation is at most this much below the best projected one, beyond what the few draws leave open."""


@dataclass(frozen=True)
class Side:
    name: str
    library: str
    """Names the environment, and the file `peers/LIBRARY_side.py`."""
    variant: str = "-"


PLAIN, MOTIVE = Side("plain `backward()`, nothing kept", "motive", "plain"), Side("Motive, `fastfood`", "motive")
SIDES = [
    PLAIN,
    MOTIVE,
    Side("TRAK, `BasicProjector`", "trak"),
    Side("dattri, Grad-Cos", "dattri", "cosine"),
    Side("dattri, TRAK", "dattri", "trak"),
    Side("bergson, 16 x 16 a module", "bergson", "module"),
    Side("bergson, global", "bergson", "global"),
    Side("Kronfluence, EK-FAC", "kronfluence", "ekfac"),
    Side("Kronfluence, identity", "kronfluence", "identity"),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if Motive is not the fastest, or less faithful")
    parser.add_argument("--environments", type=Path, default=HERE.parent / ".venv-peers", help="one folder a library")
    parser.add_argument("--only", nargs="+", default=[], metavar="LIBRARY", help="beside Motive: trak, dattri, ...")
    parser.add_argument("--pool", type=int, default=POOL, help="examples; fewer to try the script itself")
    parser.add_argument("--repeats", type=int, default=3, help="rounds through all sides, each with its own seed")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--limit", type=float, default=30, help="minutes for one run of one side")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sides = [side for side in SIDES if not options.only or side.library in ("motive", *options.only)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "case.safetensors"
        write_case(file, options.pool)
        gram = exact_gram(file)
        exact = gram[: options.pool, options.pool :]
        runs: dict[Side, list[dict[str, Any] | str]] = {side: [] for side in sides}
        for seed in range(options.repeats):
            for side in sides:
                if not any(isinstance(run, str) for run in runs[side]):
                    runs[side].append(run_side(side, file, seed, options))
    results = {side: combined(side_runs) for side, side_runs in runs.items()}
    print(
        f"{machine()}, {options.threads} threads, torch {version('torch')}, {datetime.now(UTC):%Y-%m-%d}; "
        f"{options.pool} examples, {QUERIES} queries; the fastest of {options.repeats}, Spearman the mean\n"
    )
    print_table(results, exact, options.pool)
    mean, deviation = dense_law(gram, options.pool)
    print(
        f"\nA dense Gaussian matrix to 512 dimensions: {mean:.3f} on average, and {deviation:.3f} from one matrix to the next."
    )
    missed = judge(results, exact, 2 * deviation * (2 / options.repeats) ** 0.5)
    print("\n" + ("MISSED: " + "; ".join(missed) if missed else "Motive is the fastest, and as faithful as the best"))
    return int(options.check and bool(missed))


def exact_gram(file: Path) -> torch.Tensor:
    """Cosines of the full gradients of pool and queries with each other, float64: one gradient after the other."""
    model = read_model(file).double()
    gradients = []
    for examples in read_examples(file):
        for inputs, targets in examples.batches(1):
            model.zero_grad()
            losses(model(inputs.double()), targets.double()).sum().backward()
            gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
            # Kept in half of the space: the rounding of millions of numbers changes a cosine by less than 1e-9.
            gradients.append((gradient / gradient.norm()).float())
    pieces = zip(*(gradient.split(1 << 18) for gradient in gradients), strict=True)
    blocks = (torch.stack(piece).double() for piece in pieces)
    return sum((block @ block.T for block in blocks), torch.zeros(()))


def dense_law(gram: torch.Tensor, pool: int, draws: int = 400) -> tuple[float, float]:
    """Mean and deviation of the correlation that a dense Gaussian matrix to 512 dimensions gives.

    What it makes of gradients depends on their products alone, so that it can be drawn without them.
    """
    root = torch.linalg.cholesky(gram)
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(draws):
        rows = root @ torch.randn(len(gram), 512, generator=generator, dtype=torch.float64)
        found.append(spearman(torch.tensor(cosines(rows[:pool], rows[pool:])), gram[:pool, pool:]))
    return float(torch.tensor(found).mean()), float(torch.tensor(found).std())


def run_side(side: Side, file: Path, seed: int, options: argparse.Namespace) -> dict[str, Any] | str:
    """What one side measured, or in a few words why it did not."""
    python = Path(sys.executable) if side.library == "motive" else options.environments / side.library / "bin" / "python"
    if not python.exists():
        return "not installed"
    script = HERE / "peers" / f"{side.library}_side.py"
    command = [str(python), str(script), str(file), side.variant, str(seed), str(options.threads)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60 * options.limit, check=False)
    except subprocess.TimeoutExpired:
        return f"not done in {options.limit:g} minutes"
    if done.returncode < 0:
        return f"killed by signal {-done.returncode}" + (", as for want of memory" if done.returncode == -9 else "")
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return f"failed: {(done.stderr.strip().splitlines() or [f'exit {done.returncode}'])[-1][:100]}"
    return json.loads(done.stdout.splitlines()[-1])


def combined(runs: list[dict[str, Any] | str]) -> dict[str, Any] | str:
    """The fewest seconds, the least memory and every run's scores; the reason if one run failed."""
    measured = [run for run in runs if not isinstance(run, str)]
    if len(measured) < len(runs):
        return next(run for run in runs if isinstance(run, str))
    least = {name: min(run[name] for run in measured) for name in ("seconds", "memory")}
    scores = [
        {**scores[0], "values": [score["values"] for score in scores]}
        for scores in zip(*(run["scores"] for run in measured), strict=True)
    ]
    return measured[0] | least | {"scores": scores}


def print_table(results: dict[Side, dict[str, Any] | str], exact: torch.Tensor, pool: int) -> None:
    """One row a score."""
    print("| | version | what is compared | D' | at a time | s an example | over Motive's | peak MiB | Spearman |")
    print("|---|---|---|--:|--:|--:|--:|--:|--:|")
    ours = results[MOTIVE]
    for side, result in results.items():
        if isinstance(result, str):
            print(f"| {side.name} | | {result} | | | | | | |")
            continue
        ratio = "" if isinstance(ours, str) else f"{result['seconds'] / ours['seconds']:,.2f}"
        costs = f"{result['dim']} | {result['batch']} | {result['seconds'] / pool:.3f} | {ratio} | {result['memory']:,.0f}"
        if not result["scores"]:
            print(f"| {side.name} | | | {costs} | |")
        for score in result["scores"]:
            print(f"| {side.name} | {result['version']} | {score['what']} | {costs} | {fidelity(score, exact):.3f} |")


def judge(results: dict[Side, dict[str, Any] | str], exact: torch.Tensor, luck: float) -> list[str]:
    """The goals that are missed, in words; `luck` is what two sides may differ by from their seeds alone."""
    measured = {side: result for side, result in results.items() if side is not PLAIN and not isinstance(result, str)}
    if MOTIVE not in measured:
        return [f"Motive: {results[MOTIVE]}"]
    ours = fidelity(measured[MOTIVE]["scores"][0], exact)
    missed = []
    for side, result in measured.items():
        if result["seconds"] < measured[MOTIVE]["seconds"]:
            missed.append(f"{side.name} is faster")
        others = [fidelity(score, exact) for score in result["scores"] if score["projected"]]
        if max(others, default=-1.0) > ours + FIDELITY + luck:
            missed.append(f"{side.name} is more faithful, {max(others):.3f} against {ours:.3f}")
    return missed


def fidelity(score: dict[str, Any], exact: torch.Tensor) -> float:
    """Spearman's correlation of the scores with the exact cosines, the mean over all runs."""
    found = [spearman(torch.tensor(values), exact) for values in score["values"]]
    return sum(found) / len(found)


def spearman(a: torch.Tensor, b: torch.Tensor) -> float:
    ranks = [values.flatten().argsort().argsort().double() for values in (a, b)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown processor")


if __name__ == "__main__":
    sys.exit(main())
