"""What a report counts over all clips, whatever the size of the pool: histograms, votes, motion, common clips of queries."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from motive.report.standing import FATES, Standing

BINS = 48

OVERLAP = 80
"""Queries that the table of common clips compares at most."""

LABELS = ("moving", "static", "camera")


def histogram(values: NDArray[np.floating], fate: NDArray[np.int8], low: float, high: float) -> dict[str, Any]:
    """Counts in BINS equal bins from low to high, of all clips and of those with each fate; what lies outside counts in the
    outermost bins."""
    width = (high - low) / BINS or 1.0
    place = np.clip(((values - low) / width).astype(np.int64), 0, BINS - 1)
    counts = {name or "other": np.bincount(place[fate == n], minlength=BINS).tolist() for n, name in enumerate(FATES)}
    return {"low": float(low), "high": float(low + BINS * width), "counts": counts}


def of_scores(standing: Standing) -> dict[str, Any]:
    """Mean influence, and how many clips got how many votes."""
    selection, fate = standing.selection, standing.fate
    mean, votes = selection.mean, selection.votes
    top = len(standing.scores.queries) + 1
    by_fate = {name or "other": np.bincount(votes[fate == n], minlength=top).tolist() for n, name in enumerate(FATES)}
    return {"mean": histogram(mean, fate, float(mean.min()), float(mean.max())), "votes": by_fate}


def of_motion(standing: Standing) -> dict[str, Any]:
    """Sustained motion in px/frame, and labels; the fastest hundredth of the clips shares the last bin."""
    scores, fate = standing.scores, standing.fate
    speed = np.empty(len(scores))
    label = np.zeros(len(scores), np.int8)
    for first, table in scores.blocks(["motion_sustained", "label"]):
        own = slice(first, first + len(table))
        speed[own] = table["motion_sustained"].to_numpy()
        names = table["label"].to_numpy(zero_copy_only=False)
        for n, name in enumerate(LABELS):
            label[own][names == name] = n
    labels = {
        name: {told or "other": int(((label == n) & (fate == f)).sum()) for f, told in enumerate(FATES)}
        for n, name in enumerate(LABELS)
    }
    medians = {told or "other": float(np.median(speed[fate == f])) for f, told in enumerate(FATES) if (fate == f).any()}
    top = float(np.quantile(speed, 0.99)) or 1.0
    return {
        "speed": histogram(speed, fate, 0.0, top),
        "labels": labels,
        "medians": medians,
        "floor": standing.config.motion.floor,
    }


def overlap(standing: Standing) -> list[list[float]]:
    """For each two of the first OVERLAP queries, the share of the clips that either votes for most that both vote for."""
    scores, cuts = standing.scores, standing.selection.cuts[:OVERLAP]
    names = scores.facts.columns[:OVERLAP]
    common = np.zeros((len(names), len(names)))
    for _, table in scores.blocks(names):
        votes = np.stack([column.to_numpy() > cut for column, cut in zip(table.columns, cuts, strict=True)]).astype(np.float32)
        common += votes @ votes.T
    own = np.maximum(common.diagonal(), 1)
    return np.asarray(common / np.minimum(own[:, None], own[None, :])).tolist()
