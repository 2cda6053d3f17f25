"""Judge any attribution method on motive-lab-v1 by implementing one function.

    def scores(pool, pool_captions, queries, query_captions) -> array [N, Q]

gets the paths of the pool's and the queries' video files and their captions, and gives a score to each pair, higher where
training on the clip is thought to help the query. No fine-tuning is needed: the measured effects of training ship with
Motive.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from motive.errors import ConfigError
from motive.lab import world
from motive.lab.metrics import datamodelling, relative, retrieval
from motive.lab.shipped import measured_effects
from motive.lab.suite import V1, ScoreFunction, plan, plan_digest, write_suite
from motive.progress import Progress


def judge_method(method: ScoreFunction, folder: Path, progress: Progress, share: float = 0.1) -> dict[str, Any]:
    """Retrieval and linear datamodelling score of `method`, for captions without and with motion words.

    Raises ConfigError if its scores have the wrong shape or are not finite.
    """
    manifests = write_suite(folder, V1, progress)
    pool, queries = plan(V1)
    places = [
        [manifest.parent / f"{clip.name}.mp4" for clip in clips]
        for manifest, clips in zip(manifests, (pool, queries), strict=True)
    ]
    measured = json.loads(measured_effects().read_text(encoding="utf-8"))
    if measured["plan"] != plan_digest(V1):
        raise ConfigError("the measured effects that ship with Motive belong to another suite")
    found: dict[str, Any] = {"suite": V1.version}
    for kind, names_motion in (("looks", False), ("motion", True)):
        said = [[world.caption(clip.spec, names_motion) for clip in clips] for clips in (pool, queries)]
        scores = np.asarray(method(places[0], said[0], places[1], said[1]), dtype=np.float64)
        if scores.shape != (len(pool), len(queries)) or not np.isfinite(scores).all():
            raise ConfigError(
                f"the method gave scores of shape {scores.shape}; expected finite ones, {(len(pool), len(queries))}"
            )
        motions, kinds = ([getattr(clip.spec, name) for clip in pool] for name in ("motion", "kind"))
        found[kind] = asdict(retrieval(scores, motions, kinds, [clip.spec.motion for clip in queries], share))
        if kind in measured["captions"]:
            effects = measured["captions"][kind]
            subsets = np.zeros((len(effects["subsets"]), len(pool)), bool)
            for row, chosen in zip(subsets, effects["subsets"], strict=True):
                row[chosen] = True
            losses = relative(np.mean(effects["losses"], axis=0), np.array(effects["base"]))
            found[kind]["lds"] = datamodelling(scores, subsets, losses)
    return found
