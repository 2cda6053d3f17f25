"""What came of the experiment: each arm's figures, and Motive's against each, with intervals."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motive.config import Config
from motive.evaluation.intervals import Measured, compare, interval
from motive.files import read_jsonl
from motive.lab.arms import OWN, SHARED, Effort, Seen

Floats = NDArray[np.float64]
Everything = dict[tuple[str, str, int], Seen]
"""By run (shared, or a motion), arm and seed."""


def figures(seen: Everything, runs: dict[str, Config], effort: Effort) -> dict[str, Any]:
    """Each arm's share of right videos, with intervals over motions, trainings and prompts; and Motive's against each."""
    tables = {arm: _right(arm, seen, effort) for arm in (*SHARED, *OWN)}
    arms: dict[str, Any] = {}
    for arm, right in tables.items():
        own = [found for (_, name, _), found in seen.items() if name == arm]
        arms[arm] = {
            "right": asdict(interval(_measured(right), "experiment")),
            "by motion": {motion: float(right[n].mean()) for n, motion in enumerate(effort.motions)},
            "loss": asdict(interval(_measured(_change(arm, seen, effort)[..., None]), "experiment")),
            "dynamic_degree_dis": float(np.mean([one.moving for one in own])),
            "seen": _shares([motion for one in own for motion in one.motions]),
        }
    against = {arm: _compared(tables["motive"], tables[arm]) for arm in tables if arm != "motive"}
    changes = {arm: _change(arm, seen, effort)[..., None] for arm in tables}
    less = {arm: _compared(changes["motive"], changes[arm]) for arm in tables if arm != "motive"}
    against_random = {arm: _compared(tables[arm], tables["random"]) for arm in ("bottom", "full", "nomask", "latents")}
    return {
        "arms": arms,
        "motive less": against,
        "loss, motive less": less,
        "less random": against_random,
        "kept": _kept(runs),
    }


def _right(arm: str, seen: Everything, effort: Effort) -> Floats:
    """1 where a video shows the wanted motion, else 0: [motions, seeds, prompts]."""
    found = np.empty((len(effort.motions), len(effort.seeds), effort.prompts))
    for m, motion in enumerate(effort.motions):
        for s, seed in enumerate(effort.seeds):
            place = ("shared" if arm in SHARED else motion, arm, effort.seeds[0] if arm == "base" else seed)
            found[m, s] = [one == motion for one in seen[place].motions]
    return found


def _change(arm: str, seen: Everything, effort: Effort) -> Floats:
    """Of the loss of each motion's queries, in percent of the base model's: [motions, seeds]."""
    found = np.empty((len(effort.motions), len(effort.seeds)))
    for m, motion in enumerate(effort.motions):
        base = seen["shared", "base", effort.seeds[0]].losses[motion]
        for s, seed in enumerate(effort.seeds):
            place = ("shared" if arm in SHARED else motion, arm, effort.seeds[0] if arm == "base" else seed)
            found[m, s] = 100 * (seen[place].losses[motion] / base - 1)
    return found


def _measured(values: Floats) -> Measured:
    """[motions, seeds, prompts] for intervals that draw motions and trainings anew, and prompts within motions."""
    motion, seed, prompt = np.indices(values.shape)
    return Measured(values.ravel(), motion.ravel(), seed.ravel(), prompt.ravel())


def _compared(one: Floats, other: Floats) -> dict[str, Any]:
    return asdict(compare(_measured(one - other), "experiment"))


def _shares(motions: list[str]) -> dict[str, float]:
    return {motion: motions.count(motion) / len(motions) for motion in sorted(set(motions))}


def _kept(runs: dict[str, Config]) -> dict[str, float]:
    """Share of the kept clips, and of the harmful ones, that show the wanted motion, mean over motions."""
    files = {"motive": "selection.jsonl", "bottom": "harmful.jsonl"} | {
        name: f"baselines/{name}/selection.jsonl" for name in ("latents", "nomask")
    }
    return {
        arm: float(np.mean([_share_of(run.out / file, motion) for motion, run in runs.items()])) for arm, file in files.items()
    }


def _share_of(file: Path, motion: str) -> float:
    return float(np.mean([entry["extra"]["motion"] == motion for entry in read_jsonl(file)]))
