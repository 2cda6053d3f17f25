"""Hard cuts: frames that show something else than the one before, where displacement means nothing."""

import cv2
import numpy as np
from numpy.typing import NDArray

from motive.motion.trackers import Displacement, Frames

THUMBNAIL = (64, 36)
"""Width and height at which pictures are compared: small enough that moving things hardly matter."""

FINE = 240
"""Picture height up to which thumbnails are made of every pixel; in taller ones of every second, third, ..."""

CHANGE_LEVELS = 20.0
"""Grey levels (of 255) by which a thumbnail's pixels must change on average."""

CHANGE_COLOURS = 0.3
"""Share of a thumbnail's pixels that must have another hue or value."""

AGREEMENT = 0.6
"""Correlation of two thumbnails below which they show different things."""


def find_cuts(frames: Frames) -> list[int]:
    """The frames f of `frames` [F, H, W, 3] at which a new shot begins.

    There the pixels change, the colours are others, and the picture is unlike that of frame f - 1. None alone is a cut: a
    van that rushes past changes pixels and picture, light that is switched on changes pixels and colours.
    """
    step = max(1, frames.shape[1] // FINE)
    thumbnails = [cv2.resize(frame[::step, ::step], THUMBNAIL, interpolation=cv2.INTER_AREA) for frame in frames]
    return [f for f in range(1, len(frames)) if _is_cut(thumbnails[f - 1], thumbnails[f])]


def bridge_cuts(displacement: Displacement, cuts: list[int]) -> None:
    """Replace, in place, the displacement [F, H, W, 2] of frames that begin a shot by the next frame's, as frame 0 takes frame
    1's (METHOD.md 2.2); by zero where that begins one too, or there is none."""
    for f in cuts:
        displacement[f] = displacement[f + 1] if f + 1 < len(displacement) and f + 1 not in cuts else 0
    if 1 in cuts:
        displacement[0] = 0


def _is_cut(before: Frames, now: Frames) -> bool:
    first, second = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) for picture in (before, now))
    if np.abs(second - first).mean() < CHANGE_LEVELS:
        return False
    if np.abs(_colours(now) - _colours(before)).sum() / 2 < CHANGE_COLOURS:
        return False
    spread = first.std() * second.std()
    # An even picture, such as black, is like no other.
    agreement = ((first - first.mean()) * (second - second.mean())).mean() / spread if spread > 1 else 0.0
    return bool(agreement < AGREEMENT)


def _colours(picture: Frames) -> NDArray[np.float32]:
    """Shares of 8 hues x 16 values."""
    counts = cv2.calcHist([cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)], [0, 2], None, [8, 16], [0, 180, 0, 256])
    return np.asarray(counts / counts.sum(), np.float32)
