"""From influence to a subset: majority vote, ranking, and how sure the cut is (METHOD.md 3)."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from motive.attribution.quantiles import Counts, between, locate, order_statistics, ranks_of_quantile
from motive.attribution.scores import WORKERS, Scores

UNTRAINED = "The model is UNTRAINED: its scores exercise the method and say nothing about motion."

TOGETHER = 16
"""Queries that a thread counts at a time: half a MiB and more each."""


@dataclass(frozen=True)
class Selection:
    """The pool, ranked; arrays are over its N clips as the scores have them unless they say otherwise.

    order: clip indices, best first. kept, harmful: the first K and the last K of `order` (fewer harmful ones if the two
    would overlap). votes: queries that voted for a clip. mean: mean influence. cuts: tau_q, [Q].
    margin: how far the scores of the last kept and the first other clip would have to move toward each other for the two
    to change places; None if every clip is kept. sure: whether that is more than the error of a score.
    """

    order: NDArray[np.int64]
    kept: NDArray[np.int64]
    harmful: NDArray[np.int64]
    votes: NDArray[np.int32]
    mean: NDArray[np.float64]
    cuts: NDArray[np.float64]
    margin: float | None
    sure: bool


def select(scores: Scores, keep: float, size: int | None = None) -> Selection:
    """Rank by votes, then by mean influence, then by id; keep the best share `keep` of the pool, at least one clip, or the
    best `size` clips.

    Query q votes for the clips with I[n, q] > tau_q, its (1 - keep) quantile. The scores are read three times, and a few
    numbers a clip are held.
    """
    count = len(scores)
    cuts = quantiles(scores, 1 - keep)
    votes, mean = _tally(scores, cuts)
    order = best_first(scores, mean, votes)
    size = max(1, int(count * keep + 0.5)) if size is None else size
    margin = _margin(_influence(scores, order[size - 1 : size + 1]), cuts) if size < count else None
    return Selection(
        order=order,
        kept=order[:size],
        harmful=order[max(size, count - size) :],
        votes=votes.astype(np.int32),
        mean=mean,
        cuts=cuts,
        margin=margin,
        sure=margin is None or margin > (scores.error_bar or 0.0),
    )


def quantiles(scores: Scores, share: float) -> NDArray[np.float64]:
    """Each query's `share` quantile, [Q]: what `np.quantile` gives of all its scores in float64."""
    low, high, weight = ranks_of_quantile(len(scores), share)
    names = scores.facts.columns

    def of(some: list[str]) -> NDArray[np.float64]:
        places = locate(_counted(scores, some, Counts.of(len(some))), (low, high))
        ends = order_statistics(places, _counted(scores, some, Counts.of(len(some), places.bins)))
        return between(ends[:, 0], ends[:, 1], weight)

    # As many groups a thread for every thread.
    groups = -(-len(names) // (TOGETHER * WORKERS)) * WORKERS
    starts = sorted({len(names) * n // groups for n in range(groups + 1)})
    with ThreadPoolExecutor(WORKERS) as threads:
        return np.concatenate(list(threads.map(of, (names[a:b] for a, b in pairwise(starts)))))


def best_first(
    scores: Scores, mean: NDArray[np.float64], votes: NDArray[np.unsignedinteger] | None = None
) -> NDArray[np.int64]:
    """All clips, those with most votes first, of these those with the larger mean, and of equal ones the first id."""
    order = np.argsort(-mean)
    if votes is not None:
        order = order[np.argsort(votes.max() - votes[order], kind="stable")]
    keys = [mean[order]] if votes is None else [mean[order], votes[order]]
    alike = np.concatenate([[False], np.logical_and.reduce([key[1:] == key[:-1] for key in keys])])
    tied = alike | np.append(alike[1:], False)
    if tied.any():
        places = order[tied]
        ids = scores.rows(places, ["id"])["id"]
        runs = pa.table({"run": np.cumsum(~alike)[tied], "id": ids})
        order[tied] = places[pc.sort_indices(runs, [("run", "ascending"), ("id", "ascending")])]
    return order


def caveats(selection: Selection, scores: Scores) -> list[str]:
    """What a reader must know before trusting the cut, a sentence each."""
    lines = []
    if not scores.trained:
        lines.append(UNTRAINED)
    if scores.error_bar:
        lines.append(f"Each score carries an error of about {scores.error_bar:.3f} from the projection.")
    if selection.margin is not None and not selection.sure and scores.error_bar:
        lines.append(
            f"The cut is NOT SURE: a change of {selection.margin:.4f} in the scores at the cut, which is within that error, "
            "would exchange the last clip kept and the first one left out. More dimensions make it surer."
        )
    elif selection.margin is not None and not selection.sure:
        lines.append("The clips on both sides of the cut score alike: which one is kept is a matter of their ids.")
    elif selection.margin is not None:
        lines.append(f"The clips on both sides of the cut are {selection.margin:.4f} apart in score.")
    return lines


def _counted(scores: Scores, names: list[str], counts: Counts) -> Counts:
    for _, table in scores.blocks(names):
        for query, column in enumerate(table.columns):
            counts.add(query, column.to_numpy())
    return counts


def _tally(scores: Scores, cuts: NDArray[np.float64]) -> tuple[NDArray[np.unsignedinteger], NDArray[np.float64]]:
    """Votes and mean influence of each clip."""
    votes = np.zeros(len(scores), np.min_scalar_type(len(cuts)))
    mean = np.zeros(len(scores))
    # What is above the largest float32 up to the cut is above the cut.
    near = cuts.astype(np.float32)
    below = np.where(near > cuts, np.nextafter(near, np.float32(-np.inf)), near)

    def count(first: int, table: pa.Table) -> None:
        own = slice(first, first + len(table))
        for column, cut in zip(table.columns, below, strict=True):
            influence = column.to_numpy()
            votes[own] += influence > cut
            mean[own] += influence
        mean[own] /= len(cuts)

    scores.each_block(count, scores.facts.columns)
    return votes, mean


def _influence(scores: Scores, places: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64 [places, Q]."""
    table = scores.rows(places, scores.facts.columns)
    return np.stack([column.to_numpy() for column in table.columns], axis=1).astype(np.float64)


def _margin(pair: NDArray[np.float64], cuts: NDArray[np.float64]) -> float:
    """The smallest e such that lowering all scores of the first clip, raising all of the second by e reverses their order."""
    inside, outside = pair

    def reversed_by(e: float) -> bool:
        low, high = inside - e, outside + e
        lower, higher = (low > cuts).sum(), (high > cuts).sum()
        return bool(higher > lower or (higher == lower and high.mean() >= low.mean()))

    # The order can only change where a vote is lost or won, or where the means meet.
    meeting = (inside.mean() - outside.mean()) / 2
    turning = np.concatenate([inside - cuts, cuts - outside, [meeting]])
    for e in np.sort(turning[turning >= 0]):
        if reversed_by(float(np.nextafter(e, np.inf) + 1e-12)):
            return float(e)
    return float("inf")
