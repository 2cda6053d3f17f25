"""What training on some of the clips really does to each query: the measure that every score is judged by.

Each run fine-tunes the denoiser, from the same weights, on a subset of the pool, and measures the motion-weighted loss of
every query. Runs that are to be compared share whatever is random: in epoch e, clip n meets the same noise at the same
noise level in every run, and clips come in the same order, whichever of them a subset holds. What differs is the subset.
"""

import copy
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motive.files import digest, write_json
from motive.gradients.loss import motion_loss, shared_noise
from motive.lab.inputs import Inputs
from motive.lab.pool import processes
from motive.lab.precision import half_precision
from motive.models.base import VideoModel
from motive.models.registry import load_model
from motive.progress import Progress, duration
from motive.seeds import stream
from motive.sigmas import shifted, spread_sigmas


@dataclass(frozen=True)
class Tuning:
    """A fine-tune: AdamW on the ordinary loss, its rate falling to zero in a straight line.

    draws: (noise level, noise) pairs that each query's loss is averaged over afterwards; even.
    """

    steps: int = 48
    batch: int = 24
    rate: float = 1e-4
    draws: int = 32


@dataclass(frozen=True)
class Run:
    """One fine-tune: a name, the clips it sees, and the seed of what is random in it."""

    name: str
    clips: tuple[int, ...]
    seed: int


def half_subsets(kinds: Sequence[str], count: int, seed: int) -> NDArray[np.bool_]:
    """`count` random halves of the pool, bool [count, N], in which the shares of `kinds` (motions, say) vary.

    Each half is drawn with a weight for every kind, so that subsets differ in what they teach, not in single clips alone.
    """
    names = sorted(set(kinds))
    member = np.array([names.index(kind) for kind in kinds])
    subsets = np.zeros((count, len(kinds)), bool)
    for m in range(count):
        draw = stream(seed, "half", m)
        weight = draw.normal(0, 1.5, len(names))
        keys = weight[member] + draw.gumbel(size=len(kinds))
        subsets[m, np.argsort(-keys)[: len(kinds) // 2]] = True
    return subsets


def measure_runs(
    runs: Sequence[Run],
    pool: Inputs,
    queries: Inputs,
    model: str,
    tuning: Tuning,
    folder: Path,
    workers: int,
    progress: Progress,
) -> NDArray[np.float64]:
    """Losses [runs, 2, Q] after each run, on each half of the draws; a run of no clips is the model as it is.

    Runs that `folder` holds already are read from it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{run.name}-{_mark(run, tuning)}.json" for run in runs]
    todo = [(run, file) for run, file in zip(runs, files, strict=True) if not file.exists()]
    if todo:
        tasks = [(run, tuning, file) for run, file in todo]
        whole = _seconds(model, pool, queries, tuning) * len(todo) / workers
        progress.say(f"{len(todo)} fine-tunes of {tuning.steps} steps: about {duration(whole)} on {workers} cores")
        with (
            processes(workers, _start, (model, pool, queries)) as team,
            progress.steps("fine-tuning", len(todo)) as step,
        ):
            for _ in team.map(_run, tasks):
                step()
    return np.array([_read(file) for file in files])


def fine_tune(model: VideoModel, pool: Inputs, run: Run, tuning: Tuning) -> None:
    """Tune the model's denoiser in place, for exactly `tuning.steps` steps of `tuning.batch` clips."""
    denoiser = model.denoiser
    optimiser = torch.optim.AdamW(denoiser.parameters(), lr=tuning.rate, weight_decay=0.0, fused=True)
    steps = batches_of(pool.latents.shape, run, tuning)
    for step in range(tuning.steps):
        optimiser.param_groups[0]["lr"] = tuning.rate * (1 - step / tuning.steps)
        numbers, noise, sigma = next(steps)
        with half_precision(str(model.device)):
            error = model.error(pool.latents[numbers], [pool.texts[n] for n in numbers], noise, sigma)
        optimiser.zero_grad(set_to_none=True)
        error.square().mean().backward()
        optimiser.step()


def measure(model: VideoModel, queries: Inputs, draws: int) -> NDArray[np.float64]:
    """Motion-weighted loss of each query, weighted by the true motion, on two halves of the draws: [2, Q].

    Both halves hold the same noise levels, each with a noise of its own: what they differ by is the measurement's noise.
    """
    losses = np.zeros((2, len(queries)))
    sigmas = spread_sigmas(draws // 2)
    with torch.no_grad():
        for half, (k, sigma) in product(range(2), enumerate(sigmas)):
            # Of another seed than the gradients' noise: scores must not be judged by the noise that they were made from.
            noise = shared_noise(1, queries.latents.shape[1:], half * len(sigmas) + k).expand_as(queries.latents)
            error = model.error(queries.latents, queries.texts, noise, sigma)
            losses[half] += motion_loss(error, queries.masks["true"]).double().numpy() / len(sigmas)
    return losses


def _seconds(model: str, pool: Inputs, queries: Inputs, tuning: Tuning, steps: int = 4) -> float:
    """What one fine-tune and its measurement take on one core, from a few steps and two draws."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    trial, everything = load_model(model, (0.75,), "cpu"), Run("trial", tuple(range(len(pool))), 0)
    fine_tune(trial, pool, everything, replace(tuning, steps=1))  # loads the model, and more
    began = time.monotonic()
    fine_tune(trial, pool, everything, replace(tuning, steps=steps))
    tuned = time.monotonic()
    measure(trial, queries, 2)
    measured = time.monotonic()
    torch.set_num_threads(threads)
    return (tuned - began) / steps * tuning.steps + (measured - tuned) / 2 * tuning.draws


def batches_of(shape: Sequence[int], run: Run, tuning: Tuning) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Clip numbers, noise and noise levels of each step; `shape` is that of the pool's latents."""
    chosen = np.zeros(shape[0], bool)
    chosen[list(run.clips)] = True
    waiting: list[tuple[int, Tensor, float]] = []
    epoch = 0
    while True:
        while len(waiting) < tuning.batch:
            waiting += _epoch(shape, chosen, run.seed, epoch)
            epoch += 1
        batch, waiting = waiting[: tuning.batch], waiting[tuning.batch :]
        numbers, noises, levels = zip(*batch, strict=True)
        yield list(numbers), torch.stack(noises), torch.tensor(levels)


def _epoch(shape: Sequence[int], chosen: NDArray[np.bool_], seed: int, epoch: int) -> list[tuple[int, Tensor, float]]:
    """One pass over the chosen clips. A clip's noise levels over the epochs fill the schedule evenly."""
    count = len(chosen)
    noise = stream(seed, "tuning noise", epoch).standard_normal(tuple(shape), np.float32)
    first = stream(seed, "tuning levels").uniform(size=count)
    u = (first + epoch * (np.sqrt(5) - 1) / 2) % 1
    order = stream(seed, "tuning order", epoch).permutation(count)
    return [(int(n), torch.from_numpy(noise[n]), shifted(float(u[n]))) for n in order if chosen[n]]


def _mark(run: Run, tuning: Tuning) -> str:
    return digest(str(run.clips), str(run.seed), str(asdict(tuning)))[:12]


_state: dict[str, Any] = {}


def _start(model: str, pool: Inputs, queries: Inputs) -> None:
    torch.set_num_threads(1)
    loaded = load_model(model, (0.75,), "cpu")
    _state.update(model=loaded, base=copy.deepcopy(loaded.denoiser.state_dict()), pool=pool, queries=queries)


def _run(task: tuple[Run, Tuning, Path]) -> None:
    run, tuning, file = task
    model = _state["model"]
    model.denoiser.load_state_dict(_state["base"])
    if run.clips:
        fine_tune(model, _state["pool"], run, tuning)
    losses = measure(model, _state["queries"], tuning.draws)
    write_json(file, {"run": asdict(run), "tuning": asdict(tuning), "losses": losses.tolist()})


def _read(file: Path) -> NDArray[np.float64]:
    return np.array(json.loads(file.read_text(encoding="utf-8"))["losses"])
