"""`motive lab evaluate`: every score on the suite, judged by retrieval and by what training does; results.json.

    suite/                  the clips (see lab.suite)
    <captions>/run/         prepared inputs
    <captions>/draws/       gradients, a draw each
    <captions>/runs/        fine-tunes: subsets, removal and addition
    results.json            everything that lab.results turns into a page
    effects.json            the losses after each subset alone, from which any other method can be judged

Each part is kept, so the same command goes on after an interruption.
"""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motive.attribution.prepare import check_fingerprint
from motive.files import write_atomic, write_json
from motive.lab import ablations, frontier, masks
from motive.lab.counterfactual import Run, Tuning, half_subsets, measure_runs
from motive.lab.inputs import Captions, Inputs, lab_config, read_inputs
from motive.lab.metrics import (
    Judge,
    Scores,
    agreement,
    datamodelling,
    judge_retrieval,
    learned_from_training,
    over_queries,
    ranking,
    relative,
    times_as_good,
)
from motive.lab.rows import score_rows
from motive.lab.suite import V1, SuiteSpec, plan, plan_digest, write_suite
from motive.models.registry import load_model
from motive.progress import Progress

BEST = "temporal attention x16, kernel"
"""The row that `preset: best` stands for."""


@dataclass(frozen=True)
class Effort:
    """How much is measured; the defaults are what docs/results.md shows.

    subsets: random halves of the pool. seeds: fine-tunes of each half, two or more, for test and retest. draws, other_draws:
    of noise level and noise for each gradient, with the first kind of captions and with others. share: of the pool that
    counts as its top and bottom.
    """

    subsets: int = 32
    seeds: int = 2
    draws: int = 64
    other_draws: int = 16
    share: float = 0.1
    tuning: Tuning = field(default_factory=Tuning)
    ablations: bool = True


def evaluate(
    folder: Path,
    model: Path,
    progress: Progress,
    effort: Effort = Effort(),
    spec: SuiteSpec = V1,
    captions: Sequence[Captions] = ("looks", "motion"),
) -> dict[str, Any]:
    """Measure everything that `folder` lacks; returns what is written to results.json there."""
    began = time.monotonic()
    workers = os.cpu_count() or 1
    loaded = load_model(str(model), (0.75,), "cpu")
    made_with: dict[str, object] = {
        "suite": plan_digest(spec),
        "model": loaded.fingerprint("encoders") | loaded.fingerprint("denoiser"),
    }
    check_fingerprint(folder / "lab.json", made_with, ("*/runs/*.json", "*/draws/*/*/*.npz"))
    pool_manifest, query_manifest = write_suite(folder / "suite", spec, progress)
    plans = plan(spec)
    results: dict[str, Any] = {"suite": asdict(spec), "effort": asdict(effort), "best": BEST, "captions": {}}
    for kind in captions:
        place = folder / kind
        config = lab_config(place / "run", pool_manifest, query_manifest, model, kind)
        pool, queries = read_inputs(config, plans, progress)
        draws = effort.draws if kind == captions[0] else min(effort.draws, effort.other_draws)
        rows = score_rows(pool, queries, str(model), place / "draws", draws, workers, progress)
        found = {
            name: asdict(judge_retrieval(scores, pool.clips, queries.clips, effort.share)) for name, scores in rows.items()
        }
        results["captions"][kind] = {
            "retrieval": found,
            **_counterfactuals(rows, pool, queries, model, place / "runs", effort, progress, with_ends=kind == captions[0]),
        }
        if kind == captions[0] and effort.ablations:
            compared = {row: rows[row] for row in (BEST, "paper", "random") if row in rows}
            results["ablations"] = ablations.measure(compared, pool, queries, model, place, progress)
            measured = results["captions"][kind]
            short = config.model_copy(
                update={
                    "out": place / "short",
                    "video": config.video.model_copy(update={"frames": frontier.FEW_FRAMES}),
                }
            )
            judge = Judge(pool, queries, *effects_of_halves(measured, len(pool)))
            results["frontier"] = frontier.measure(
                judge, read_inputs(short, plans, progress), model, place / "draws", draws, workers, progress
            )
            results["masks"] = masks.measure(judge, model, place / "draws", draws, workers, progress)
        write_json(folder / "results.json", results)
    results["minutes"] = (time.monotonic() - began) / 60
    write_json(folder / "results.json", results)
    # On one line: thousands of numbers, which nobody reads one by one.
    write_atomic(folder / "effects.json", json.dumps(_effects(results, spec)).encode())
    return results


def _effects(results: dict[str, Any], spec: SuiteSpec) -> dict[str, Any]:
    """What lab.benchmark needs to judge a method without training: the effects_file of `judge_method`."""
    parts = ("subsets", "base", "losses")
    captions = {kind: {part: found[part] for part in parts} for kind, found in results["captions"].items()}
    return {"plan": plan_digest(spec), "captions": captions}


def effects_of_halves(measured: dict[str, Any], pool: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Subsets [M, N] and relative losses [M, Q] of what `_counterfactuals` measured."""
    subsets = np.zeros((len(measured["subsets"]), pool), bool)
    for row, members in zip(subsets, measured["subsets"], strict=True):
        row[members] = True
    return subsets, relative(np.array(measured["losses"]).mean(axis=0), np.array(measured["base"]))


def groups(pool: Inputs) -> list[str]:
    """What a clip teaches, for drawing subsets whose shares vary: its motion, or its kind of control."""
    return [clip.spec.motion if clip.spec.kind == "physical" else clip.spec.kind for clip in pool.clips]


def _counterfactuals(
    rows: dict[str, Scores],
    pool: Inputs,
    queries: Inputs,
    model: Path,
    folder: Path,
    effort: Effort,
    progress: Progress,
    with_ends: bool,
) -> dict[str, Any]:
    """Datamodelling scores of all rows and how reliable they are; and, `with_ends`, removal and addition."""
    workers, tuning = os.cpu_count() or 1, effort.tuning
    subsets = half_subsets(groups(pool), effort.subsets, seed=0)
    halves = [
        Run(f"half-{m:02d}-seed{seed}", tuple(np.flatnonzero(subset).tolist()), seed)
        for seed in range(1, effort.seeds + 1)
        for m, subset in enumerate(subsets)
    ]
    ends = _ends(rows, pool, queries, effort.share) if with_ends else {}
    runs = [Run("base", (), 0), *halves, *ends.values()]
    base, *after = measure_runs(runs, pool, queries, str(model), tuning, folder, workers, progress)
    by_seed = np.array(after[: len(halves)]).reshape(effort.seeds, effort.subsets, 2, len(queries))
    each_seed = [relative(part.mean(axis=1), base.mean(axis=0)) for part in by_seed]
    losses = relative(by_seed.mean(axis=(0, 2)), base.mean(axis=0))
    first = relative(by_seed[: effort.seeds // 2].mean(axis=(0, 2)), base.mean(axis=0))
    second = relative(by_seed[effort.seeds // 2 :].mean(axis=(0, 2)), base.mean(axis=0))
    halves_of_draws = [relative(by_seed[:, :, half].mean(axis=0), base[half]) for half in range(2)]
    return {
        "subsets": [np.flatnonzero(subset).tolist() for subset in subsets],
        "base": base.mean(axis=0).tolist(),
        "losses": by_seed.mean(axis=2).tolist(),
        "reliability": {
            "retest": agreement(first, second),
            "draws": agreement(*halves_of_draws),
            "learned": learned_from_training(subsets, groups(pool), losses),
            "between_subsets": float(losses.std(axis=0).mean()),
            "between_seeds": float(np.std(each_seed, axis=0, ddof=1).mean()),
        },
        "lds": {name: datamodelling(scores, subsets, losses) for name, scores in rows.items()},
        "times_paper": times_as_good(rows[BEST], rows["paper"], subsets, losses) if BEST in rows else None,
        "ends": _judge_ends(ends, np.array(after[len(halves) :]), queries, base.mean(axis=0)),
    }


END_ROWS = ("paper", BEST)


def _ends(rows: dict[str, Scores], pool: Inputs, queries: Inputs, share: float) -> dict[str, Run]:
    """Runs with only, and without, the top, a random and the bottom share of the pool for each motion's queries."""
    size, everything = max(1, int(len(pool) * share + 0.5)), set(range(len(pool)))
    wanted = [clip.spec.motion for clip in queries.clips]
    runs: dict[str, Run] = {}
    for row in dict.fromkeys((*END_ROWS, "random")):
        if row not in rows:
            continue
        for motion in dict.fromkeys(wanted):
            mean = rows[row][:, np.array(wanted) == motion].mean(axis=1, keepdims=True)
            order = ranking(mean)[:, 0].tolist()
            for end, chosen in {"top": order[:size], "bottom": order[-size:]}.items():
                if row == "random" and end == "bottom":
                    continue
                for way, clips in {"only": set(chosen), "without": everything - set(chosen)}.items():
                    name = f"{way}/{row}/{end}/{motion}"
                    runs[name] = Run(name.replace("/", "-").replace(" ", "_").replace(",", ""), tuple(sorted(clips)), 1)
    return runs


def _judge_ends(
    ends: dict[str, Run], losses: NDArray[np.float64], queries: Inputs, base: NDArray[np.float64]
) -> dict[str, Any]:
    """Change of the loss of a motion's own queries, in percent of the base's, for each way, row and end."""
    if not ends:
        return {}
    change = 100 * (losses.mean(axis=1) / base - 1)
    wanted = np.array([clip.spec.motion for clip in queries.clips])
    found: dict[str, list[float]] = {}
    for name, row in zip(ends, change, strict=True):
        *place, motion = name.split("/")
        found.setdefault("/".join(place), []).extend(row[wanted == motion].tolist())
    return {place: over_queries(np.array(values)) for place, values in found.items()}
