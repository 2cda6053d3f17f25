"""Where a run stands: its scores, what was selected by them, and what a reader must know of both."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motive.attribution.cascade import load_shortlist
from motive.attribution.influence import scored_state
from motive.attribution.run_stores import WHICH, open_store
from motive.attribution.scores import Scores, load_scores
from motive.attribution.selection import Selection, caveats, select
from motive.config import Config
from motive.errors import StoreError

FATES = ("", "kept", "harmful")

REASONS = 1000
"""Clips without a score that a report lists at most."""


@dataclass(frozen=True)
class Standing:
    """scores, selection: of the clips at full fidelity. rank: of each clip, from 1, [N]. fate: of
    each, an index into FATES. caveats: a sentence
    each. pool: clips of the pool, with a score or without. unscored: clips of both stores without one, REASONS at most, and
    how many they are."""

    config: Config
    scores: Scores
    selection: Selection
    rank: NDArray[np.int64]
    fate: NDArray[np.int8]
    caveats: list[str]
    pool: int
    unscored: list[dict[str, Any]]
    unscored_count: int


def read_standing(config: Config) -> Standing:
    """Raises StoreError, with the command that makes them, if there are no scores."""
    scores = load_scores(config.out / "scores.parquet")
    count, keep = len(scores), config.selection.keep
    unscored, numbers = _unscored(config)
    pool = count + numbers["pool"]
    notes = []
    if config.cascade:
        pool = load_shortlist(config.out / "shortlist.json").pool
        keep = min(keep * pool / count, 1.0)
        notes.append(
            f"{count} of {pool} clips reached full fidelity. What the others scored, and which are harmful, the first stage's "
            f"own report shows: `motive report {config.out / 'coarse-1'}`."
        )
    selection = select(scores, keep)
    if config.cascade:
        selection = replace(selection, harmful=selection.harmful[:0])  # those that were chosen to go on are not
    notes = [*caveats(selection, scores), *notes, *_stale(config, scores, len(selection.kept))]
    rank = np.empty(count, np.int64)
    rank[selection.order] = np.arange(1, count + 1)
    fate = np.zeros(count, np.int8)
    fate[selection.harmful] = FATES.index("harmful")
    fate[selection.kept] = FATES.index("kept")
    return Standing(config, scores, selection, rank, fate, notes, pool, unscored, numbers.total())


def _stale(config: Config, scores: Scores, kept: int) -> list[str]:
    """What on disk has been made with other clips or settings than are shown."""
    lines = []
    try:
        if scores.facts.state != scored_state(*(open_store(config, which) for which in WHICH)):
            lines.append("The clips have changed since they were scored; `motive score` scores them again.")
    except StoreError as error:
        lines.append(f"The stores of features cannot be read: {error}")
    chosen = config.out / "selection.jsonl"
    if not chosen.exists():
        lines.append("What is kept here is not written to selection.jsonl yet; `motive select` does that.")
    else:
        with chosen.open("rb") as file:
            on_disk = sum(1 for line in file if line.strip())
        if on_disk != kept:
            lines.append(f"selection.jsonl holds {on_disk} clips, and here {kept} are kept; `motive select` makes them agree.")
    return lines


def _unscored(config: Config) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Rows of clips without a score, and how many there are in each store."""
    found: list[dict[str, Any]] = []
    numbers: Counter[str] = Counter()
    for which in WHICH:
        try:
            store = open_store(config, which)
            for table in store.tables(["id", "name", "status", "reason"]):
                rows = [row for row in table.to_pylist() if row["status"] != "ok"]
                numbers[which] += len(rows)
                found += [{"of": which} | row for row in rows[: REASONS - len(found)]]
        except StoreError:
            continue  # told by _stale
    return found, numbers
