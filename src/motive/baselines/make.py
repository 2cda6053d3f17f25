"""A baseline's clips as files: what Motive is to be compared with."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from motive import verbs
from motive.attribution.scores import DESCRIBING
from motive.baselines.choice import Choice, open_run
from motive.baselines.registry import find_baseline
from motive.config import Config
from motive.errors import StoreError
from motive.files import write_json, write_jsonl
from motive.progress import Progress, Silent

ROWS = 1024
"""Clips that become Python objects at a time."""


def make_baseline(config: Config, name: str, progress: Progress | None = None) -> Path:
    """Choose clips of a scored run by the baseline `name`; returns its folder, baselines/<name>/ of the run, which holds

    selection.jsonl   the kept clips, best first, as in the run's own selection.jsonl, with "score" (and "votes", if there were)
    baseline.json     name, seed, settings, clips (kept), of (how many there were), notes

    Raises ConfigError if there is no such baseline, StoreError if the run is not scored.
    """
    progress = progress or Silent()
    baseline = find_baseline(name, config.baselines)
    run = open_run(config, progress)
    choice = baseline(run)
    folder = baseline_folder(config, name)
    write_jsonl(folder / "selection.jsonl", _entries(choice))
    about = {
        "name": name,
        "seed": config.seed,
        "settings": config.baselines.model_dump(mode="json") | {"keep": config.selection.keep},
        "clips": len(choice.kept),
        "of": len(run.scores),
        "notes": list(choice.notes),
    }
    write_json(folder / "baseline.json", about)
    return folder


def export_baseline(config: Config, name: str, progress: Progress | None = None) -> list[str]:
    """Write a baseline's clips for trainers into its export/; returns a line for each that could not be."""
    folder = baseline_folder(config, name)
    if not (folder / "selection.jsonl").exists():
        raise StoreError(f"{folder}: no such baseline yet; run `motive baseline` first")
    return verbs.export(config, progress, folder)


def baseline_folder(config: Config, name: str) -> Path:
    return config.out / "baselines" / name


def _entries(choice: Choice) -> Iterator[dict[str, Any]]:
    for first in range(0, len(choice.kept), ROWS):
        some = slice(first, first + ROWS)
        rows = choice.scores.rows(choice.kept[some], list(DESCRIBING)).to_pylist()
        for n, row in enumerate(rows, start=first):
            votes = {} if choice.votes is None else {"votes": int(choice.votes[n])}
            yield row | {"extra": json.loads(row["extra"]), "rank": n + 1, **votes, "score": float(choice.score[n])}
