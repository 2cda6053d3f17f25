"""One source frame to one standardised frame (METHOD.md 2.1)."""

import threading
from typing import Any, cast

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from motive.errors import ClipError

Frames = NDArray[np.uint8]
"""uint8 RGB [F, H, W, 3]."""

SCALING = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT


class Standardiser:
    """Source frame -> uint8 [H, W, 3]: upright, square pixels, scaled to cover H x W, centre-cropped. Threads may share it."""

    def __init__(self, height: int, width: int, pixel_aspect: float) -> None:
        self.height, self.width, self.pixel_aspect = height, width, pixel_aspect
        self.own = threading.local()

    def shown(self, frame: VideoFrame) -> tuple[int, int]:
        """Width and height of a source frame in square pixels, upright."""
        size = round(frame.width * self.pixel_aspect), frame.height
        return size[::-1] if _orientation(frame)[0] else size

    def __call__(self, frame: VideoFrame) -> Frames:
        transposed, mirrored, upended = _orientation(frame)
        height, width = (self.width, self.height) if transposed else (self.height, self.width)
        scaled_height, scaled_width = self._cover(frame, height, width)
        # swscale widens its filters when it shrinks, so BILINEAR is the antialiased triangle filter trainers use.
        if not hasattr(self.own, "reformatter"):
            self.own.reformatter = VideoReformatter()  # it keeps buffers
        picture = self.own.reformatter.reformat(
            frame, scaled_width, scaled_height, "rgb24", interpolation=SCALING, dst_color_range="JPEG", threads=1
        )
        pixels = cast(Frames, picture.to_ndarray())
        top, left = (scaled_height - height) // 2, (scaled_width - width) // 2
        pixels = pixels[top : top + height, left : left + width]
        pixels = pixels.swapaxes(0, 1) if transposed else pixels
        return pixels[:: -1 if upended else 1, :: -1 if mirrored else 1]

    def _cover(self, frame: VideoFrame, height: int, width: int) -> tuple[int, int]:
        """Height and width to scale a frame to so that it covers height x width, in its own aspect, with square pixels."""
        shown_width = frame.width * self.pixel_aspect
        scale = max(height / frame.height, width / shown_width)
        scaled = max(height, round(frame.height * scale)), max(width, round(shown_width * scale))
        if scaled[0] * scaled[1] > 16 * height * width:
            raise ClipError(
                f"its shape, {frame.width} x {frame.height}, is too far from {width} x {height} to be cropped to it"
            )
        return scaled


def _orientation(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """(transposed, then mirrored, then upended): what the display matrix does, for right angles and mirrors.

    The matrix sends a stored pixel (x, y) to (a x + c y, b x + d y).
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(bytes(cast(Any, matrix)), "<i4")[:5] / 65536
    straight, turned = max(abs(b), abs(c)) < 0.02, max(abs(a), abs(d)) < 0.02
    if straight == turned:
        raise ClipError(f"its display matrix ({a:.2f}, {b:.2f}, {c:.2f}, {d:.2f}) is not a multiple of a right angle")
    return (False, bool(a < 0), bool(d < 0)) if straight else (True, bool(c < 0), bool(b < 0))
