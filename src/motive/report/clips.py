"""A report's clips: the table of all, in chunks that the page loads as they are needed, and each query's best and worst."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motive.attribution.scores import Scores
from motive.attribution.selection import best_first
from motive.report.data import DataFolder
from motive.report.figures import histogram
from motive.report.standing import FATES, Standing

LISTED = 20_000
"""Clips that the table lists at most: the first and the last by rank."""

NUMBERS = 4_000_000
"""Scores of listed clips that a report holds at most, twice: with many queries it lists fewer clips."""

CHUNK = 1000
"""Clips of one file of the table."""

DETAILED = 250
"""Clips of one file of details."""

ROW = ("place", "id", "name", "caption", "rank", "votes", "mean", "motion", "label", "fate", "film")
"""What the table's files hold of a clip, in this order. place: in the list of clips that are listed, None for others. film: the
name of its video, if it has one."""

Films = dict[str, str]
"""Names of the videos that there are, by the clips' keys."""


@dataclass(frozen=True)
class Ends:
    """One query's influence: of all clips [N]; its best clips, best first, and its worst, worst first."""

    influence: NDArray[np.float32]
    best: NDArray[np.int64]
    worst: NDArray[np.int64]


def listed(standing: Standing) -> NDArray[np.int64]:
    """The clips that the table lists, in order of rank."""
    order, half = standing.selection.order, _half(standing)
    return order if len(order) <= 2 * half else np.concatenate([order[:half], order[-half:]])


def ends(scores: Scores, query: int, count: int) -> Ends:
    """The `count` best and worst clips of a query, fewer where the two would meet."""
    influence = scores.column(query)
    order = best_first(scores, influence.astype(np.float64))
    worst = min(count, len(order) - min(count, len(order)))
    return Ends(influence, order[:count], order[len(order) - worst :][::-1])


def put_table(data: DataFolder, standing: Standing, films: Films) -> dict[str, int]:
    """Write clips-<n>, details-<n>; returns how many clips are listed, and how many of them a file of each holds."""
    places = listed(standing)
    for n, first in enumerate(range(0, len(places), CHUNK)):
        data.put(f"clips-{n}", rows(standing, places[first : first + CHUNK], films, first))
    columns = standing.scores.facts.columns
    for n, first in enumerate(range(0, len(places), DETAILED)):
        some = standing.scores.rows(places[first : first + DETAILED], [*DETAILS, *columns])
        influence = np.stack([some[column].to_numpy() for column in columns], axis=1).astype(float).tolist()
        facts = some.select(DETAILS).to_pylist()
        data.put(f"details-{n}", [facts_of | {"influence": own} for facts_of, own in zip(facts, influence, strict=True)])
    return {"listed": len(places), "chunk": CHUNK, "detailed": DETAILED}


DETAILS = ["key", "source_width", "source_height", "motion_mean", "loss", "gradient_norm", "extra"]


def put_query(data: DataFolder, standing: Standing, query: int, found: Ends, films: Films) -> None:
    """Write query-<n>: the distribution of its influence, its best and worst clips, and its influence on each listed clip."""
    influence, cut = found.influence, float(standing.selection.cuts[query])
    value = {
        "cut": cut,
        "histogram": histogram(influence, standing.fate, float(influence.min()), float(influence.max())),
        "best": _scored(standing, found.best, influence, films),
        "worst": _scored(standing, found.worst, influence, films),
        "influence": influence[listed(standing)].astype(float).tolist(),
    }
    data.put(f"query-{query}", value)


def rows(standing: Standing, places: NDArray[np.int64], films: Films, first: int | None = None) -> list[list[Any]]:
    """A ROW of each clip. first: the place of the first one in the table, where they follow each other there."""
    selection = standing.selection
    rank = standing.rank
    table = standing.scores.rows(places, ["id", "name", "caption", "motion_sustained", "label", "key"]).to_pylist()
    return [
        [
            in_table(standing, int(rank[n])) if first is None else first + at,
            clip["id"],
            clip["name"],
            clip["caption"],
            int(rank[n]),
            int(selection.votes[n]),
            float(selection.mean[n]),
            clip["motion_sustained"],
            clip["label"],
            FATES[standing.fate[n]],
            films.get(clip["key"], ""),
        ]
        for at, (n, clip) in enumerate(zip(places, table, strict=True))
    ]


def in_table(standing: Standing, rank: int) -> int | None:
    """The place of the clip with that rank, from 1, in the table."""
    count, half = len(standing.scores), _half(standing)
    if count <= 2 * half or rank <= half:
        return rank - 1
    place = rank - 1 - (count - 2 * half)
    return place if place >= half else None


def _half(standing: Standing) -> int:
    """How many of the first clips are listed at most, and of the last."""
    return max(CHUNK, min(LISTED, NUMBERS // len(standing.scores.queries))) // 2


def _scored(standing: Standing, places: NDArray[np.int64], influence: NDArray[np.float32], films: Films) -> list[Any]:
    return [[*row, float(influence[n])] for row, n in zip(rows(standing, places, films), places, strict=True)]
