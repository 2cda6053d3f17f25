"""What cheaper attribution costs in rank: parts of the model, shorter features, coarse stages before full fidelity."""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from motive.attribution.cascade import shortlist
from motive.attribution.packing import Precision, layout, pack, unpack
from motive.attribution.scores import Facts, scores_of
from motive.attribution.scores import Scores as ScoreTable
from motive.attribution.selection import select
from motive.gradients.capture import project_gradient
from motive.gradients.loss import clip_loss, shared_noise
from motive.gradients.parameters import choose_parameters
from motive.gradients.projection import Fastfood
from motive.lab.draws import DIM, PARTS, Draws, Job, draw_features, mean_directions, unit, weighting
from motive.lab.inputs import Inputs
from motive.lab.metrics import Judge, Scores, spearman, times_as_good
from motive.lab.rows import kernel_scores
from motive.models.base import VideoModel
from motive.models.registry import load_model
from motive.progress import Progress

COSTS = (0.25, 0.35, 0.5, 0.75)
"""Costs of a cascade, coarse stage and the rest together, over that of scoring the whole pool at full fidelity."""

FEW_FRAMES = 9
"""Of the suite's 17."""


Sides = tuple[Draws, Draws]
"""Of the pool, and of the queries."""


@dataclass(frozen=True)
class Way:
    """A cheaper way to score: its weighting, and whether of clips with FEW_FRAMES."""

    weighting: str
    short: bool = False


WAYS = {name: Way(name) for name in PARTS} | {
    f"{FEW_FRAMES} frames": Way("motion", short=True),
    f"{FEW_FRAMES} frames, the last 2 of 6 blocks": Way("the last 2 of 6 blocks", short=True),
}


def measure(
    judge: Judge, short: list[Inputs], model: Path, folder: Path, draws: int, workers: int, progress: Progress
) -> dict[str, Any]:
    """Everything, as plain values for results.json. `short`: the suite's pool and queries at FEW_FRAMES; `folder` keeps
    draws, of which preset best has `draws`."""
    few = min(4, draws)
    wanted = {name: (way, few) for name, way in WAYS.items()} | {
        "whole": (Way("motion"), few),
        "pool": (Way("attention"), draws),
        "queries": (Way("masked-attention"), draws),
    }
    jobs = [
        Job(inputs, way.weighting, count, folder / which / (way.weighting.replace(" ", "-") + f"-{FEW_FRAMES}" * way.short))
        for way, count in wanted.values()
        for which, inputs in zip(("pool", "queries"), short if way.short else (judge.pool, judge.queries), strict=True)
    ]
    drawn = draw_features(jobs, str(model), workers, progress)
    sides = dict(zip(wanted, zip(drawn[::2], drawn[1::2], strict=True), strict=True))
    whole, best = sides["whole"], (sides["pool"][0], sides["queries"][1])
    ways = {name: sides[name] for name in WAYS}
    costs = _costs(load_model(str(model), (0.75,), "cpu"), judge.pool, short[0])
    one = _cosines(whole, 1)
    fulls = [full for full in (16, 64) if full <= draws]
    return {
        "draws": few,
        "parts": {
            "all parameters": {"cost": 1.0, "spearman": 1.0, **judge(_cosines(whole, few))},
            **{
                name: {"cost": costs[name], "spearman": _agree(_cosines(way, 1), one), **judge(_cosines(way, few))}
                for name, way in ways.items()
            },
        },
        "storage": storage(judge, best, min(16, draws)),
        "cascade": [
            *(_cascade("one draw", name, costs[name], one, _cosines(way, 1), judge) for name, way in ways.items()),
            *(
                _cascade(f"preset best, {full} draws", f"{k} draws", k / full, _best(best, 0, full), _best(best, 0, k), judge)
                for full in fulls
                for k in (1, 2, 4, 8)
            ),
        ],
        "again": {
            str(half): _recall(_best(best, 0, half), _best(best, half, 2 * half), judge, 0.1)
            for half in (8, 16, 32)
            if 2 * half <= draws
        },
    }


def storage(judge: Judge, draws: Sides, count: int) -> dict[str, dict[str, Any]]:
    """`preset: best` from features in as many bytes, 2048 numbers of one and 512 of four, and 2048 of four beside them."""
    whole = [mean_directions(part, count).astype(np.float32) for part in draws]
    kept: dict[tuple[int, Precision], list[NDArray[np.float32]]] = {
        (2048, "float32"): whole,
        (2048, "int8"): [_stored(part) for part in whole],
        (512, "float32"): [part[:, :512] for part in whole],
    }
    scores = {key: kernel_scores(*(unit(part.astype(np.float64)) for part in features)) for key, features in kept.items()}
    return {
        f"{dim} x {precision}": {
            "bytes": layout(precision, dim).itemsize,
            "over": times_as_good(scores[dim, precision], scores[512, "float32"], judge.subsets, judge.losses),
            **judge(scores[dim, precision]),
        }
        for dim, precision in kept
    }


def _stored(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """As they come back from a store that keeps int8."""
    return unpack(b"".join(pack(row, "int8") for row in features), "int8", DIM)


def _cosines(draws: Sides, count: int) -> Scores:
    own, asked = (mean_directions(part, count) for part in draws)
    return own @ asked.T


def _best(draws: Sides, first: int, last: int) -> Scores:
    """`preset: best` from draws `first` to `last`."""
    some = (Draws(part.directions[:, first:last], part.norms[:, first:last]) for part in draws)
    return kernel_scores(*(mean_directions(part, last - first) for part in some))


def _agree(one: Scores, other: Scores) -> float:
    """Spearman over clips, mean over queries."""
    return float(np.mean([spearman(one[:, q], other[:, q]) for q in range(one.shape[1])]))


def _costs(model: VideoModel, pool: Inputs, short: Inputs, clips: int = 12) -> dict[str, float]:
    """Seconds a clip takes each of WAYS over those of all parameters and frames; all in turns, the fastest of each."""
    projector = Fastfood(DIM, 0, model.device)

    def seconds(inputs: Inputs, parameters: str, n: int) -> float:
        choose_parameters(model.denoiser, [parameters])
        given = inputs.latents[n], inputs.texts[n], inputs.masks["dis"][n]
        noise = shared_noise(0, given[0].shape)
        begin = time.perf_counter()
        project_gradient(model.denoiser, projector, [partial(clip_loss, model, *given, noise, 0.75)])
        return time.perf_counter() - begin

    sides = [(pool, "*"), *((short if way.short else pool, weighting(way.weighting).parameters) for way in WAYS.values())]
    whole, *cheap = np.min([[seconds(*side, n) for side in sides] for n in range(min(clips, len(pool)))], axis=0).tolist()
    return dict(zip(WAYS, (each / whole for each in cheap), strict=True))


def _cascade(full: str, coarse: str, cost: float, fine: Scores, cheap: Scores, judge: Judge) -> dict[str, Any]:
    """Recall of the full top tenth for each total cost; none where the coarse stage alone costs more, or leaves no more
    than a tenth."""
    shares = {total: total - cost for total in COSTS}
    recall = {str(total): _recall(fine, cheap, judge, share) if 0.1 < share < 1 else None for total, share in shares.items()}
    return {"full": full, "coarse": coarse, "cost": cost, "recall": recall}


def _recall(fine: Scores, cheap: Scores, judge: Judge, share: float) -> float:
    """Share of the selection by `fine` that the shortlist by `cheap` holds; mean over motions, each asked for by its own
    queries."""
    wanted = np.array([clip.spec.motion for clip in judge.queries.clips])
    found = []
    for motion in dict.fromkeys(wanted.tolist()):
        full, coarse = (_table(scores[:, wanted == motion]) for scores in (fine, cheap))
        kept = {_name(n) for n in select(full, 0.1).kept}
        found.append(len(kept & set(shortlist(coarse, len(full), share).ids)) / len(kept))
    return float(np.mean(found))


def _table(scores: Scores) -> ScoreTable:
    clips = pa.table({"id": [_name(n) for n in range(len(scores))]})
    return scores_of(scores, clips, Facts([{"id": str(q)} for q in range(scores.shape[1])], None, True))


def _name(n: int) -> str:
    return f"{n:06d}"
