"""One video file to F standardised frames, in memory bounded whatever the file (METHOD.md 2.1).

Two passes. The first reads packets without decoding them: it gives the true timeline, also of variable-frame-rate files,
and shows whether the file holds what it declares. The second decodes only the wanted window, frame by frame; each frame
that is wanted is converted to RGB and resized at once, so beside the decoder's own no more than two frames are held at
their source size.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from motive.errors import ClipError

Frames = NDArray[np.uint8]
"""uint8 RGB [F, H, W, 3]."""

Place = Literal["start", "centre"]

DEMUXERS = "mov,matroska,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,gif,apng,mxf,nut,ivf,obu,h264,hevc,m4v,yuv4mpegpipe,rm,wtv,dv"
"""What FFmpeg may take a file for. Playlists, concat scripts, image sequences and text art are not among them: a hostile
file could use them to reach other files or the network."""

MAX_PACKETS = 5_000_000
"""A day of video at 60 fps; a file that keeps yielding packets beyond it is endless."""


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
class _Timeline:
    """Seconds: when the first frame appears, when the last one goes, the usual time between two, and all, in order.

    keyed: whether keyframes are marked.
    """

    first: float
    end: float
    interval: float
    times: NDArray[np.float64]
    keyed: bool

    def distance(self, moment: float) -> float:
        """From `moment` to the nearest time at which the file has a frame."""
        after = int(np.searchsorted(self.times, moment))
        return float(np.abs(self.times[max(after - 1, 0) : after + 1] - moment).min())


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
    timeline = _scan(path, sampling.max_pixels)
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
        with _opened(path, sampling.max_pixels) as (container, stream):
            standardise = _Standardiser(sampling, float(stream.sample_aspect_ratio or 1))
            pictures, repeated = _collect(frames(container, stream), wanted, timeline, standardise)
            width, height = standardise.shown
            codec = stream.codec_context.codec.canonical_name
        return Decoded(pictures, width, height, 1 / timeline.interval, seconds, codec, repeated)

    keyframe = begin - 2 * timeline.interval
    if keyframe > timeline.first:
        # Seeking is only a short cut: where the index is wrong or pictures lean on earlier ones, the start still works.
        with suppress(ClipError):
            return window(lambda container, stream: _from_keyframe(container, stream, keyframe))
    try:
        return window(lambda container, stream: _by_presentation(_from_start(container, stream, timeline)))
    except _DisorderError:
        return window(lambda container, stream: _by_decoding(_from_start(container, stream, timeline), stream, timeline))


@contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[tuple[Any, Any]]:
    """The container and its first real video stream; every FFmpeg error inside becomes a ClipError."""
    # Decoders pad what they are given, so theirs is the looser limit; they meet it before they allocate a picture.
    limit = {"max_pixels": str(min(2 * max_pixels, 2**31 - 1))}
    options = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file"} | limit
    failure = "not readable as video"
    try:
        with av.open(f"file:{path}", options=options, metadata_errors="replace") as container:
            streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
            if not streams:
                kinds = sorted({"a cover" if s.type == "video" else str(s.type) for s in container.streams})
                raise ClipError("holds no video stream" + (f", only {', '.join(kinds)}" if kinds else ""))
            stream = streams[0]
            if stream.codec_context is None:
                raise ClipError("its video codec is not known")
            # One thread: on damaged data FFmpeg's wait for each other for ever (HEVC), and each holds frames of its own.
            stream.thread_type, stream.codec_context.thread_count = "NONE", 1
            # By default FFmpeg hides damage behind grey or the picture before.
            stream.codec_context.options = {"err_detect": "explode"} | limit
            failure = "does not decode"
            yield container, stream
    except (av.FFmpegError, OSError, IndexError, ArithmeticError, EOFError, ValueError) as error:
        raise ClipError(f"{failure}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _scan(path: Path, max_pixels: int) -> _Timeline:
    """Presentation times from the packets alone; refuses what is too large, empty, cut off or endless."""
    with _opened(path, max_pixels) as (container, stream):
        context = stream.codec_context
        if context.width * context.height > max_pixels:
            raise ClipError(f"frames of {context.width} x {context.height} exceed the limit of {max_pixels:,} pixels")
        base = float(stream.time_base or 0)
        times: list[float] = []
        end = stream_end = 0.0
        keyframe: float | None = None
        untimed = False
        for count, packet in enumerate(container.demux(), start=1):
            if count > MAX_PACKETS:
                raise ClipError(f"more than {MAX_PACKETS:,} packets: endless or not a clip")
            moment = packet.pts if packet.pts is not None else packet.dts
            if moment is None:
                untimed = untimed or (packet.size > 0 and packet.stream_index == stream.index)
                continue
            if keyframe is None and packet.stream_index == stream.index and packet.is_keyframe:
                keyframe, times = moment * base, []
            if packet.is_discard:
                continue
            gone = float((moment + (packet.duration or 0)) * packet.time_base)
            end = max(end, gone)
            if packet.stream_index == stream.index and packet.size:
                if packet.is_corrupt:
                    raise ClipError(f"cut off or damaged: the packet at {moment * base:.2f} s is incomplete")
                times.append(moment * base)
                stream_end = max(stream_end, gone)
        # Frames that stand or are shown before the first keyframe lean on pictures that the file does not hold.
        times = [time for time in times if keyframe is None or time >= keyframe]
        if not times and untimed:
            raise ClipError("its packets carry no times: a bare stream, which needs a container such as mp4 or mkv")
        if not times:
            raise ClipError("holds a video stream without a single frame")
        declared = container.duration / av.time_base if container.duration else 0.0
        origin = container.start_time / av.time_base if container.start_time else 0.0
        interval = _interval(times, stream)
        held = end - min(origin, 0.0)  # some containers count what they declare from 0, some from their first frame
        if declared and held + interval < declared - max(0.5, 3 * interval):
            raise ClipError(f"cut off: the file declares {declared:.2f} s and holds {held:.2f} s")
    return _Timeline(min(times), max(stream_end, max(times) + interval), interval, np.unique(times), keyframe is not None)


def _interval(times: list[float], stream: Any) -> float:
    """Seconds between frames: the average over the file, or the declared rate of a single frame."""
    if len(times) > 1 and max(times) > min(times):
        return (max(times) - min(times)) / (len(set(times)) - 1)
    rate = stream.average_rate or stream.guessed_rate
    return 1 / float(rate) if rate else 1.0


def _from_keyframe(container: Any, stream: Any, moment: float) -> Iterator[Timed]:
    """Frames from the last keyframe before `moment` on."""
    container.seek(int(moment / stream.time_base), stream=stream, backward=True)
    frames = _by_presentation(container.decode(stream))
    first = next(frames, None)
    if first is None or not first[0].key_frame or first[1] > moment:
        raise ClipError(f"no keyframe is found before {moment:.2f} s")
    yield first
    yield from frames


def _from_start(container: Any, stream: Any, timeline: _Timeline) -> Iterator[VideoFrame]:
    """Frames from the first keyframe on, without those shown before it (see _scan)."""
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


def _by_decoding(frames: Iterator[VideoFrame], stream: Any, timeline: _Timeline) -> Iterator[Timed]:
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


def _collect(
    frames: Iterator[Timed], wanted: list[float], timeline: _Timeline, standardise: "_Standardiser"
) -> tuple[Frames, int]:
    """For every wanted time the nearest frame, and how many repeat the one before, holding one source frame at a time.

    A frame is nearest to all wanted times up to the midpoint between it and its successor; times on a midpoint belong to
    the earlier frame, with a millisecond's tolerance, which is how coarsely Matroska stores times. A frame that is further
    from its time than the packets promise stands for one that got lost; a single one may be meant to go (a picture that is
    coded in two packets, or as "nothing new").
    """
    out = np.empty((len(wanted), standardise.height, standardise.width, 3), np.uint8)
    filled = shown = 0
    for frame, time, last_moment in _with_last_moments(frames, timeline):
        upto = filled
        while upto < len(wanted) and wanted[upto] <= last_moment:
            if abs(wanted[upto] - time) > timeline.distance(wanted[upto]) + 1.25 * timeline.interval:
                raise ClipError(f"damaged: the frame at {wanted[upto]:.2f} s does not decode")
            upto += 1
        if upto > filled:
            out[filled:upto] = standardise(frame)
            filled, shown = upto, shown + 1
        if filled == len(wanted):
            return out, filled - shown
    raise ClipError(f"damaged: only {filled} of the {len(wanted)} frames wanted can be decoded")


def _with_last_moments(frames: Iterator[Timed], timeline: _Timeline) -> Iterator[tuple[VideoFrame, float, float]]:
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


SCALING = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT


class _Standardiser:
    """Source frame -> uint8 [H, W, 3]: upright, square pixels, scaled to cover H x W, centre-cropped."""

    def __init__(self, sampling: Sampling, pixel_aspect: float) -> None:
        self.height, self.width, self.pixel_aspect = sampling.height, sampling.width, pixel_aspect
        self.reformatter = VideoReformatter()
        self.shown = 0, 0  # width and height of the last frame in square pixels, upright

    def __call__(self, frame: VideoFrame) -> Frames:
        transposed, mirrored, upended = _orientation(frame)
        height, width = (self.width, self.height) if transposed else (self.height, self.width)
        size = round(frame.width * self.pixel_aspect), frame.height
        self.shown = size[::-1] if transposed else size
        scaled_height, scaled_width = self._cover(frame, height, width)
        # swscale widens its filters when it shrinks, so BILINEAR is the antialiased triangle filter trainers use.
        picture = self.reformatter.reformat(
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
