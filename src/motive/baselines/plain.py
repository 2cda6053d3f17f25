"""Baselines that look at no query: the whole pool, chance, and the largest motion."""

import numpy as np

from motive.baselines.choice import Choice, Run, by_score
from motive.seeds import stream


def full(run: Run) -> Choice:
    """Every clip of the pool, in order of id."""
    order = np.argsort(run.scores.clips["id"].to_numpy(zero_copy_only=False), kind="stable").astype(np.int64)
    return Choice(run.scores, order, np.ones(len(order)))


def random(run: Run) -> Choice:
    """A random subset; it follows from the seed and the pool's ids, whatever order the clips are in."""
    order = np.argsort(run.scores.clips["id"].to_numpy(zero_copy_only=False), kind="stable")
    score = np.empty(len(order))
    score[order] = stream(run.config.seed, "baseline", "random").uniform(size=len(order))
    return by_score(run, score)


def magnitude(run: Run) -> Choice:
    """The clips that move most, in px/frame."""
    column = {"mean": "motion_mean", "sustained": "motion_sustained"}[run.config.baselines.magnitude]
    return by_score(run, run.scores.clips[column].to_numpy())
