"""Videos as raters get them: all decoded and encoded anew in one way, so that neither format nor metadata tell arms apart."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from motive.errors import ClipError
from motive.evaluation.study.study import Alteration
from motive.video.decode import Sampling, decode
from motive.video.standardise import Frames
from motive.video.write import write_video

BYTES = 1 << 31
"""Of one decoded video; 14 s of 1920 x 1080 at 24 fps."""

ALTERED: dict[Alteration, Callable[[Frames], Frames]] = {
    Alteration.IDENTICAL: lambda frames: frames,
    Alteration.FROZEN: lambda frames: np.repeat(frames[:1], len(frames), axis=0),
    Alteration.REVERSED: lambda frames: frames[::-1],
}


@dataclass(frozen=True)
class Shape:
    """A video's frames, frames per second, and size in pixels as shown, which is even."""

    frames: int
    fps: float
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.frames} frames of {self.width} x {self.height} at {self.fps:g} fps"


def shape(video: Path) -> Shape:
    """Read from the file's packets and its first frame. Raises ClipError if it is no usable video."""
    first = decode(video, Sampling(1, 1.0, 16, 16))
    fps = round(first.source_fps, 3)
    return Shape(max(1, round(first.source_seconds * fps)), fps, first.source_width // 2 * 2, first.source_height // 2 * 2)


def frames_of(video: Path) -> tuple[Frames, float]:
    """All frames of a video at its own size and rate, and that rate. Raises ClipError if it is too large or damaged."""
    seen = shape(video)
    if seen.frames * seen.width * seen.height * 3 > BYTES:
        raise ClipError(f"{seen} are too many for a rater's page; shorten or shrink it")
    return decode(video, Sampling(seen.frames, seen.fps, seen.height, seen.width)).frames, seen.fps


def encode(source: Path, target: Path, altered: Alteration = Alteration.IDENTICAL) -> None:
    """Write `source` to `target` as H.264 in mp4, changed by one of ALTERED; a target that exists is left as it is."""
    if not target.exists():
        frames, fps = frames_of(source)
        write_video(target, ALTERED[altered](frames), fps)


def moves(video: Path, share: float = 0.005, levels: int = 24) -> bool:
    """Whether anyone sees that it is no still: in some frame, at least `share` of the pixels differ from the first frame by
    more than `levels` of 255 in a colour."""
    frames, _ = frames_of(video)
    first = frames[0].astype(np.int16)
    return any(float((np.abs(frame - first).max(axis=2) > levels).mean()) >= share for frame in frames)
