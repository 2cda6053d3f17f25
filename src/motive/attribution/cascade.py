"""Which clips go on from a coarse stage to the next: the shortlist."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from motive.attribution.influence import Scores
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
    influence = scores.influence.astype(np.float64)
    spread = influence.std(axis=0)
    standard = (influence - influence.mean(axis=0)) / np.where(spread > 0, spread, 1)
    ids = scores.clips["id"].to_pylist()
    mean = standard.mean(axis=1)
    order = sorted(range(len(ids)), key=lambda n: (-mean[n], ids[n]))
    return Shortlist(pool, tuple(ids[n] for n in order[: max(1, int(pool * share + 0.5))]))


def save_shortlist(chosen: Shortlist, file: Path) -> None:
    write_json(file, asdict(chosen))


def load_shortlist(file: Path) -> Shortlist:
    """Raises StoreError if there is none."""
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        return Shortlist(stored["pool"], tuple(stored["ids"]))
    except (OSError, ValueError, KeyError) as error:
        raise StoreError(f"{file}: no shortlist here ({error}); run `motive index` again") from None
