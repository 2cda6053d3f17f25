"""Samples' numbers to what arms come to: means with intervals, by arm and by motion, and paired comparisons of arms."""

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from motive.evaluation.intervals import Interval, Measured, compare, interval
from motive.evaluation.measure import Measurement
from motive.evaluation.metric import Metric

UNTRAINED_ARM = "base"
"""The arm that no training made: it is compared with every training of another arm."""


def summarise(
    found: Sequence[Measurement], metrics: Sequence[Metric], motions: dict[str, str], resamples: int
) -> dict[str, Any]:
    """The "arms" of metrics.json. motions: the wanted motion by prompt."""
    arms = {}
    for name in _first_seen(sample.name for sample in found):
        own = [sample for sample in found if sample.name == name]
        of_motion: dict[str, list[Measurement]] = {}
        for sample in own:
            if sample.prompt in motions:
                of_motion.setdefault(motions[sample.prompt], []).append(sample)
        arms[name] = {
            "seeds": sorted({sample.training for sample in own}),
            "metrics": _means(own, metrics, resamples, name),
            "motions": {motion: _means(of_motion[motion], metrics, resamples, name, motion) for motion in sorted(of_motion)},
        }
    return arms


def comparisons(found: Sequence[Measurement], metrics: Sequence[Metric], resamples: int) -> list[dict[str, Any]]:
    """The "comparisons" of metrics.json: each metric for each two arms that share prompts and seeds; a less b."""
    names = _first_seen(sample.name for sample in found)
    # Motive comes first, so that a difference above 0 is in its favour where more is better.
    names.sort(key=lambda name: name != "motive")
    rows = []
    for metric in metrics:
        for a, b in combinations(names, 2):
            pairs = paired(found, metric.name, a, b)
            if len(pairs.value):
                seen = compare(pairs, metric.name, a, b, resamples=resamples)
                row = {"metric": metric.name, "a": a, "b": b, "difference": seen.difference.mean}
                rows.append(
                    row | {"low": seen.difference.low, "high": seen.difference.high, "p": seen.p, "n": seen.difference.n}
                )
    return rows


def paired(found: Sequence[Measurement], metric: str, a: str, b: str) -> Measured:
    """Differences a - b of samples of the same prompt and seed, from the same training seed.

    An arm without training has one model, which meets every training of the other. Of two arms without a common training
    seed, the means over their trainings are compared.
    """
    of = {name: [s for s in found if s.name == name and metric in s.values] for name in (a, b)}
    seeds = {name: sorted({s.training for s in own}) for name, own in of.items()}
    common = sorted(set(seeds[a]) & set(seeds[b]))
    if UNTRAINED_ARM in (a, b):
        common = seeds[b if a == UNTRAINED_ARM else a]
        values = {name: _by_place(own, metric, common if name == UNTRAINED_ARM else None) for name, own in of.items()}
    elif common:
        values = {name: _by_place(own, metric, None) for name, own in of.items()}
    else:
        values = {name: _mean_of_trainings(own, metric) for name, own in of.items()}
    places = sorted(values[a].keys() & values[b].keys())
    prompts = {prompt: n for n, prompt in enumerate(sorted({prompt for prompt, _, _ in places}))}
    return Measured(
        np.array([values[a][place] - values[b][place] for place in places]),
        np.array([prompts[prompt] for prompt, _, _ in places], np.int64),
        np.array([training for _, _, training in places], np.int64),
        np.array([seed for _, seed, _ in places], np.int64),
    )


Place = tuple[str, int, int]
"""Prompt, sample's seed, seed of training."""


def _by_place(own: Sequence[Measurement], metric: str, every: Sequence[int] | None) -> dict[Place, float]:
    """Numbers by place; `every`: the trainings that each stands for, if not its own."""
    return {
        (sample.prompt, sample.seed, training): sample.values[metric]
        for sample in own
        for training in ([sample.training] if every is None else every)
    }


def _mean_of_trainings(own: Sequence[Measurement], metric: str) -> dict[Place, float]:
    found: dict[Place, list[float]] = {}
    for sample in own:
        found.setdefault((sample.prompt, sample.seed, 0), []).append(sample.values[metric])
    return {place: float(np.mean(values)) for place, values in found.items()}


def _means(own: Sequence[Measurement], metrics: Sequence[Metric], resamples: int, *name: str) -> dict[str, Any]:
    rows = {}
    prompts = {prompt: n for n, prompt in enumerate(sorted({sample.prompt for sample in own}))}
    for metric in metrics:
        some = [sample for sample in own if metric.name in sample.values]
        if not some:
            continue
        measured = Measured(
            np.array([sample.values[metric.name] for sample in some]),
            _column(some, lambda sample: prompts[sample.prompt]),
            _column(some, lambda sample: sample.training),
            _column(some, lambda sample: sample.seed),
        )
        seen = interval(measured, metric.name, *name, share=metric.unit == "share", resamples=resamples)
        rows[metric.name] = _row(seen) | {"unit": metric.unit, "better": metric.better}
    return rows


def _column(some: Sequence[Measurement], of: Callable[[Measurement], int]) -> Any:
    return np.array([of(sample) for sample in some], np.int64)


def _row(seen: Interval) -> dict[str, Any]:
    return {"mean": seen.mean, "low": seen.low, "high": seen.high, "n": seen.n}


def _first_seen(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
