"""Where the picture changes, and what of a tracker's displacement that bears out.

Trackers report displacement everywhere, also on still scenes with sensor or compression noise, where DIS gives many pixels
of it wherever there is no texture. What moves changes the picture.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from motive.motion.trackers import Displacement, Frames

Picture = NDArray[np.float32]

LEVELS = 4.0
"""Grey levels (of 255) by which a neighbourhood's mean must change at least."""

NOISES = 5.0
"""And of the standard deviation that the clip's own noise gives such a mean."""

WINDOW = 9 / 240
"""Of the picture's height: that neighbourhood's side, at least 5 pixels."""

FINE = 240
"""Picture height up to which every pixel is looked at; in taller ones every second, third, ..."""

SUSTAINED_QUANTILE = 0.998
"""Of a frame's pixels, the share that may be slower: what moves must fill 0.2 % of the picture to count."""

NOISE_QUANTILE = 0.9
"""Of the displacement where the picture does not change, the share that counts as the tracker's noise."""


@dataclass(frozen=True)
class Evidence:
    """changed: bool [F, h, w] on a grid of every `step`-th pixel, whether the picture changed there since the frame before;
    frame 0 takes frame 1's."""

    changed: NDArray[np.bool_]
    step: int

    def sustained(self, magnitude: NDArray[np.float32]) -> float:
        """What half of the frames reach, px/frame: the median over frames of the SUSTAINED_QUANTILE of `magnitude`
        [F, H, W], which counts as 0 wherever the picture did not change."""
        moving = zip(self._coarse(magnitude)[1:], self.changed[1:], strict=True)
        return float(np.median([_reached(lengths[changed], changed.size) for lengths, changed in moving] or [0.0]))

    def noise(self, magnitude: NDArray[np.float32]) -> float:
        """The tracker's noise on this clip, px/frame: the median over frames of the NOISE_QUANTILE of `magnitude` where the
        picture did not change; 0 if it changes everywhere."""
        still = zip(self._coarse(magnitude)[1:], ~self.changed[1:], strict=True)
        return float(np.median([np.quantile(lengths[rest], NOISE_QUANTILE) for lengths, rest in still if rest.any()] or [0.0]))

    def drop_unseen(self, magnitude: NDArray[np.float32]) -> None:
        """Set `magnitude` [F, H, W] to 0, in place, where the picture did not change."""
        height, width = magnitude.shape[1:]
        for lengths, changed in zip(magnitude, self.changed, strict=True):
            wide = cv2.resize(changed.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
            lengths[wide == 0] = 0

    def _coarse(self, magnitude: NDArray[np.float32]) -> NDArray[np.float32]:
        return magnitude[:, :: self.step, :: self.step]


def evidence(frames: Frames, camera: Displacement | None = None) -> Evidence:
    """Of `frames` uint8 RGB [F, H, W, 3]. Where `camera` is given, the displacement [F, H, W, 2] that the camera alone causes,
    a picture changes where it differs from the one before as the camera would show it now."""
    step = max(1, frames.shape[1] // FINE)
    before = _grey(frames[0], step)
    window = max(5, round(WINDOW * before.shape[0]) | 1)
    changed = np.zeros((len(frames), *before.shape), bool)
    for f in range(1, len(frames)):
        now = _grey(frames[f], step)
        difference = now - (before if camera is None else _moved(before, now, camera[f, ::step, ::step] / step))
        threshold = max(LEVELS, NOISES * _noise_of(difference) / window)
        changed[f] = np.abs(cv2.blur(difference, (window, window))) > threshold
        before = now
    changed[0] = changed[min(1, len(frames) - 1)]
    return Evidence(changed, step)


def _moved(before: Picture, now: Picture, displacement: NDArray[np.float32]) -> Picture:
    """`before` after `displacement`, which lies on the grid of `now`; what comes in from outside is as it is now."""
    height, width = now.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    x, y = x - displacement[..., 0], y - displacement[..., 1]
    seen = cv2.remap(before, x, y, cv2.INTER_LINEAR)
    return np.where((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1), seen, now)


def _grey(frame: Frames, step: int) -> Picture:
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[::step, ::step], np.float32)


def _noise_of(difference: Picture) -> float:
    """Standard deviation of white noise in a picture, from its median second difference, which smooth things hardly enter.

    The mask (1, -2, 1) both ways has a gain of 6 for white noise, and of a normal variable the median length is 0.6745 of
    its standard deviation (Immerkaer 1996, with the median for the mean).
    """
    kernel = np.array([1, -2, 1], np.float32)
    fine = cv2.sepFilter2D(difference, cv2.CV_32F, kernel, kernel)[::2, ::2]  # a quarter of them tells as much
    return float(np.median(np.abs(fine))) / (6 * 0.6745)


def _reached(lengths: NDArray[np.float32], pixels: int) -> float:
    """The SUSTAINED_QUANTILE of `pixels` lengths of which all but `lengths` are 0."""
    rank = int(SUSTAINED_QUANTILE * (pixels - 1))
    skipped = rank - (pixels - len(lengths))
    return float(np.partition(lengths, skipped)[skipped]) if skipped >= 0 else 0.0
