"""Displacement to the motion mask on the latent grid (METHOD.md 2.2-2.4), and what the motion was."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from motive.errors import ClipError, LeftOutError
from motive.motion.camera import CameraModel, fit_camera
from motive.motion.trackers import Displacement, Frames, Tracker

Label = Literal["moving", "static", "camera"]

EVIDENCE_LEVELS = 4.0
"""Grey levels (of 255) by which a neighbourhood's mean must change for a displacement there to be believed."""

EVIDENCE_WINDOW = 9 / 240
"""Of the picture's height: that neighbourhood's side, at least 9 pixels."""

SUSTAINED_QUANTILE = 0.998
"""Of a frame's pixels, the share that may be slower: what moves must fill 0.2 % of the picture to count."""


@dataclass(frozen=True)
class MaskOptions:
    """How displacement becomes a mask. The paper's mask is MaskOptions(floor=0).

    floor: px/frame of sustained motion below which a clip is static; 0 turns the test off.
    static: what a static clip gets: "uniform", a mask of ones, or "leave-out", a LeftOutError.
    quantiles: of all magnitudes, taken instead of the minimum and maximum; what lies outside becomes 0 or 1.
    camera: "keep" camera motion, or subtract an "affine" or "homography" model of it.
    """

    floor: float = 0.25
    static: Literal["uniform", "leave-out"] = "uniform"
    quantiles: tuple[float, float] | None = None
    camera: Literal["keep"] | CameraModel = "keep"


@dataclass(frozen=True)
class Motion:
    """What moved, in px/frame at the standardised size, after camera removal where that is on.

    mean, peak: mean and maximum magnitude over the clip, the tracker's noise included.
    sustained: what half of the frames reach, counting only displacement that the picture bears out: the median over
        frames of the SUSTAINED_QUANTILE of magnitude where the picture changed. Tracker noise hardly enters it.
    camera_px, camera_support: see Camera; 0 when camera motion is kept.
    label: "camera" if a camera model was fitted and moves (see Camera), else "static" below the floor, else "moving".
    """

    mean: float
    peak: float
    sustained: float
    camera_px: float
    camera_support: float
    label: Label


def motion_mask(frames: Frames, tracker: Tracker, stride: tuple[int, int, int], options: MaskOptions) -> tuple[Tensor, Motion]:
    """Mask float32 [f, h, w] on the latent grid of `stride` (frames, height, width), in [0, 1], and its clip's motion.

    Raises LeftOutError for a static clip that `options` leaves out, ClipError when the displacement is not finite.
    """
    displacement = tracker(frames)
    if not all(np.isfinite(frame).all() for frame in displacement):
        raise ClipError("its displacement is not finite: the tracker failed on it")
    camera_px = camera_support = 0.0
    camera_moves = False
    if options.camera != "keep":
        camera = fit_camera(frames, displacement, options.camera)
        displacement -= camera.displacement
        camera_px, camera_support, camera_moves = camera.px, camera.support, camera.moves
    magnitude = _lengths(displacement)
    del displacement  # the largest thing here: 260 MB at the paper's size
    sustained = _sustained(frames, magnitude)
    still = sustained < options.floor
    label: Label = "camera" if camera_moves else "static" if still else "moving"
    motion = Motion(float(magnitude.mean()), float(magnitude.max()), sustained, camera_px, camera_support, label)
    if still and options.static == "leave-out":
        beside = "camera motion" if label == "camera" else "tracker noise"
        raise LeftOutError(f"static: sustained motion beside {beside} is {sustained:.2f} px/frame, the floor {options.floor:g}")
    weight = torch.ones(magnitude.shape) if still else normalise(torch.from_numpy(magnitude), options.quantiles)
    return to_latent_grid(weight, stride), motion


def normalise(magnitude: Tensor, quantiles: tuple[float, float] | None = None) -> Tensor:
    """W = (M - min M) / (max M - min M + 1e-6) over all frames and pixels of `magnitude` [F, H, W] (METHOD.md 2.3).

    With `quantiles` (low, high) these take the place of minimum and maximum, and W is cut to [0, 1].
    """
    if quantiles is None:
        low, high = magnitude.min(), magnitude.max()
        return (magnitude - low) / (high - low + 1e-6)
    low, high = torch.from_numpy(np.quantile(magnitude.numpy(), quantiles).astype(np.float32))
    return ((magnitude - low) / (high - low + 1e-6)).clamp(0, 1)


def to_latent_grid(weight: Tensor, stride: tuple[int, int, int]) -> Tensor:
    """[F, H, W] -> [1 + (F - 1) / s_f, H / s_h, W / s_w], stride = (s_f, s_h, s_w) (METHOD.md 2.4).

    Bilinear in space. In time as the causal VAE groups frames: latent 0 takes frame 0, latent k the mean of frames
    s_f (k - 1) + 1 .. s_f k.
    """
    step, tall, wide = stride
    frames, height, width = weight.shape
    small = interpolate(weight[:, None], size=(height // tall, width // wide), mode="bilinear", align_corners=False)[:, 0]
    groups = small[1:].unflatten(0, ((frames - 1) // step, step)).mean(dim=1) if frames > 1 else small[1:]
    return torch.cat([small[:1], groups])


def _lengths(displacement: Displacement) -> NDArray[np.float32]:
    """|d|, px/frame [F, H, W], a frame at a time to need no second array of displacement's size."""
    out = np.empty(displacement.shape[:-1], np.float32)
    for lengths, frame in zip(out, displacement, strict=True):
        np.hypot(frame[..., 0], frame[..., 1], out=lengths)
    return out


def _grey(frame: Frames) -> NDArray[np.float32]:
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)


def _sustained(frames: Frames, magnitude: NDArray[np.float32]) -> float:
    """The median over frames of the 99.8th percentile of magnitude, 0 wherever the picture hardly changed."""
    if len(frames) == 1:
        return 0.0
    window = max(9, round(EVIDENCE_WINDOW * magnitude.shape[1]) | 1)
    reached = []
    before = _grey(frames[0])
    for f in range(1, len(frames)):
        now = _grey(frames[f])
        changed = np.abs(cv2.blur(now - before, (window, window))) > EVIDENCE_LEVELS
        before = now
        reached.append(np.quantile(np.where(changed, magnitude[f], 0), SUSTAINED_QUANTILE))
    return float(np.median(reached))
