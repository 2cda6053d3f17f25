"""What a score matrix is worth: retrieval of the wanted motion, and prediction of what training does; with intervals.

Every figure comes as (mean, low, high): the mean over queries and its 95 % interval by bootstrap.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motive.lab.inputs import Inputs
from motive.lab.suite import LabClip
from motive.seeds import stream

Scores = NDArray[np.float64]
"""[N, Q]: how much each pool clip is thought to help each query."""

Interval = tuple[float, float, float]

RESAMPLES = 2000


@dataclass(frozen=True)
class Judge:
    """What a score matrix is judged by: the suite, and which halves of its pool taught what."""

    pool: Inputs
    queries: Inputs
    subsets: NDArray[np.bool_]
    losses: NDArray[np.float64]

    def __call__(self, scores: Scores) -> dict[str, Interval]:
        found = judge_retrieval(scores, self.pool.clips, self.queries.clips)
        return {"lds": datamodelling(scores, self.subsets, self.losses), "precision": found.precision}


@dataclass(frozen=True)
class Retrieval:
    """Over queries; a clip is relevant if it shows the query's motion.

    precision, recall: of the top share; recall counts relevant clips found. map: mean average precision. per_motion: mean
    precision of each motion's queries. top, bottom: share of each kind of clip in the top and in the bottom.
    """

    precision: Interval
    recall: Interval
    map: Interval
    per_motion: dict[str, float]
    top: dict[str, float]
    bottom: dict[str, float]


def retrieval(
    scores: Scores, motions: Sequence[str], kinds: Sequence[str], wanted: Sequence[str], share: float = 0.1
) -> Retrieval:
    """Judge `scores` [N, Q]; motions, kinds [N] of the pool's clips; wanted [Q], each query's motion."""
    order = ranking(scores)
    relevant = np.array(motions)[order] == np.array(wanted)
    kind = np.array(kinds)[order]
    size = max(1, int(len(scores) * share + 0.5))
    precision = relevant[:size].mean(axis=0)
    recall = relevant[:size].sum(axis=0) / relevant.sum(axis=0)
    ranks = np.arange(1, len(scores) + 1)[:, None]
    average = (relevant * np.cumsum(relevant, axis=0) / ranks).sum(axis=0) / relevant.sum(axis=0)
    return Retrieval(
        precision=over_queries(precision),
        recall=over_queries(recall),
        map=over_queries(average),
        per_motion={m: float(precision[np.array(wanted) == m].mean()) for m in dict.fromkeys(wanted)},
        top={k: float((kind[:size] == k).mean()) for k in sorted(set(kinds))},
        bottom={k: float((kind[-size:] == k).mean()) for k in sorted(set(kinds))},
    )


def judge_retrieval(scores: Scores, pool: Sequence[LabClip], queries: Sequence[LabClip], share: float = 0.1) -> Retrieval:
    """`retrieval` of scores on a suite's clips."""
    motions, kinds = ([getattr(clip.spec, name) for clip in pool] for name in ("motion", "kind"))
    return retrieval(scores, motions, kinds, [clip.spec.motion for clip in queries], share)


def precisions(scores: Scores, pool: Sequence[LabClip], queries: Sequence[LabClip], share: float = 0.1) -> NDArray[np.float64]:
    """[Q]: of the top share by each query's scores, the part that shows the query's motion."""
    relevant = np.array([clip.spec.motion for clip in pool])[ranking(scores)] == [clip.spec.motion for clip in queries]
    return np.asarray(relevant[: max(1, int(len(scores) * share + 0.5))].mean(axis=0))


def ranking(scores: Scores) -> NDArray[np.int64]:
    """Clip indices [N, Q], best first for each query; equal scores keep the pool's order, which is random."""
    return np.argsort(-scores, axis=0, kind="stable")


def datamodelling(scores: Scores, subsets: NDArray[np.bool_], losses: NDArray[np.float64]) -> Interval:
    """Linear datamodelling score: Spearman over M subsets of predicted against measured help, mean over queries.

    subsets [M, N]; losses [M, Q], as `relative` gives them. Predicted help is the sum of the scores of a subset's clips,
    less its mean over queries, as in the losses. The interval resamples subsets and queries. Raises ValueError for a
    single query, which has nothing to be relative to.
    """
    return agreement(_predicted(scores, subsets), -losses)


def times_as_good(scores: Scores, others: Scores, subsets: NDArray[np.bool_], losses: NDArray[np.float64]) -> Interval:
    """Datamodelling score of `scores` over that of `others`; the interval resamples both alike."""
    means = [_mean_spearman(_predicted(part, subsets), -losses) for part in (scores, others)]
    resampled = [_resampled(_predicted(part, subsets), -losses) for part in (scores, others)]
    low, high = np.quantile(resampled[0] / resampled[1], [0.025, 0.975])
    return means[0] / means[1], float(low), float(high)


def learned_from_training(subsets: NDArray[np.bool_], kinds: Sequence[str], losses: NDArray[np.float64]) -> Interval:
    """How well measured losses [M, Q] predict each other: each subset's from a ridge regression of all the others' on their
    shares of `kinds`. What no score is likely to surpass, since scores are not told what training did.
    """
    names = sorted(set(kinds))
    member = np.array([[kind == name for name in names] for kind in kinds], np.float64)
    shares = subsets.astype(np.float64) @ member
    shares = (shares - shares.mean(axis=0)) / np.maximum(shares.std(axis=0), 1e-9)
    predicted = np.zeros_like(losses)
    for m in range(len(subsets)):
        others = np.arange(len(subsets)) != m
        known, mean = shares[others], losses[others].mean(axis=0)
        fitted = np.linalg.solve(known.T @ known + np.eye(len(names)), known.T @ (losses[others] - mean))
        predicted[m] = mean + shares[m] @ fitted
    return agreement(predicted, losses)


def relative(losses: NDArray[np.float64], base: NDArray[np.float64]) -> NDArray[np.float64]:
    """Losses [M, Q] as log ratios to the base model's [Q], less each run's mean over queries.

    What a run does to all queries alike, such as how far it got, says nothing about which clips it saw.
    """
    change = np.log(losses / base)
    return np.asarray(change - change.mean(axis=1, keepdims=True))


def agreement(first: NDArray[np.float64], second: NDArray[np.float64]) -> Interval:
    """Spearman over rows (subsets), mean over columns (queries), of two [M, Q] matrices."""
    low, high = np.quantile(_resampled(first, second), [0.025, 0.975])
    return _mean_spearman(first, second), float(low), float(high)


def over_queries(values: NDArray[np.float64]) -> Interval:
    """Mean of [Q] and its interval, resampling queries."""
    draw = stream(0, "bootstrap", len(values))
    means = values[draw.integers(len(values), size=(RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Rank correlation of two vectors; 0 if one is constant, which tells nothing of the other."""
    return float(_spearman(np.asarray(a, float)[:, None], np.asarray(b, float)[:, None])[0])


def _predicted(scores: Scores, subsets: NDArray[np.bool_]) -> NDArray[np.float64]:
    """[M, Q]: the sum of a subset's scores, less its mean over queries."""
    if scores.shape[1] < 2:
        raise ValueError("losses relative to their mean over queries need at least two queries")
    whole = subsets.astype(np.float64) @ scores
    predicted = whole - whole.mean(axis=1, keepdims=True)
    # Scores that are the same for all queries leave rounding here, which must not be ranked.
    predicted[np.abs(predicted) < 1e-9 * np.abs(whole).max()] = 0.0
    return np.asarray(predicted)


def _resampled(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """[RESAMPLES] mean Spearmans of resampled rows and columns, the same ones for all matrices of a shape."""
    rows, columns = first.shape
    draw = stream(0, "bootstrap", rows, columns)
    means = np.empty(RESAMPLES)
    for n in range(RESAMPLES):
        picked = draw.integers(rows, size=rows)
        means[n] = _spearman(first[picked], second[picked])[draw.integers(columns, size=columns)].mean()
    return means


def _mean_spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    return float(_spearman(first, second).mean())


def _spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Column by column of two [M, Q] matrices."""
    x, y = _ranks(a), _ranks(b)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    size = np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
    return np.asarray((x * y).sum(axis=0) / np.where(size > 0, size, 1.0))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks down each column, ties sharing their mean."""
    ordered = np.sort(values, axis=0)
    ranks = np.empty_like(values, dtype=np.float64)
    for q in range(values.shape[1]):
        left = np.searchsorted(ordered[:, q], values[:, q], "left")
        right = np.searchsorted(ordered[:, q], values[:, q], "right")
        ranks[:, q] = (left + right - 1) / 2
    return ranks
