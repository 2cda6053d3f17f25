"""Displacement to the motion mask on the latent grid (METHOD.md 2.2-2.4), and what the motion was."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from motive.errors import ClipError, LeftOutError
from motive.motion.camera import CameraModel, fit_camera
from motive.motion.cuts import bridge_cuts, find_cuts
from motive.motion.trackers import Displacement, Frames, Tracker

Label = Literal["moving", "static", "camera"]
Weights = NDArray[np.float32]

EVIDENCE_LEVELS = 4.0
"""Grey levels (of 255) by which a neighbourhood's mean must change for a displacement there to be believed."""

EVIDENCE_WINDOW = 9 / 240
"""Of the picture's height: that neighbourhood's side, at least 9 pixels."""

SUSTAINED_QUANTILE = 0.998
"""Of a frame's pixels, the share that may be slower: what moves must fill 0.2 % of the picture to count."""


NOISE_QUANTILE = 0.9
"""Of the displacement where the picture does not change, the share that counts as the tracker's noise."""


@dataclass(frozen=True)
class MaskOptions:
    """How displacement becomes a mask. The paper's mask is MaskOptions(floor=0).

    floor: px/frame of sustained motion below which a clip is static; 0 turns the test off.
    static: what a static clip gets: "uniform", a mask of ones, or "leave-out", a LeftOutError.
    quantiles: of all magnitudes, taken instead of the minimum and maximum; what lies outside becomes 0 or 1.
    full: px/frame that weigh 1, and what is slower proportionally less, instead of the clip's own range.
    cuts: "keep" what the tracker makes of hard cuts, or "bridge" them (see motion.cuts).
    noise: "keep" the tracker's noise, or "subtract" the clip's own, measured where its picture does not change.
    shape: "soft" weights, or "binary" ones, 1 where displacement reaches the floor.
    dilation: pixels by which what moves is widened before it is made smaller.
    pooling: of the frames that one latent stands for, the "mean" weight or the "max".
    camera: "keep" camera motion, or subtract an "affine" or "homography" model of it.
    """

    floor: float = 0.25
    static: Literal["uniform", "leave-out"] = "uniform"
    quantiles: tuple[float, float] | None = None
    camera: Literal["keep"] | CameraModel = "keep"
    full: float | None = None
    cuts: Literal["keep", "bridge"] = "keep"
    noise: Literal["keep", "subtract"] = "keep"
    shape: Literal["soft", "binary"] = "soft"
    dilation: int = 0
    pooling: Literal["mean", "max"] = "mean"


@dataclass(frozen=True)
class Motion:
    """What moved, in px/frame at the standardised size, after camera removal where that is on.

    mean, peak: mean and maximum magnitude over the clip, the tracker's noise included.
    sustained: what half of the frames reach, counting only displacement that the picture bears out: the median over
        frames of the SUSTAINED_QUANTILE of magnitude where the picture changed. Tracker noise hardly enters it.
    camera_px, camera_support: see Camera; 0 when camera motion is kept.
    cuts: hard cuts in the clip.
    label: "camera" if a camera model was fitted and moves (see Camera), else "static" below the floor, else "moving".
    """

    mean: float
    peak: float
    sustained: float
    camera_px: float
    camera_support: float
    cuts: int
    label: Label


def motion_mask(frames: Frames, tracker: Tracker, stride: tuple[int, int, int], options: MaskOptions) -> tuple[Weights, Motion]:
    """Mask float32 [f, h, w] on the latent grid of `stride` (frames, height, width), in [0, 1], and its clip's motion.

    Raises LeftOutError for a static clip that `options` leaves out, ClipError when the displacement is not finite.
    """
    displacement = tracker(frames)
    if not all(np.isfinite(frame).all() for frame in displacement):
        raise ClipError("its displacement is not finite: the tracker failed on it")
    cuts = find_cuts(frames)
    if options.cuts == "bridge":
        bridge_cuts(displacement, cuts)
    camera_px = camera_support = 0.0
    camera_moves = False
    if options.camera != "keep":
        camera = fit_camera(frames, displacement, options.camera)
        displacement -= camera.displacement
        camera_px, camera_support, camera_moves = camera.px, camera.support, camera.moves
    magnitude = _lengths(displacement)
    del displacement  # the largest thing here: 260 MB at the paper's size
    sustained, noise = _sustained(frames, magnitude)
    if options.noise == "subtract":
        magnitude = np.maximum(magnitude - noise, 0)
    still = sustained < options.floor
    label: Label = "camera" if camera_moves else "static" if still else "moving"
    motion = Motion(float(magnitude.mean()), float(magnitude.max()), sustained, camera_px, camera_support, len(cuts), label)
    if still and options.static == "leave-out":
        beside = "camera motion" if label == "camera" else "tracker noise"
        raise LeftOutError(f"static: sustained motion beside {beside} is {sustained:.2f} px/frame, the floor {options.floor:g}")
    weight = np.ones_like(magnitude) if still else _weight(magnitude, options)
    return to_latent_grid(weight, stride, options.pooling), motion


def _weight(magnitude: Weights, options: MaskOptions) -> Weights:
    """[F, H, W] in [0, 1]."""
    if options.dilation:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, [2 * options.dilation + 1] * 2)
        magnitude = np.stack([cv2.dilate(frame, kernel) for frame in magnitude])
    if options.shape == "binary":
        return (magnitude >= max(options.floor, 1e-6)).astype(np.float32)
    if options.full is not None:
        return (magnitude / np.float32(options.full)).clip(0, 1)
    return normalise(magnitude, options.quantiles)


def normalise(magnitude: Weights, quantiles: tuple[float, float] | None = None) -> Weights:
    """W = (M - min M) / (max M - min M + 1e-6) over all frames and pixels of `magnitude` [F, H, W] (METHOD.md 2.3).

    With `quantiles` (low, high) these take the place of minimum and maximum, and W is cut to [0, 1].
    """
    low, high = (
        (magnitude.min(), magnitude.max()) if quantiles is None else np.quantile(magnitude, quantiles).astype(np.float32)
    )
    weight = magnitude - low
    weight /= high - low + np.float32(1e-6)
    return weight.clip(0, 1, out=weight)


def to_latent_grid(weight: Weights, stride: tuple[int, int, int], pooling: Literal["mean", "max"] = "mean") -> Weights:
    """[F, H, W] -> [1 + (F - 1) / s_f, H / s_h, W / s_w], stride = (s_f, s_h, s_w) (METHOD.md 2.4).

    Bilinear in space. In time as the causal VAE groups frames: latent 0 takes frame 0, latent k the mean of frames
    s_f (k - 1) + 1 .. s_f k, or their maximum.
    """
    step, tall, wide = stride
    frames, height, width = weight.shape
    size = width // wide, height // tall
    small = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR) for frame in weight])
    groups = small[1:].reshape((frames - 1) // step, step, *small.shape[1:])
    return np.concatenate([small[:1], groups.mean(axis=1) if pooling == "mean" else groups.max(axis=1)])


def _lengths(displacement: Displacement) -> NDArray[np.float32]:
    """|d|, px/frame [F, H, W], a frame at a time to need no second array of displacement's size."""
    out = np.empty(displacement.shape[:-1], np.float32)
    for lengths, frame in zip(out, displacement, strict=True):
        np.hypot(frame[..., 0], frame[..., 1], out=lengths)
    return out


def _grey(frame: Frames) -> NDArray[np.float32]:
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)


def _sustained(frames: Frames, magnitude: NDArray[np.float32]) -> tuple[float, float]:
    """Two figures in px/frame: the median over frames of the 99.8th percentile of magnitude, 0 wherever the picture hardly
    changed; and the NOISE_QUANTILE of magnitude where it did not, the tracker's noise on this clip."""
    if len(frames) == 1:
        return 0.0, 0.0
    window = max(9, round(EVIDENCE_WINDOW * magnitude.shape[1]) | 1)
    reached, noise = [], []
    before = _grey(frames[0])
    for f in range(1, len(frames)):
        now = _grey(frames[f])
        changed = np.abs(cv2.blur(now - before, (window, window))) > EVIDENCE_LEVELS
        before = now
        reached.append(np.quantile(np.where(changed, magnitude[f], 0), SUSTAINED_QUANTILE))
        if not changed.all():
            noise.append(np.quantile(magnitude[f][~changed], NOISE_QUANTILE))
    return float(np.median(reached)), float(np.median(noise)) if noise else 0.0
