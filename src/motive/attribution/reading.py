"""The half of preparing a clip that needs no model: its frames, how they move, and the mask.

It runs in processes of its own, ahead of the model, so nothing here may load torch.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from motive.engine.messages import Packet
from motive.errors import ClipError
from motive.motion.mask import MaskOptions, motion_mask
from motive.motion.registry import make_tracker
from motive.motion.trackers import Tracker
from motive.video.decode import Decoded, Sampling, decode
from motive.video.remote import Limits
from motive.video.sources import Opener
from motive.video.standardise import Frames
from motive.video.table import Clip

Stride = tuple[int, int, int]
Read = Callable[[Clip], Packet]
"""Gives a clip's arrays "frames" uint8 [F, H, W, 3] and, but for trackers that run beside the model, "mask" float32 [f, h, w]
with their share of ClipFacts; or raises ClipError with the reason why it has none."""


@dataclass(frozen=True)
class ClipFacts:
    """What a clip was and how it moved; motion in px/frame at the standardised size (see motion.mask.Motion)."""

    frames: int
    fps: float
    source_width: int
    source_height: int
    source_fps: float
    source_seconds: float
    codec: str
    repeated: int
    motion_mean: float
    motion_peak: float
    motion_sustained: float
    camera_px: float
    camera_support: float
    cuts: int
    label: str


def frames_reader(sampling: Sampling, limits: Limits) -> Read:
    """Reads frames alone; `limits` are those of fetching a clip."""
    opener = Opener(limits)

    def read(clip: Clip) -> Packet:
        decoded = _decoded(clip, opener, sampling)
        return Packet(_file_facts(decoded, sampling), {"frames": decoded.frames})

    return read


def clip_reader(
    sampling: Sampling, limits: Limits, tracker: str, stride: Stride, options: MaskOptions, threads: int | None
) -> Read:
    """Reads frames and makes the mask, with one of the trackers that need no model. threads: OpenCV's, if not its default."""
    if threads is not None:
        cv2.setNumThreads(threads)
    track, opener = make_tracker(tracker), Opener(limits)

    def read(clip: Clip) -> Packet:
        decoded = _decoded(clip, opener, sampling)
        mask, moved = read_motion(decoded.frames, track, stride, options)
        return Packet(_file_facts(decoded, sampling) | moved, {"frames": decoded.frames, "mask": mask})

    return read


def read_motion(
    frames: Frames, track: Tracker, stride: Stride, options: MaskOptions
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """The mask float32 [f, h, w] of `frames`, and the facts that say how they move."""
    mask, motion = motion_mask(frames, track, stride, options)
    named = {"mean": "motion_mean", "peak": "motion_peak", "sustained": "motion_sustained"}
    return mask, {named.get(name, name): value for name, value in asdict(motion).items()}


def _decoded(clip: Clip, opener: Opener, sampling: Sampling) -> Decoded:
    if clip.problem:
        raise ClipError(clip.problem)
    with opener.local_copy(clip.source, clip.sha256) as path:
        return decode(path, sampling)


def _file_facts(decoded: Decoded, sampling: Sampling) -> dict[str, Any]:
    return {
        "frames": sampling.frames,
        "fps": sampling.fps,
        "source_width": decoded.source_width,
        "source_height": decoded.source_height,
        "source_fps": decoded.source_fps,
        "source_seconds": decoded.source_seconds,
        "codec": decoded.codec,
        "repeated": decoded.repeated,
    }
