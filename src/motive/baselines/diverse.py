"""Motive's own ranking without near-duplicates."""

import numpy as np
from numpy.typing import NDArray

from motive.attribution.run_stores import open_store
from motive.attribution.scores import Scores, load_scores
from motive.attribution.selection import select
from motive.baselines.choice import Choice, Run, clip_of
from motive.baselines.latents import pooled_latents
from motive.baselines.likeness import Vectors, units
from motive.errors import StoreError


def diverse(run: Run) -> Choice:
    """As many clips as Motive keeps, best first, but none whose cosine with one that is kept already exceeds
    `baselines.alike`; fewer, if the pool has no more that differ."""
    config = run.config
    scores = load_scores(config.out / "scores.parquet")  # of a cascade: what reached full fidelity
    chosen = select(scores, config.selection.keep)
    wanted = max(1, int(len(run.scores) * run.keep + 0.5))
    vectors = _features(run, scores) if config.baselines.alike_by == "features" else _latents(run, scores)
    kept, skipped = different(vectors, chosen.order, config.baselines.alike, wanted)
    notes = [f"{skipped} clips were skipped as near-duplicates of better ones."]
    if len(kept) < wanted:
        notes.append(f"Only {len(kept)} of {wanted} clips are left: the rest are near-duplicates.")
    return Choice(scores, kept, chosen.mean[kept], chosen.votes[kept], tuple(notes))


def different(vectors: Vectors, order: NDArray[np.int64], alike: float, wanted: int) -> tuple[NDArray[np.int64], int]:
    """The first `wanted` of `order`, leaving out whose cosine with one before exceeds `alike`; and how many were left out."""
    kept: list[int] = []
    near = np.empty((wanted, vectors.shape[1]), np.float32)
    skipped = 0
    directions = units(vectors)
    for place in order.tolist():
        if len(kept) == wanted:
            break
        if kept and float((near[: len(kept)] @ directions[place]).max()) > alike:
            skipped += 1
            continue
        near[len(kept)] = directions[place]
        kept.append(place)
    return np.array(kept, np.int64), skipped


def _features(run: Run, scores: Scores) -> Vectors:
    """The pool's features in the order of its scores, [N, D']."""
    store = open_store(run.config, "pool")
    place = {id: n for n, id in enumerate(scores.clips["id"].to_pylist())}
    rows = np.empty((len(place), store.dim), np.float32)
    seen = 0
    for table in store.tables(["id", "status", "feature"]):
        usable = table.filter([status == "ok" for status in table["status"].to_pylist()])
        ids = usable["id"].to_pylist()
        places = [place[id] for id in ids if id in place]
        if len(places) < len(ids):
            raise StoreError(f"{run.config.out}: its clips have changed since they were scored; run `motive score` again")
        rows[places] = store.unpack(usable)
        seen += len(places)
    if seen != len(place):
        raise StoreError(f"{run.config.out}: its clips have changed since they were scored; run `motive score` again")
    return rows


def _latents(run: Run, scores: Scores) -> Vectors:
    (found,) = pooled_latents(run, [clip_of(row) for row in scores.clips.to_pylist()])
    return found - found.mean(axis=0)
