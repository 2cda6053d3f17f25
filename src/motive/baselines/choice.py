"""What every baseline is: a function from a run's data to a choice of its clips, and the two ways to choose by numbers.

The vote, its ranking and its ties are those of Motive itself (attribution.selection).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motive.attribution.scores import DESCRIBING, Facts, Scores, load_scores, scores_of
from motive.attribution.selection import select
from motive.config import Config
from motive.progress import Progress
from motive.video.sources import parse_source
from motive.video.table import Clip


@dataclass(frozen=True)
class Run:
    """A run's data. scores: of every clip of the pool that could be attributed, of which `keep` is the share to keep."""

    config: Config
    scores: Scores
    keep: float
    progress: Progress

    def pool(self) -> list[Clip]:
        """Its clips, in the order of `scores`."""
        return [clip_of(row) for row in self.scores.clips.select(list(DESCRIBING)).to_pylist()]

    def queries(self) -> list[Clip]:
        return [clip_of(row) for row in self.scores.queries]


@dataclass(frozen=True)
class Choice:
    """Clips of `scores`, by place. kept: best first. score: of each kept clip. votes: likewise, if there was a vote.
    notes: what a person should know."""

    scores: Scores
    kept: NDArray[np.int64]
    score: NDArray[np.float64]
    votes: NDArray[np.int32] | None = None
    notes: tuple[str, ...] = ()


Baseline = Callable[[Run], Choice]


def open_run(config: Config, progress: Progress) -> Run:
    """Raises StoreError unless the run is scored. Of a cascade the pool is what its first stage scored: all of it."""
    place = config.out / "coarse-1" if config.cascade else config.out
    return Run(config, load_scores(place / "scores.parquet"), config.selection.keep, progress)


def by_score(run: Run, score: NDArray[np.floating], *notes: str) -> Choice:
    """The clips with the largest score, [N] in the order of `run.scores`; of equal ones the first id."""
    facts = Facts([{"id": "every"}], None, run.scores.trained)
    chosen = select(scores_of(score[:, None], run.scores.clips, facts), run.keep)
    return Choice(run.scores, chosen.kept, chosen.mean[chosen.kept], None, notes)


def by_vote(run: Run, similarity: NDArray[np.floating], *notes: str) -> Choice:
    """Motive's vote on similarity [N, Q], clips and queries in the order of `run.scores`; a clip's score is its mean."""
    facts = Facts(run.scores.queries, None, run.scores.trained)
    chosen = select(scores_of(similarity, run.scores.clips, facts), run.keep)
    return Choice(run.scores, chosen.kept, chosen.mean[chosen.kept], chosen.votes[chosen.kept], notes)


def clip_of(row: dict[str, Any]) -> Clip:
    """The clip that a row of DESCRIBING columns tells of. Raises ClipError if its place is not understood."""
    return Clip(row["id"], row["key"], row["name"], row["caption"], parse_source(row["path"]), row["sha256"], row["name"])
