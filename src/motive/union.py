"""One selection over the pools of several runs: for pools too large for one plan (docs/scale.md).

Each run has a pool of its own; settings and queries are the same. The vote is over all clips together, as if there had been one
run: cuts are exact quantiles of all scores, and nothing is held but a few numbers a clip.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from motive.attribution.run_stores import open_store
from motive.attribution.scores import Scores
from motive.attribution.selection import Selection
from motive.attribution.selection import select as choose
from motive.attribution.selection_files import describe, save_selection
from motive.config import Config
from motive.errors import ConfigError, StoreError
from motive.files import digest, write_json
from motive.fingerprints import refuse_differences
from motive.verbs import current_scores


def select_union(runs: Sequence[Config], folder: Path, keep: float | None = None) -> tuple[Selection, str]:
    """Vote over the clips of all `runs`, which are scored, and keep the share `keep` (by default the runs' own) of them.

    Writes to `folder` what `motive select` writes (attribution.selection_files), and union.json: the runs, the state of
    each one's stores, and `keep`. Returns the selection and its table for people. Raises ConfigError or StoreError, with
    the reason, for runs that cannot be put together. `verbs.export` with the same folder then writes its clips for trainers.
    """
    share = _share(runs, keep)
    _refuse_strangers(runs, folder)
    parts = [current_scores(run) for run in runs]
    scores = _together(runs, parts)
    selection = choose(scores, share)
    save_selection(selection, scores, folder)
    told = [{"out": str(run.out.resolve()), "state": part.facts.state} for run, part in zip(runs, parts, strict=True)]
    write_json(folder / "union.json", {"keep": share, "clips": len(scores), "runs": told})
    return selection, describe(selection, scores)


def _share(runs: Sequence[Config], keep: float | None) -> float:
    """The share of the clips that is kept."""
    own = sorted({run.selection.keep for run in runs})
    if keep is None and len(own) > 1:
        raise ConfigError(f"the runs keep different shares, {', '.join(map(str, own))}; say which one")
    share = own[0] if keep is None else keep
    if not 0 < share <= 1:
        raise ConfigError(f"{share} is no share to keep; it must be above 0 and at most 1")
    return share


def _refuse_strangers(runs: Sequence[Config], folder: Path) -> None:
    """Refuse runs whose scores do not mean the same."""
    places = [run.out.resolve() for run in runs]
    if len(set(places)) < max(len(runs), 2):
        raise ConfigError("a union is of two runs or more, each named once")
    if folder.resolve() in places:
        raise ConfigError(f"{folder} is one of the runs, whose own selection lies there; choose another folder")
    for run in runs:
        if run.cascade:
            raise ConfigError(f"{run.out}: a cascade scores the best of its pool alone, which cannot stand for the whole of it")
        if run.influence.hessian != "identity":
            raise ConfigError(f"{run.out}: with influence.hessian={run.influence.hessian} scores depend on the run's own pool")
    first, *others = (open_store(run, "pool") for run in runs)
    for other in others:
        what = f"{other.folder} (now) was attributed with other settings than {first.folder} (stored)"
        refuse_differences(what, first.fingerprint, other.fingerprint)


def _together(runs: Sequence[Config], parts: Sequence[Scores]) -> Scores:
    """The scores of all runs as one."""
    first = parts[0].facts
    for run, part in zip(runs, parts, strict=True):
        if [_identity(query) for query in part.queries] != [_identity(query) for query in first.queries]:
            raise StoreError(f"{run.out} was scored against other queries than {runs[0].out}")
        if part.schema != parts[0].schema:
            raise StoreError(f"{run.out} and {runs[0].out} were scored by different versions; run `motive score` in both again")
    state = digest(*(part.facts.state for part in parts))
    scores = Scores(replace(first, state=state), tuple(file for part in parts for file in part.files))
    if (clip := _repeated(scores)) is not None:
        raise StoreError(f"the clip {clip} is in more than one of the runs; a union is of pools that share no clip")
    return scores


def _identity(query: dict[str, Any]) -> tuple[str, str]:
    return query["id"], query["key"]


def _repeated(scores: Scores) -> str | None:
    """An id that two clips have. Only ids whose hashes are equal are compared."""
    hashes = np.empty(len(scores), np.int64)
    for first, table in scores.blocks(["id"]):
        hashes[first : first + len(table)] = [hash(name) for name in table["id"].to_pylist()]
    order = np.argsort(hashes)
    alike = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
    ids = scores.rows(order[np.union1d(alike, alike + 1)], ["id"])["id"]
    for entry in pc.value_counts(ids.combine_chunks()):
        if entry["counts"].as_py() > 1:
            return str(entry["values"])
    return None
