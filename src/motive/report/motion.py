"""What a tracker and a mask make of one clip: a video and a contact sheet to look at.

Side by side: the frame; its displacement as colours, hue for direction and brightness for speed; and the mask on the latent
grid, laid over the frame. Below, on the sheet, magnitude over time.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from motive.attribution.prepare import clip_tracker, mask_options
from motive.config import Config
from motive.files import write_atomic
from motive.motion.mask import Motion, motion_mask, track
from motive.motion.trackers import Displacement, Frames
from motive.video.decode import Sampling, decode
from motive.video.write import write_video

STRIDE = (4, 8, 8)
"""Frames, height and width of one latent, as the Wan family has them."""

ROWS = 8
"""Frames shown on a sheet."""

PLOT = 120
"""Pixels the curve is tall."""


@dataclass(frozen=True)
class Seen:
    """The files written, and what moved in the clip."""

    video: Path
    sheet: Path
    motion: Motion


def show_motion(clip: Path, config: Config, folder: Path) -> Seen:
    """Write `folder`/<clip>.motion.mp4 and .png for the `video` and `motion` settings of `config`.

    Raises ClipError if the clip cannot be decoded, or is left out for being static.
    """
    video = config.video
    sampling = Sampling(video.frames, video.fps, video.height, video.width, video.place, video.max_pixels)
    frames = decode(clip, sampling).frames
    seen, options = clip_tracker(config, "cpu")(frames), mask_options(config.motion)
    mask, motion = motion_mask(frames, lambda _: seen.copy(), STRIDE, options)
    # What the mask is made of: without cuts and camera.
    displacement = track(frames, lambda _: seen, options).displacement
    speed = np.linalg.norm(displacement, axis=-1)
    full = max(float(np.quantile(speed, 0.999)), 1e-3)
    panels = [
        np.concatenate([frame, colours(flow, full), _overlaid(frame, mask, f)], axis=1)
        for f, (frame, flow) in enumerate(zip(frames, displacement, strict=True))
    ]
    even = [panel[: panel.shape[0] // 2 * 2, : panel.shape[1] // 2 * 2] for panel in panels]
    files = [folder / f"{clip.name}.motion{suffix}" for suffix in (".mp4", ".png")]
    write_video(files[0], np.stack(even), video.fps)
    chosen = sorted(set(np.linspace(0, len(frames) - 1, min(ROWS, len(frames))).round().astype(int).tolist()))
    sheet = np.concatenate([*(panels[f] for f in chosen), _curve(speed, motion, panels[0].shape[1])])
    write_atomic(files[1], cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1].tobytes())
    return Seen(files[0], files[1], motion)


def colours(flow: Displacement, full: float) -> Frames:
    """uint8 RGB [H, W, 3] of one frame's displacement [H, W, 2]: red right, yellow-green down, cyan left, violet up; black
    where nothing moves, brightest at `full` px/frame."""
    angle = np.degrees(np.arctan2(flow[..., 1], flow[..., 0])) % 360
    value = np.clip(np.linalg.norm(flow, axis=-1) / full, 0, 1) * 255
    hsv = np.stack([angle / 2, np.full_like(angle, 255), value], axis=-1).astype(np.uint8)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)


def _overlaid(frame: Frames, mask: NDArray[np.float32], f: int) -> Frames:
    """The frame, with the weights of the latent that stands for it laid over in orange, cell by cell."""
    latent = mask[-(-f // STRIDE[0])]
    weight = cv2.resize(latent, (frame.shape[1], frame.shape[0]), interpolation=cv2.INTER_NEAREST)[..., None]
    return np.asarray(frame * (1 - 0.6 * weight) + np.array([255, 120, 0]) * 0.6 * weight, np.uint8)


def _curve(speed: NDArray[np.float32], motion: Motion, width: int) -> Frames:
    """The 99.8th percentile of magnitude over time, px/frame, and the clip's figures."""
    picture = np.full((PLOT, width, 3), 255, np.uint8)
    reached = np.quantile(speed.reshape(len(speed), -1), 0.998, axis=1)
    top = max(float(reached.max()), 1e-3)
    x = np.linspace(8, width - 8, len(reached))
    y = PLOT - 10 - (PLOT - 40) * reached / top
    cv2.polylines(picture, [np.stack([x, y], axis=1).round().astype(np.int32)], False, (200, 60, 0), 2, cv2.LINE_AA)
    figures = f"sustained {motion.sustained:.2f}, peak {motion.peak:.1f}, mean {motion.mean:.2f} px/frame"
    words = f"{motion.label}; {figures}; {motion.cuts} cuts"
    cv2.putText(picture, words, (8, 18), cv2.FONT_HERSHEY_SIMPLEX, min(0.5, width / 1100), (20, 20, 20), 1, cv2.LINE_AA)
    return picture
