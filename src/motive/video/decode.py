"""One video file to F standardised frames, in memory bounded whatever the file (METHOD.md 2.1).

Two passes. The first reads packets without decoding them: it gives the true timeline, also of variable-frame-rate files,
and shows whether the file holds what it declares. The second decodes only the wanted window, frame by frame; each frame
that is wanted is converted to RGB and resized at once, so beside the decoder's own no more than four frames are held at
their source size.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from av.video.frame import VideoFrame

from motive.errors import ClipError
from motive.video.container import Timeline, opened, scan
from motive.video.standardise import Frames, Standardiser

Place = Literal["start", "centre"]


@dataclass(frozen=True)
class Sampling:
    """The shape every clip is brought to: F = 4k + 1 frames at `fps`, from `place` in the file, height x width pixels."""

    frames: int
    fps: float
    height: int
    width: int
    place: Place = "start"
    max_pixels: int = 8192 * 4320

    @property
    def span(self) -> float:
        """Seconds from the first sampled frame to the last."""
        return (self.frames - 1) / self.fps


@dataclass(frozen=True)
class Decoded:
    """Standardised frames and what the file was: its size in pixels as shown, frames per second, seconds, codec.

    repeated: how many sampled frames show the same source frame as the one before (a source slower than `fps`).
    """

    frames: Frames
    source_width: int
    source_height: int
    source_fps: float
    source_seconds: float
    codec: str
    repeated: int


@dataclass(frozen=True)
class Pictures:
    """Standardised frames, width and height of the last source frame as shown, and how many frames repeat the one before."""

    frames: Frames
    shown: tuple[int, int]
    repeated: int


BESIDE = 2
"""Frames that are standardised at once while others are decoded."""

Timed = tuple[VideoFrame, float]
"""A frame and the second at which it is shown."""


class _DisorderError(ClipError):
    """The presentation times of the frames do not order them."""


def decode(path: Path, sampling: Sampling) -> Decoded:
    """Frames uint8 [F, H, W, 3] of the video at `path`.

    Frame k is the source frame shown nearest to `begin + k / fps`; times count from the file's first frame (its first
    keyframe, where a stream was cut out of another). The picture is turned upright (display matrix), given square pixels,
    scaled with an antialiased filter so that it covers H x W, and centre-cropped. Alpha is dropped, 10-bit is reduced to 8,
    grey becomes RGB.

    Raises ClipError, with the reason, for anything that does not give exactly these frames.
    """
    timeline = scan(path, sampling.max_pixels)
    seconds = timeline.end - timeline.first
    # The last sample must have a nearest frame: it may lie after the last frame by half the time between two.
    needed = sampling.span + timeline.interval / 2
    spare = seconds - needed
    if spare < -1e-3:
        raise ClipError(
            f"too short: {seconds:.2f} s of video, and {sampling.frames} frames at {sampling.fps:g} fps need {needed:.2f} s"
        )
    begin = timeline.first + (max(spare, 0.0) / 2 if sampling.place == "centre" else 0.0)
    wanted = [begin + k / sampling.fps for k in range(sampling.frames)]

    def window(frames: Callable[[Any, Any], Iterator[Timed]]) -> Decoded:
        with opened(path, sampling.max_pixels) as (container, stream):
            standardise = Standardiser(sampling.height, sampling.width, float(stream.sample_aspect_ratio or 1))
            pictures = _collect(frames(container, stream), wanted, timeline, standardise)
            codec = stream.codec_context.codec.canonical_name
        return Decoded(pictures.frames, *pictures.shown, 1 / timeline.interval, seconds, codec, pictures.repeated)

    keyframe = begin - 2 * timeline.interval
    if keyframe > timeline.first:
        # Seeking is only a short cut: where the index is wrong or pictures lean on earlier ones, the start still works.
        with suppress(ClipError):
            return window(lambda container, stream: _from_keyframe(container, stream, keyframe))
    try:
        return window(lambda container, stream: _by_presentation(_from_start(container, stream, timeline)))
    except _DisorderError:
        return window(lambda container, stream: _by_decoding(_from_start(container, stream, timeline), stream, timeline))


def _from_keyframe(container: Any, stream: Any, moment: float) -> Iterator[Timed]:
    """Frames from the last keyframe before `moment` on."""
    container.seek(int(moment / stream.time_base), stream=stream, backward=True)
    frames = _by_presentation(container.decode(stream))
    first = next(frames, None)
    if first is None or not first[0].key_frame or first[1] > moment:
        raise ClipError(f"no keyframe is found before {moment:.2f} s")
    yield first
    yield from frames


def _from_start(container: Any, stream: Any, timeline: Timeline) -> Iterator[VideoFrame]:
    """Frames from the first keyframe on, without those shown before it (see scan)."""
    started = not timeline.keyed
    for packet in container.demux(stream):
        started = started or packet.is_keyframe
        early = packet.pts is not None and not packet.is_discard and packet.pts * stream.time_base < timeline.first - 1e-6
        if started and not early:
            yield from packet.decode()


def _by_presentation(frames: Iterator[VideoFrame]) -> Iterator[Timed]:
    for frame in frames:
        if frame.time is None:
            raise _DisorderError("its frames carry no times")
        yield frame, frame.time


def _by_decoding(frames: Iterator[VideoFrame], stream: Any, timeline: Timeline) -> Iterator[Timed]:
    """Frames of a container that stores decoding times only, as AVI and ASF do.

    A frame is shown at the time of the packet that brought it out, less the decoder's constant delay; the last few, which
    come when no packet is left, follow at the usual distance.
    """
    delay: float | None = None
    time = timeline.first - timeline.interval
    for frame in frames:
        time += timeline.interval
        if frame.dts is not None:
            moment = float(frame.dts * stream.time_base)
            delay = moment - timeline.first if delay is None else delay
            time = moment - delay
        yield frame, time


def _collect(frames: Iterator[Timed], wanted: list[float], timeline: Timeline, standardise: Standardiser) -> Pictures:
    """For every wanted time the nearest frame. Source frames are standardised while the next ones are decoded.

    A frame is nearest to all wanted times up to the midpoint between it and its successor; times on a midpoint belong to
    the earlier frame, with a millisecond's tolerance, which is how coarsely Matroska stores times. A frame that is further
    from its time than the packets promise stands for one that got lost; a single one may be meant to go (a picture that is
    coded in two packets, or as "nothing new").
    """
    out = np.empty((len(wanted), standardise.height, standardise.width, 3), np.uint8)
    filled = shown = 0

    def place(frame: VideoFrame, first: int, last: int) -> None:
        out[first:last] = standardise(frame)

    # Beside the decoder's thread: none of them needs Python's lock for long.
    with ThreadPoolExecutor(BESIDE) as others:
        placing: deque[Future[None]] = deque()
        for frame, time, last_moment in _with_last_moments(frames, timeline):
            upto = filled
            while upto < len(wanted) and wanted[upto] <= last_moment:
                if abs(wanted[upto] - time) > timeline.distance(wanted[upto]) + 1.25 * timeline.interval:
                    raise ClipError(f"damaged: the frame at {wanted[upto]:.2f} s does not decode")
                upto += 1
            if upto > filled:
                if len(placing) == BESIDE:
                    placing.popleft().result()
                placing.append(others.submit(place, frame, filled, upto))
                filled, shown = upto, shown + 1
            if filled == len(wanted):
                for placed in placing:
                    placed.result()
                return Pictures(out, standardise.shown(frame), filled - shown)
    raise ClipError(f"damaged: only {filled} of the {len(wanted)} frames wanted can be decoded")


def _with_last_moments(frames: Iterator[Timed], timeline: Timeline) -> Iterator[tuple[VideoFrame, float, float]]:
    """Each frame with its time and the last moment it is nearest to; of frames at the same time the first counts."""
    previous: Timed | None = None
    for frame, time in frames:
        if frame.is_corrupt:
            raise ClipError(f"damaged: the frame at {time:.2f} s does not decode")
        if previous is not None and time < previous[1]:
            raise _DisorderError(f"its frames' times run backwards at {time:.2f} s")
        if previous is None or time > previous[1]:
            if previous is not None:
                yield *previous, (previous[1] + time) / 2 + 1e-3
            previous = frame, time
    if previous is not None:
        yield *previous, timeline.end
