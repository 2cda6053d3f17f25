"""What came of the experiment: each arm's figures, and Motive's against each, with intervals."""

from collections.abc import Callable, Sequence
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
Place = tuple[str, str, int]
"""A run (shared, or a motion), an arm and a seed."""

CHOSEN = {
    "motive": "selection.jsonl",
    "bottom": "harmful.jsonl",
    "latents": "baselines/latents/selection.jsonl",
    "nomask": "baselines/nomask/selection.jsonl",
}
"""Where a run tells the clips of the arms that its queries choose."""

Everything = dict[Place, Seen]


def figures(seen: Everything, runs: dict[str, Config], effort: Effort) -> dict[str, Any]:
    """Each arm's share of right videos, with intervals over prompts and trainings; and Motive's against each."""
    tables = {arm: _right(arm, seen, effort) for arm in (*SHARED, *OWN)}
    arms: dict[str, Any] = {}
    for arm, right in tables.items():
        own = [found for (_, name, _), found in seen.items() if name == arm]
        arms[arm] = {
            "right": _share(right),
            "by motion": {motion: _share(right[n : n + 1]) for n, motion in enumerate(effort.motions)},
            "loss": asdict(interval(_measured(_change(arm, seen, effort)), "experiment")),
            "dynamic_degree_dis": _share(_each(arm, effort, lambda place, _: seen[place].moving)),
            "seen": _shares([motion for one in own for motion in one.motions]),
        }
    against = {arm: _compared(tables["motive"], tables[arm]) for arm in tables if arm != "motive"}
    changes = {arm: _change(arm, seen, effort) for arm in tables}
    less = {arm: _compared(changes["motive"], changes[arm]) for arm in tables if arm != "motive"}
    against_random = {arm: _compared(tables[arm], tables["random"]) for arm in ("bottom", "full", "nomask", "latents")}
    return {
        "arms": arms,
        "motive less": against,
        "loss, motive less": less,
        "less random": against_random,
        "kept": {arm: _mean(_wanted, arm, runs) for arm in CHOSEN},
        "common": {arm: _mean(_common, arm, runs) for arm in CHOSEN if arm != "motive"},
    }


def _right(arm: str, seen: Everything, effort: Effort) -> Floats:
    """1 where a video shows the wanted motion, else 0: [motions, seeds, prompts]."""
    return _each(arm, effort, lambda place, motion: [one == motion for one in seen[place].motions])


def _each(arm: str, effort: Effort, of: Callable[[Place, str], Sequence[float]]) -> Floats:
    """Numbers of an arm's videos, [motions, seeds, prompts]; the base has one model for all seeds."""
    shared, seeds = arm in SHARED, effort.seeds if arm != "base" else effort.seeds[:1] * len(effort.seeds)
    return np.array(
        [[of(("shared" if shared else motion, arm, seed), motion) for seed in seeds] for motion in effort.motions], float
    )


def _change(arm: str, seen: Everything, effort: Effort) -> Floats:
    """Of the loss of each motion's queries, in percent of the base model's: [motions, seeds, 1]."""
    base = seen["shared", "base", effort.seeds[0]].losses
    return _each(arm, effort, lambda place, motion: [100 * (seen[place].losses[motion] / base[motion] - 1)])


def _share(values: Floats) -> dict[str, Any]:
    """Of zeros and ones [motions, seeds, prompts]."""
    return asdict(interval(_measured(values), "experiment", share=True))


def _measured(values: Floats) -> Measured:
    """[motions, seeds, prompts] for intervals that draw prompts and trainings anew, or trainings alone where there are no
    prompts. The motions are those that were asked for: what would come of others is not guessed."""
    _, seed, prompt = (place.ravel() for place in np.indices(values.shape))
    cluster = prompt if values.shape[2] > 1 else seed
    return Measured(values.ravel(), cluster, seed, np.zeros_like(seed))


def _compared(one: Floats, other: Floats) -> dict[str, Any]:
    return asdict(compare(_measured(one - other), "experiment"))


def _shares(motions: list[str]) -> dict[str, float]:
    return {motion: motions.count(motion) / len(motions) for motion in sorted(set(motions))}


def _mean(of: Callable[[Path, str, str], float], arm: str, runs: dict[str, Config]) -> float:
    """Of a number that an arm's clips have for each wanted motion."""
    return float(np.mean([of(run.out, arm, motion) for motion, run in runs.items()]))


def _wanted(out: Path, arm: str, motion: str) -> float:
    """Share of an arm's clips that show the wanted motion."""
    return float(np.mean([entry["extra"]["motion"] == motion for entry in read_jsonl(out / CHOSEN[arm])]))


def _common(out: Path, arm: str, motion: str) -> float:
    """Share of an arm's clips that Motive has chosen too."""
    own, motives = ({entry["id"] for entry in read_jsonl(out / CHOSEN[name])} for name in (arm, "motive"))
    return len(own & motives) / len(own)
