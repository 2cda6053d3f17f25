"""A baseline's clips as files: what Motive is to be compared with."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from motive import verbs
from motive.attribution.scores import DESCRIBING, Scores
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
    baseline.json     name, seed, settings, clips (kept), of (how many there were), state (of the stores they are of), notes

    Raises ConfigError if there is no such baseline, StoreError if the run is not scored.
    """
    progress = progress or Silent()
    baseline = find_baseline(name, config.baselines)
    run = open_run(config, progress)
    choice = baseline(run)
    folder = baseline_folder(config, name)
    write_jsonl(folder / "selection.jsonl", _entries(choice))
    about = _basis(config, run.scores) | {
        "name": name,
        "clips": len(choice.kept),
        "of": len(run.scores),
        "notes": list(choice.notes),
    }
    write_json(folder / "baseline.json", about)
    return folder


def is_made(config: Config, name: str) -> bool:
    """Whether the baseline is there, and of the same pool, with the same settings."""
    try:
        about = json.loads((baseline_folder(config, name) / "baseline.json").read_text(encoding="utf-8"))
        return about | _basis(config, open_run(config, Silent()).scores) == about
    except (OSError, ValueError, TypeError):
        return False


def export_baseline(config: Config, name: str, progress: Progress | None = None) -> list[str]:
    """Write a baseline's clips for trainers into its export/; returns a line for each that could not be."""
    folder = baseline_folder(config, name)
    if not (folder / "selection.jsonl").exists():
        raise StoreError(f"{folder}: no such baseline yet; run `motive baseline` first")
    return verbs.export(config, progress, folder)


def baseline_folder(config: Config, name: str) -> Path:
    return config.out / "baselines" / name


def _basis(config: Config, scores: Scores) -> dict[str, Any]:
    """What a choice depends on, beside the baseline's name."""
    settings = config.baselines.model_dump(mode="json") | {"keep": config.selection.keep}
    return {"seed": config.seed, "settings": settings, "state": scores.facts.state}


def _entries(choice: Choice) -> Iterator[dict[str, Any]]:
    for first in range(0, len(choice.kept), ROWS):
        some = slice(first, first + ROWS)
        rows = choice.scores.rows(choice.kept[some], list(DESCRIBING)).to_pylist()
        for n, row in enumerate(rows, start=first):
            votes = {} if choice.votes is None else {"votes": int(choice.votes[n])}
            yield row | {"extra": json.loads(row["extra"]), "rank": n + 1, **votes, "score": float(choice.score[n])}
