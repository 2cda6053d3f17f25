"""How a video changes and moves: temporal flickering and dynamic degree as VBench defines them, and mean motion."""

from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motive.errors import ConfigError
from motive.evaluation.metric import Metric
from motive.files import sha256_file
from motive.motion.raft import raft
from motive.motion.trackers import Tracker, dis

RATE = 8
"""Frames a second that dynamic degree looks at, about."""
FAST = 0.05
"""Share of the pixels whose displacement counts in dynamic degree: the fastest."""
THRESHOLD = 6 / 256
"""Of dynamic degree, in lengths of the shorter side."""


def temporal_flickering() -> Metric:
    """1 where nothing ever changes, lower the more consecutive frames differ. Motion lowers it as flicker does."""
    return Metric("temporal_flickering", "of 1", "higher", lambda video: flickering(video.frames), "1")


def mean_motion() -> Metric:
    """Mean displacement of all pixels, by DIS."""
    return Metric("mean_motion", "px/frame", "neither", lambda video: mean_displacement(video.frames), "1")


def dynamic_degree_dis() -> Metric:
    """VBench's rule on displacement by DIS, which differs from RAFT's: a number of its own, not VBench's."""
    return Metric("dynamic_degree_dis", "share", "higher", lambda video: float(is_dynamic(video.frames, video.fps, dis)), "1")


def dynamic_degree(weights: Path, device: str) -> Metric:
    """VBench's dynamic degree, with a RAFT checkpoint; raises ConfigError without torchvision or the file."""
    if not weights.is_file():
        raise ConfigError(f"evaluate.raft: {weights}: no such file; it is never downloaded")
    track = raft(weights, device=device)
    mark = f"1/{sha256_file(weights)}"
    return Metric("dynamic_degree", "share", "higher", lambda video: float(is_dynamic(video.frames, video.fps, track)), mark)


def flickering(frames: NDArray[np.uint8]) -> float | None:
    """1 - mean absolute difference of consecutive frames uint8 [F, H, W, 3], over 255; None of a single frame."""
    if len(frames) < 2:
        return None
    differences = [np.abs(now.astype(np.int16) - before.astype(np.int16)).mean() for before, now in pairwise(frames)]
    return float((255 - np.mean(differences)) / 255)


def is_dynamic(frames: NDArray[np.uint8], fps: float, track: Tracker) -> bool:
    """Whether in a quarter of the frames, of about 8 a second, the fastest 5 % of the pixels move 6 px at 256 lines.

    Counted as VBench counts: of n frames looked at, round(4 n / 16) pairs must move, and so one pair always must.
    """
    looked_at = frames[:: max(1, round(fps / RATE))]
    if len(looked_at) < 2:
        return False
    height, width = frames.shape[1:3]
    threshold = THRESHOLD * min(height, width)
    moving = sum(fastest(field) > threshold for field in track(looked_at)[1:])
    return moving >= max(1, round(4 * (len(looked_at) / 16)))


def fastest(displacement: NDArray[np.float32]) -> float:
    """Mean length of the longest 5 % of [H, W, 2], px."""
    lengths = np.linalg.norm(displacement, axis=-1).ravel()
    count = max(1, int(len(lengths) * FAST))
    return float(np.partition(lengths, -count)[-count:].mean())


def mean_displacement(frames: NDArray[np.uint8]) -> float | None:
    """Mean length of displacement over all pixels and pairs of frames, px/frame; None of a single frame."""
    return float(np.linalg.norm(dis(frames)[1:], axis=-1).mean()) if len(frames) > 1 else None
