"""Video files made by the tests: numbered pictures in many containers, codecs and timelines, and ways to damage them."""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
COLUMNS, ROWS = 4, 3
"""A numbered picture shows its number in binary, as a grid of black and white blocks."""


def numbered(number: int, height: int = 48, width: int = 64) -> Picture:
    """RGB picture [height, width, 3] that says `number`, up to 12 bits, and survives scaling and coarse coding."""
    bits = [255 * (number >> bit & 1) for bit in range(COLUMNS * ROWS)]
    grid = np.array(bits, np.uint8).reshape(ROWS, COLUMNS)
    picture = grid[np.arange(height) * ROWS // height][:, np.arange(width) * COLUMNS // width]
    return np.repeat(picture[..., None], 3, axis=2)


def number_in(picture: Picture) -> int:
    """The number a (decoded, scaled) numbered picture says."""
    height, width = picture.shape[:2]
    rows = [height * (2 * row + 1) // (2 * ROWS) for row in range(ROWS)]
    columns = [width * (2 * column + 1) // (2 * COLUMNS) for column in range(COLUMNS)]
    levels = [int(picture[row, column].mean()) for row in rows for column in columns]
    assert all(level < 70 or level > 185 for level in levels), f"not a numbered picture: {levels}"
    return sum(1 << bit for bit, level in enumerate(levels) if level > 128)


def numbers_in(frames: Iterable[Picture]) -> list[int]:
    return [number_in(frame) for frame in frames]


def quarters(height: int = 48, width: int = 64) -> Picture:
    """Red and green above blue and white: no turn or mirror maps it to itself."""
    picture = np.zeros((height, width, 3), np.uint8)
    top, left = slice(0, height // 2), slice(0, width // 2)
    bottom, right = slice(height // 2, None), slice(width // 2, None)
    picture[top, left], picture[top, right], picture[bottom, left], picture[bottom, right] = RED, GREEN, BLUE, WHITE
    return picture


def busy(number: int, height: int = 96, width: int = 128) -> Picture:
    """A moving picture with noise, whose code has something to damage."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin((x + 3 * number) / 9), np.cos((y - 2 * number) / 7), np.sin((x + y + number) / 20)]
    grain = np.random.default_rng(number).normal(0, 6, (height, width, 3))
    return np.clip(100 * np.stack(waves, axis=-1) + 128 + grain, 0, 255).astype(np.uint8)


def flat(colour: tuple[int, int, int], height: int = 48, width: int = 64) -> Picture:
    return np.full((height, width, 3), colour, np.uint8)


def write(
    path: Path,
    pictures: Iterable[Picture | av.VideoFrame],
    fps: float | Fraction = 30,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: Mapping[str, str] | None = None,
    times: Sequence[float] | None = None,
    ticks: Fraction = Fraction(1, 90_000),
    muxer: str | None = None,
    muxing: Mapping[str, str] | None = None,
    aspect: Fraction | None = None,
    matrix: str | None = None,
    tags: Mapping[str, int] | None = None,
    audio: float = 0.0,
    cover: bool = False,
) -> Path:
    """Encode RGB pictures, or frames as they are, at `fps`, or at `times` in seconds, which are rounded to `ticks`.

    muxing: options of the container. aspect: of a pixel. matrix: by which RGB becomes YUV. tags: what the codec context says
    of it, such as `colorspace`. audio: seconds of silence beside the pictures. cover: whether a cover picture goes along.
    """
    rate = Fraction(fps).limit_denominator(1001)
    ticks = ticks if times is not None else 1 / rate
    with av.open(str(path), "w", format=muxer, options=dict(muxing or {})) as container:
        stream: Any = container.add_stream(codec, rate=rate, options={"threads": "1"} | dict(options or {}))
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = ticks
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        sound: Any = container.add_stream("aac", rate=16_000, layout="mono") if audio else None
        picture_stream = _add_cover(container) if cover else None
        for number, picture in enumerate(pictures):
            if isinstance(picture, av.VideoFrame):
                frame = picture
            else:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                full = pix_fmt.startswith("yuvj") or (tags or {}).get("color_range") == 2
                frame = frame.reformat(format=pix_fmt, dst_colorspace=matrix, dst_color_range="JPEG" if full else "MPEG")
            if number == 0:
                stream.width, stream.height = frame.width, frame.height
                if aspect:
                    stream.codec_context.sample_aspect_ratio = aspect
                if picture_stream:
                    shown = av.VideoFrame.from_ndarray(flat(RED), format="rgb24")
                    container.mux(picture_stream.encode(shown) + picture_stream.encode())
            frame.time_base, frame.pts = ticks, number if times is None else round(times[number] / ticks)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound:
            _silence(container, sound, audio)
    return path


def _add_cover(container: Any) -> Any:
    cover = container.add_stream("png", rate=1)
    cover.width, cover.height, cover.pix_fmt, cover.disposition = 64, 48, "rgb24", Disposition.attached_pic
    return cover


def _silence(container: Any, stream: Any, seconds: float) -> None:
    for begin in range(0, round(seconds * 16_000), 1600):
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1600), np.float32), format="fltp", layout="mono")
        silence.sample_rate, silence.pts, silence.time_base = 16_000, begin, Fraction(1, 16_000)
        container.mux(stream.encode(silence))
    container.mux(stream.encode())


def numbered_video(path: Path, count: int, height: int = 48, width: int = 64, **how: Any) -> Path:
    """`count` numbered pictures from 0 on."""
    return write(path, (numbered(number, height, width) for number in range(count)), **how)


def sound_only(path: Path, cover: bool = False, muxer: str | None = None, codec: str = "aac") -> Path:
    """Two seconds of silence, in mp4 with a cover picture if wanted."""
    with av.open(str(path), "w", format=muxer) as container:
        sound = container.add_stream(codec, rate=16_000, layout="mono")
        if cover:
            picture = _add_cover(container)
            container.mux(picture.encode(av.VideoFrame.from_ndarray(flat(RED), format="rgb24")) + picture.encode())
        _silence(container, sound, 2)
    return path


def no_frames(path: Path) -> Path:
    """A video stream that is declared and holds nothing."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    return path


def remux(
    source: Path,
    target: Path,
    keep: Callable[[int], bool] = lambda number: True,
    shift: float = 0.0,
    repeat: int = 1,
    last_for: float = 0.0,
    muxing: Mapping[str, str] | None = None,
) -> Path:
    """The packets of a video in another file.

    keep: which ones, by their place in the file. shift: seconds added to their times. repeat: how often to append all of
    them. last_for: how long the last one is to last.
    """
    with av.open(str(source)) as reading:
        stream = reading.streams.video[0]
        packets = [packet for number, packet in enumerate(reading.demux(stream)) if packet.size and keep(number)]
        ticks = packets[0].time_base
        span = max(p.pts for p in packets) - min(p.pts for p in packets) + packets[-1].duration
        with av.open(str(target), "w", options=dict(muxing or {})) as writing:
            out = writing.add_stream_from_template(stream)
            for turn in range(repeat):
                for packet in packets:
                    copy = av.Packet(bytes(packet))
                    offset = round(shift / ticks) + turn * span
                    copy.pts, copy.time_base = packet.pts + offset, ticks
                    copy.dts = None if packet.dts is None else packet.dts + offset
                    copy.duration, copy.is_keyframe, copy.stream = packet.duration, packet.is_keyframe, out
                    if last_for and packet.pts == max(p.pts for p in packets):
                        copy.duration = round(last_for / ticks)
                    writing.mux(copy)
    return target


def append(first: Path, second: Path, target: Path) -> Path:
    """The pictures of one transport stream after those of another, as one stream."""
    with av.open(str(target), "w") as writing, av.open(str(first)) as one, av.open(str(second)) as other:
        out = writing.add_stream_from_template(one.streams.video[0])
        end = 0
        for reading in (one, other):
            for packet in list(reading.demux(reading.streams.video[0])):
                if packet.size:
                    packet.pts, packet.dts, packet.stream = packet.pts + end, packet.dts + end, out
                    last = packet.pts + packet.duration
                    writing.mux(packet)
            end = last
    return target


def patch(path: Path, box: bytes, offset: int, data: bytes) -> Path:
    """Overwrite bytes of an mp4, from `offset` after the first `box`'s name."""
    content = bytearray(path.read_bytes())
    place = content.index(box) + len(box) + offset
    content[place : place + len(data)] = data
    path.write_bytes(content)
    return path


def turn(path: Path, a: float, b: float, c: float, d: float) -> Path:
    """Set the display matrix of an mp4 with one track: the stored pixel (x, y) is shown at (a x + c y, b x + d y)."""
    fixed = [round(value * 65536) for value in (a, b, 0, c, d, 0, 0, 0)]
    return patch(path, b"tkhd", 40, struct.pack(">9i", *fixed, 1 << 30))


def cut(path: Path, share: float) -> Path:
    """Keep the first `share` of a file's bytes."""
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * share))
    return path


def blank(path: Path, share: float, count: int) -> Path:
    """Zero `count` bytes at `share` of a file."""
    content = bytearray(path.read_bytes())
    place = int(len(content) * share)
    content[place : place + count] = bytes(count)
    path.write_bytes(content)
    return path
