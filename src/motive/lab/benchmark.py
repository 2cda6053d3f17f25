"""Judge any attribution method on motive-lab-v1 by implementing one function.

    def scores(pool, pool_captions, queries, query_captions) -> array [N, Q]

gets the paths of the pool's and the queries' video files and their captions, and gives a score to each pair, higher where
training on the clip is thought to help the query. Nothing is trained: effects of training that `motive lab evaluate` has
measured once serve for every method, and ship with Motive.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from motive.errors import ConfigError
from motive.lab import world
from motive.lab.metrics import Interval, Scores, datamodelling, judge_retrieval, relative
from motive.lab.suite import V1, ScoreFunction, plan, plan_digest, write_suite
from motive.progress import Progress


def judge_method(
    method: ScoreFunction, folder: Path, effects_file: Path, progress: Progress, share: float = 0.1
) -> dict[str, Any]:
    """Retrieval and linear datamodelling score of `method`, for captions without and with motion words.

    effects_file: effects.json of a `motive lab evaluate`, such as the one that ships.

    Raises ConfigError if its scores have the wrong shape or are not finite, or the effects are another suite's.
    """
    manifests = write_suite(folder, V1, progress)
    pool, queries = plan(V1)
    places = [
        [manifest.parent / f"{clip.name}.mp4" for clip in clips]
        for manifest, clips in zip(manifests, (pool, queries), strict=True)
    ]
    effects = _effects(effects_file, plan_digest(V1))
    found: dict[str, Any] = {"suite": V1.version}
    for kind, names_motion in (("looks", False), ("motion", True)):
        said = [[world.caption(clip.spec, names_motion) for clip in clips] for clips in (pool, queries)]
        scores = np.asarray(method(places[0], said[0], places[1], said[1]), dtype=np.float64)
        if scores.shape != (len(pool), len(queries)) or not np.isfinite(scores).all():
            raise ConfigError(
                f"the method gave scores of shape {scores.shape}; expected finite ones, {(len(pool), len(queries))}"
            )
        found[kind] = asdict(judge_retrieval(scores, pool, queries, share))
        found[kind]["lds"] = _lds(scores, effects[kind]) if kind in effects else "not measured"
    return found


def _effects(file: Path, suite: str) -> dict[str, Any]:
    """The measured effects by kind of captions; raises ConfigError if they are another suite's."""
    measured = json.loads(file.read_text(encoding="utf-8"))
    if measured["plan"] != suite:
        raise ConfigError(f"{file}: measured on another suite than {V1.version}")
    return dict(measured["captions"])


def _lds(scores: Scores, effects: dict[str, Any]) -> Interval:
    subsets = np.zeros((len(effects["subsets"]), len(scores)), bool)
    for row, chosen in zip(subsets, effects["subsets"], strict=True):
        row[chosen] = True
    return datamodelling(scores, subsets, relative(np.mean(effects["losses"], axis=0), np.array(effects["base"])))
