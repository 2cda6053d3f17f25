"""Displacement to the motion mask on the latent grid (METHOD.md 2.2-2.4), and what the motion was."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from motive.errors import ClipError, LeftOutError
from motive.motion.camera import Camera, CameraModel, fit_camera
from motive.motion.cuts import bridge_cuts, find_cuts
from motive.motion.evidence import evidence
from motive.motion.trackers import Displacement, Frames, Tracker

Label = Literal["moving", "static", "camera"]
Weights = NDArray[np.float32]


@dataclass(frozen=True)
class MaskOptions:
    """How displacement becomes a mask. The paper's mask is MaskOptions(floor=0).

    floor: px/frame of sustained motion below which a clip is static; 0 turns the test off.
    static: what a static clip gets: "uniform", a mask of ones, or "leave-out", a LeftOutError.
    quantiles: of all magnitudes, taken instead of the minimum and maximum; what lies outside becomes 0 or 1.
    full: px/frame that weigh 1, and what is slower proportionally less, instead of the clip's own range.
    cuts: "keep" what the tracker makes of hard cuts, or "bridge" them (see motion.cuts).
    noise: "keep" the tracker's noise, "drop" displacement where the picture does not change, or "subtract" from all of it
        what the tracker reports there (see motion.evidence).
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
    noise: Literal["keep", "drop", "subtract"] = "keep"
    shape: Literal["soft", "binary"] = "soft"
    dilation: int = 0
    pooling: Literal["mean", "max"] = "mean"


@dataclass(frozen=True)
class Motion:
    """What moved, in px/frame at the standardised size, after camera removal where that is on.

    mean, peak: mean and maximum magnitude over the clip, the tracker's noise included.
    sustained: what half of the frames reach, counting only displacement that the picture bears out (see
        Evidence.sustained). Tracker noise hardly enters it.
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


@dataclass(frozen=True)
class Tracked:
    """displacement: px/frame [F, H, W, 2]. cuts: frames that begin a shot. camera: None where it is kept."""

    displacement: Displacement
    cuts: list[int]
    camera: Camera | None


def motion_mask(frames: Frames, tracker: Tracker, stride: tuple[int, int, int], options: MaskOptions) -> tuple[Weights, Motion]:
    """Mask float32 [f, h, w] on the latent grid of `stride` (frames, height, width), in [0, 1], and its clip's motion.

    The tracker's array is used up. Raises LeftOutError for a static clip that `options` leaves out, ClipError as `track` does.
    """
    tracked = track(frames, tracker, options)
    camera = tracked.camera
    magnitude = _lengths(tracked.displacement)
    seen = evidence(frames, None if camera is None else camera.displacement)
    sustained = seen.sustained(magnitude)
    if options.noise == "drop":
        seen.drop_unseen(magnitude)
    elif options.noise == "subtract":
        np.maximum(magnitude - seen.noise(magnitude), 0, out=magnitude)
    still = sustained < options.floor
    label: Label = "camera" if camera is not None and camera.moves else "static" if still else "moving"
    px, support = (0.0, 0.0) if camera is None else (camera.px, camera.support)
    motion = Motion(float(magnitude.mean()), float(magnitude.max()), sustained, px, support, len(tracked.cuts), label)
    if still and options.static == "leave-out":
        beside = "camera motion" if label == "camera" else "tracker noise"
        raise LeftOutError(f"static: sustained motion beside {beside} is {sustained:.2f} px/frame, the floor {options.floor:g}")
    weight = np.ones_like(magnitude) if still else _weight(magnitude, options)
    return to_latent_grid(weight, stride, options.pooling), motion


def track(frames: Frames, tracker: Tracker, options: MaskOptions) -> Tracked:
    """What `tracker` sees in `frames`, cuts bridged and the camera removed where `options` say so, in the tracker's own array.

    Raises ClipError when it is not finite, or of another shape than a Tracker's.
    """
    displacement = np.require(tracker(frames), np.float32, ["C", "W"])
    if displacement.shape != (*frames.shape[:3], 2):
        raise ClipError(f"the tracker gave {displacement.shape} for frames {frames.shape}; it must give [F, H, W, 2]")
    if not all(np.isfinite(frame).all() for frame in displacement):
        raise ClipError("its displacement is not finite: the tracker failed on it")
    cuts = find_cuts(frames)
    if options.cuts == "bridge":
        bridge_cuts(displacement, cuts)
    camera = None if options.camera == "keep" else fit_camera(frames, displacement, options.camera)
    if camera is not None:
        displacement -= camera.displacement
    return Tracked(displacement, cuts, camera)


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
    """W = (M - min M) / (max M - min M + 1e-6) over all frames and pixels of `magnitude` [F, H, W], in its own memory
    (METHOD.md 2.3).

    With `quantiles` (low, high) these take the place of minimum and maximum, and W is cut to [0, 1].
    """
    low, high = (
        (magnitude.min(), magnitude.max()) if quantiles is None else np.quantile(magnitude, quantiles).astype(np.float32)
    )
    magnitude -= low
    magnitude /= high - low + np.float32(1e-6)
    return magnitude.clip(0, 1, out=magnitude)


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
    """|d|, px/frame [F, H, W], in the first half of displacement's own memory: it is the largest thing here."""
    frames, height, width, _ = displacement.shape
    out = displacement.reshape(-1)[: frames * height * width].reshape(frames, height, width)
    for lengths, frame in zip(out, displacement, strict=True):
        # Frame f's lengths end where frame f begins, or before it but for frame 0; OpenCV's are made aside.
        lengths[:] = cv2.magnitude(frame[..., 0], frame[..., 1])
    return out
