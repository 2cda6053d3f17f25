"""Opening untrusted video files, and their true timeline, read from packets without decoding any."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from motive.errors import ClipError

DEMUXERS = "mov,matroska,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,gif,apng,mxf,nut,ivf,obu,h264,hevc,m4v,yuv4mpegpipe,rm,wtv,dv"
"""What FFmpeg may take a file for. Playlists, concat scripts, image sequences and text art are not among them: a hostile
file could use them to reach other files or the network."""

MAX_PACKETS = 2_000_000
"""Five hours of video at 60 fps with its sound; a file that keeps yielding packets beyond it is endless."""


@dataclass(frozen=True)
class Timeline:
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


@contextmanager
def opened(path: Path, max_pixels: int) -> Iterator[tuple[Any, Any]]:
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


def scan(path: Path, max_pixels: int) -> Timeline:
    """Presentation times from the packets alone; refuses what is too large, empty, cut off or endless."""
    with opened(path, max_pixels) as (container, stream):
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
    return Timeline(min(times), max(stream_end, max(times) + interval), interval, np.unique(times), keyframe is not None)


def _interval(times: list[float], stream: Any) -> float:
    """Seconds between frames: the average over the file, or the declared rate of a single frame."""
    if len(times) > 1 and max(times) > min(times):
        return (max(times) - min(times)) / (len(set(times)) - 1)
    rate = stream.average_rate or stream.guessed_rate
    return 1 / float(rate) if rate else 1.0
