"""Which clips go on from a coarse stage to the next: the shortlist."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motive.attribution.scores import Scores
from motive.attribution.selection import best_first
from motive.errors import StoreError
from motive.files import write_json


@dataclass(frozen=True)
class Shortlist:
    """Ids of the clips that go on, best first, out of a pool of `pool` clips."""

    pool: int
    ids: tuple[str, ...]


def shortlist(scores: Scores, pool: int, share: float) -> Shortlist:
    """The best `share` of a pool of `pool` clips, by the mean over queries of their influence.

    Each query's influence counts in its own standard deviations, so that none outweighs the others. Not by votes: a vote
    tells least about clips near the cut, and those are the ones in question.
    """
    count, mean = len(scores), np.zeros(len(scores))
    for query in range(len(scores.queries)):
        influence = scores.column(query).astype(np.float64)
        influence -= _sum(influence) / count
        spread = math.sqrt(_sum(influence**2) / count)
        mean += influence / (spread or 1)
    order = best_first(scores, mean / len(scores.queries))[: max(1, int(pool * share + 0.5))]
    return Shortlist(pool, tuple(scores.rows(order, ["id"])["id"].to_pylist()))


def _sum(numbers: NDArray[np.float64]) -> float:
    """The exact sum, rounded once: it does not depend on the order of clips."""
    pieces: Iterable[NDArray[np.float64]] = np.array_split(numbers, len(numbers) // 4096 + 1)
    return math.fsum(chain.from_iterable(piece.tolist() for piece in pieces))


def save_shortlist(chosen: Shortlist, file: Path) -> None:
    write_json(file, asdict(chosen))


def load_shortlist(file: Path) -> Shortlist:
    """Raises StoreError if there is none."""
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        return Shortlist(stored["pool"], tuple(stored["ids"]))
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{file}: no shortlist here ({error}); run `motive index` again") from None
