"""Means with 95 % intervals, and paired comparisons, of numbers that are clustered by prompt and by seed.

Videos of one prompt resemble each other, and so do those of one training. Prompts are drawn anew with replacement; so, on
their own, are the trainings; and within each prompt the seeds of its samples. A video counts as often as its prompt, its
training and its seed were drawn. With one training the interval speaks of that one model.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motive.seeds import stream

RESAMPLES = 4000
TAIL = 0.025
"""On either side of an interval."""

EXACT = 12
"""Clusters up to which a test looks at all patterns of signs."""

AT_ONCE = 1 << 22
"""Weights that are held at a time."""

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Measured:
    """n values [n], and of each a number that stands for its prompt, its training and its sample's seed, [n]."""

    value: Floats
    prompt: Places
    training: Places
    seed: Places


@dataclass(frozen=True)
class Interval:
    """A mean of n values and its 95 % interval; no interval from a single value."""

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Compared:
    """Mean difference of n pairs, its 95 % interval, and the two-sided p of a sign-flip test: how often differences at least as
    large come about where the two are the same. The test takes the trained models as given; the interval does not."""

    difference: Interval
    p: float


def interval(measured: Measured, *name: str, share: bool = False, resamples: int = RESAMPLES) -> Interval:
    """Mean and interval of at least one value. name: what the numbers are drawn for.

    share: the values are 0 or 1. Where all are equal, resampling shows no spread; the far end is then that of as many
    independent trials as there are prompts, all with one outcome.
    """
    value = measured.value
    mean = float(value.mean())
    if len(value) < 2:
        return Interval(mean, None, None, len(value))
    prompts = len(np.unique(measured.prompt))
    tail = _widened_tail(prompts)
    low, high = (float(end) for end in np.quantile(_resampled(measured, name, resamples), (tail, 1 - tail)))
    if share and (value == value[0]).all():
        unseen = 1 - TAIL ** (1 / prompts)
        low, high = (1 - unseen, 1.0) if value[0] else (0.0, unseen)
    return Interval(mean, min(low, mean), max(high, mean), len(value))


def compare(differences: Measured, *name: str, resamples: int = RESAMPLES) -> Compared:
    """Of the differences of pairs: the same prompt, seed and training, under two arms."""
    return Compared(interval(differences, *name, resamples=resamples), sign_flip(differences, *name, resamples=resamples))


def sign_flip(differences: Measured, *name: str, resamples: int = RESAMPLES) -> float:
    """p of the hypothesis that the signs of the prompts' differences are a matter of chance; with one prompt, of its seeds'.

    Exact for few clusters; else from random signs, never below 1 / (resamples + 1).
    """
    of = differences.prompt if len(np.unique(differences.prompt)) > 1 else differences.seed
    _, cluster = np.unique(of, return_inverse=True)
    sums = np.bincount(cluster, differences.value)
    # Sums of other signs come from other orders of addition: equal ones may differ in the last bits.
    found = abs(sums.sum()) - 1e-9 * np.abs(sums).sum()
    if len(sums) <= EXACT:
        signs = 1 - 2 * ((np.arange(1 << len(sums))[:, None] >> np.arange(len(sums))) & 1)
        return float((np.abs(signs @ sums) >= found).mean())
    draw = stream(0, "signs", *name, len(sums))
    flipped = np.concatenate(
        [np.abs((1 - 2 * draw.integers(2, size=(some, len(sums)))) @ sums) for some in _batches(resamples, len(sums))]
    )
    return float((1 + (flipped >= found).sum()) / (resamples + 1))


def _widened_tail(prompts: int) -> float:
    """Which quantile ends the interval: resampled means of n prompts spread too little by sqrt((n - 1) / n), and their spread
    is itself an estimate, which Student's t makes up for (Hesterberg, The American Statistician 69, 2015)."""
    freedom = max(prompts - 1, 1)
    z = 1.959964
    series = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    t = z + sum(term / freedom**power for power, term in enumerate(series, start=1))
    return math.erfc(t * math.sqrt((freedom + 1) / freedom) / math.sqrt(2)) / 2


def _resampled(measured: Measured, name: tuple[str, ...], resamples: int) -> Floats:
    """Means of `resamples` bootstrap samples."""
    _, prompt = np.unique(measured.prompt, return_inverse=True)
    _, training = np.unique(measured.training, return_inverse=True)
    # The numbers of the seeds that each prompt has, one after the other.
    pairs, seed = np.unique(np.stack([prompt, measured.seed], axis=1), axis=0, return_inverse=True)
    sizes = np.bincount(pairs[:, 0])
    draw = stream(0, "interval", *name, len(sizes), int(training.max()) + 1, len(pairs))
    means = []
    for some in _batches(resamples, len(prompt)):
        weights = _multinomial(draw, int(prompt.max()) + 1, some)[:, prompt]
        weights *= _multinomial(draw, int(training.max()) + 1, some)[:, training]
        within = np.concatenate([_multinomial(draw, int(size), some) for size in sizes], axis=1)
        weights *= within[:, seed.ravel()]
        total = weights.sum(axis=1)
        drawn = total > 0
        means.append((weights[drawn] @ measured.value) / total[drawn])
    return np.concatenate(means)


def _multinomial(draw: np.random.Generator, size: int, count: int) -> Floats:
    """[count, size]: how often each of `size` things is drawn in `size` draws."""
    if size == 1:
        return np.ones((count, 1))
    return draw.multinomial(size, np.full(size, 1 / size), size=count).astype(np.float64)


def _batches(resamples: int, size: int) -> Iterator[int]:
    step = max(1, AT_ONCE // size)
    for first in range(0, resamples, step):
        yield min(step, resamples - first)
