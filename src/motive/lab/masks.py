"""Trackers and mask options: how near they come to the true motion, and what attribution through them finds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from motive.lab import world
from motive.lab.draws import Job, draw_features, mean_directions
from motive.lab.inputs import Inputs, true_displacement
from motive.lab.metrics import Judge, over_queries, precisions
from motive.lab.motions import PHYSICAL
from motive.lab.rows import kernel_scores
from motive.lab.train import SIZE
from motive.motion.mask import MaskOptions, motion_mask
from motive.motion.trackers import TRACKERS, Displacement, Frames, Tracker, dis
from motive.progress import Progress
from motive.seeds import stream

STRIDE = (4, 8, 8)

DEFAULT = MaskOptions(cuts="bridge")

OPTIONS = {
    "default": DEFAULT,
    "floor of 0.001 px": replace(DEFAULT, floor=0.001),
    "quantiles 0.01, 0.99": replace(DEFAULT, quantiles=(0.01, 0.99)),
    "full at 1 px": replace(DEFAULT, full=1.0),
    "noise dropped": replace(DEFAULT, noise="drop"),
    "noise subtracted": replace(DEFAULT, noise="subtract"),
    "camera removed": replace(DEFAULT, camera="affine"),
    "camera removed, noise dropped": replace(DEFAULT, camera="affine", noise="drop"),
    "binary": replace(DEFAULT, shape="binary"),
    "dilated by 4 px": replace(DEFAULT, dilation=4),
    "noise dropped, dilated by 4 px": replace(DEFAULT, noise="drop", dilation=4),
    "pooled by maximum": replace(DEFAULT, pooling="max"),
}
"""All that differs from the default; pixels are of the model's 64 x 64."""

MOVES = 0.5
"""px/frame above which a pixel belongs to the moving region."""

NOISE = 6.0
"""Grey levels of sensor noise."""


def measure(judge: Judge, model: Path, folder: Path, draws: int, workers: int, progress: Progress) -> dict[str, Any]:
    """Everything, as plain values for results.json; `folder` keeps draws, of which preset best has `draws`."""
    return {
        "truth": against_truth(),
        "still": without_motion(),
        "found": what_they_find(judge, model, folder, draws, workers, progress),
    }


def twice_the_size(frames: Frames) -> Displacement:
    """DIS on frames of twice the size: its patches are 8 pixels wide, an eighth of such small pictures."""
    _, height, width, _ = frames.shape
    large = np.stack([cv2.resize(frame, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC) for frame in frames])
    small = [cv2.resize(d, (width, height), interpolation=cv2.INTER_AREA) for d in dis(large)]
    return np.asarray(small, np.float32) / np.float32(2)


SEEN_BY: dict[str, Tracker] = {**TRACKERS, "dis at twice the size": twice_the_size}


def against_truth(clips: int = 40) -> dict[str, dict[str, dict[str, float]]]:
    """For each tracker: correlation of its magnitude with the true one, and IoU of the moving region, on clean clips; on
    clips with sensor noise, as they are and with what is unseen dropped; on clips with a moving camera, that removed."""
    plain, dropped, removed = (MaskOptions(floor=0, noise=n, camera=c) for n, c in _WAYS)
    conditions: dict[str, tuple[float, str | None, MaskOptions]] = {
        "clean": (0.0, None, plain),
        "clean, noise dropped": (0.0, None, dropped),
        "noise": (NOISE, None, plain),
        "noise, noise dropped": (NOISE, None, dropped),
        **{f"{camera}, camera removed": (0.0, camera, removed) for camera in world.CAMERAS},
        **{f"{camera}, removed, noise dropped": (0.0, camera, replace(removed, noise="drop")) for camera in world.CAMERAS},
    }
    out: dict[str, dict[str, dict[str, float]]] = {name: {} for name in SEEN_BY}
    for condition, (noise, camera, options) in conditions.items():
        rendered = [_rendered(n, noise, camera) for n in range(clips)]
        truth = [np.linalg.norm(_of_objects(clip), axis=-1) for clip in rendered]
        for name, tracker in SEEN_BY.items():
            pairs = [_compared(true, _seen(clip.frames, tracker, options)) for true, clip in zip(truth, rendered, strict=True)]
            correlation, iou = np.mean(pairs, axis=0)
            out[name][condition] = {"correlation": float(correlation), "iou": float(iou)}
    return out


_WAYS: tuple[tuple[Any, Any], ...] = (("keep", "keep"), ("drop", "keep"), ("keep", "affine"))


def without_motion(clips: int = 20) -> dict[str, dict[str, float]]:
    """For each tracker, of clips in which no object moves, the share that gets no mask of its own: still ones with sensor noise
    of several strengths, and after camera removal those that only the camera moves; at the size they are rendered at."""
    conditions = {f"still, noise {noise:g}": (noise, None) for noise in (0.0, 3.0, NOISE, 2 * NOISE)} | {
        f"{camera}, camera removed": (0.0, camera) for camera in world.CAMERAS
    }
    out: dict[str, dict[str, float]] = {name: {} for name in SEEN_BY}
    for condition, (noise, camera) in conditions.items():
        rendered = [_rendered(n, noise, camera, "static", world.SIZE).frames for n in range(clips)]
        options = MaskOptions(camera="affine" if camera else "keep")
        for name, tracker in SEEN_BY.items():
            own = [motion_mask(frames, tracker, STRIDE, options)[1].sustained >= options.floor for frames in rendered]
            out[name][condition] = 1 - float(np.mean(own))
    return out


def what_they_find(
    judge: Judge,
    model: Path,
    folder: Path,
    draws: int,
    workers: int,
    progress: Progress,
    masks: Mapping[str, tuple[str, str]] | None = None,
) -> dict[str, dict[str, Any]]:
    """For each mask: LDS and precision of the paper's score with several draws, both sides masked, and of `preset: best`,
    whose queries alone are; and the latter's precision less that of the first mask, the default one."""
    masks = MASKS if masks is None else masks
    few, many = min(4, draws), min(16, draws)
    jobs = [Job(judge.pool, "attention", many, folder / "pool" / "attention")]
    for name, (tracker, option) in masks.items():
        pool, queries = (_masked(inputs, tracker, option) for inputs in (judge.pool, judge.queries))
        place = folder / "masks" / name.replace(" ", "-").replace(",", "")
        jobs.append(Job(pool, "motion", few, place / "pool"))
        jobs.append(Job(queries, "motion", few, place / "queries"))
        jobs.append(Job(queries, "masked-attention", many, place / "best"))
    plain, *drawn = draw_features(jobs, str(model), workers, progress)
    found: dict[str, dict[str, Any]] = {}
    default: NDArray[np.float64] | None = None
    for n, name in enumerate(masks):
        own, wanted, best = drawn[3 * n : 3 * n + 3]
        both = mean_directions(own, few) @ mean_directions(wanted, few).T
        one = kernel_scores(mean_directions(plain, many), mean_directions(best, many))
        precision = precisions(one, judge.pool.clips, judge.queries.clips)
        default = precision if default is None else default
        found[name] = {"both": judge(both), "best": judge(one), "over default": over_queries(precision - default)}
    return found


def _all_masks() -> dict[str, tuple[str, str]]:
    of_dis = {f"dis, {option}": ("dis", option) for option in OPTIONS}
    others = {
        f"{tracker}, {option}": (tracker, option)
        for tracker in SEEN_BY
        if tracker != "dis"
        for option in ("default", "noise dropped")
    }
    true = ("default", "noise dropped", "dilated by 4 px", "binary")
    return of_dis | others | {f"true displacement, {option}": ("true displacement", option) for option in true}


MASKS = _all_masks()
"""Tracker and option of every mask that attribution is tried with, by name; the default comes first."""


def _masked(inputs: Inputs, tracker: str, option: str) -> Inputs:
    """The same clips, weighted by another mask in the place of Motive's own."""
    masks = [
        motion_mask(frames, _giving(displacement), STRIDE, OPTIONS[option])[0]
        for frames, displacement in zip(inputs.frames, _displacements(inputs, tracker), strict=True)
    ]
    # An exactly even field, which only the truth has, of a panning camera, weighs all alike.
    whole = [mask if mask.any() else np.ones_like(mask) for mask in masks]
    return replace(inputs, masks={"dis": torch.from_numpy(np.stack(whole))})


def _displacements(inputs: Inputs, tracker: str) -> Sequence[Displacement]:
    if tracker == "true displacement":
        return [true_displacement(clip)[: inputs.frames.shape[1]] for clip in inputs.clips]
    return [SEEN_BY[tracker](frames) for frames in inputs.frames]


def _giving(displacement: Displacement) -> Callable[[Frames], Displacement]:
    return lambda frames: displacement.copy()


@cache
def _rendered(n: int, noise: float, camera: str | None, motion: str = "", size: int = SIZE) -> world.Rendered:
    motions = list(PHYSICAL)
    spec = world.Spec(motion or motions[n % len(motions)], world.draw_looks(stream(0, "trackers", n)), camera, noise)
    return world.render(n, spec, size)


def _of_objects(clip: world.Rendered) -> Displacement:
    """Displacement beside the camera's, which is fitted to the scenery: there it is affine, exactly."""
    out = clip.displacement.copy()
    _, height, width, _ = out.shape
    y, x = np.mgrid[:height, :width]
    places = np.stack([x, y, np.ones_like(x)], axis=-1).astype(np.float64)
    for moved, thing in zip(out, clip.mask, strict=True):
        fitted, *_ = np.linalg.lstsq(places[~thing], moved[~thing], rcond=None)
        moved -= (places @ fitted).astype(np.float32)
    return out


def _seen(frames: Frames, tracker: Tracker, options: MaskOptions) -> NDArray[np.float32]:
    """The magnitude that `options` leave, px/frame [F, H, W], up to SIZE of them."""
    weight, _ = motion_mask(frames, tracker, (1, 1, 1), replace(options, full=float(SIZE)))
    return weight * np.float32(SIZE)


def _compared(true: NDArray[np.float32], seen: NDArray[np.float32]) -> tuple[float, float]:
    """Correlation, 0 if either does not vary, and IoU of what moves; 1 if nothing does and nothing is seen to."""
    moving, found = true > MOVES, seen > MOVES
    union = (moving | found).sum()
    flat = true.std() < 1e-6 or seen.std() < 1e-6
    return 0.0 if flat else float(np.corrcoef(true.ravel(), seen.ravel())[0, 1]), (
        moving & found
    ).sum() / union if union else 1.0
