"""Video files to frames: the right ones, the right way up, in the right size and colours, or a reason why not."""

import contextlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from motive.errors import ClipError
from motive.video.decode import BESIDE, Sampling, decode
from tests.video.files import (
    BLUE,
    GREEN,
    RED,
    WHITE,
    append,
    blank,
    busy,
    cut,
    flat,
    no_frames,
    numbered,
    numbered_video,
    numbers_in,
    patch,
    quarters,
    remux,
    sound_only,
    turn,
    write,
)

SAMPLING = Sampling(frames=25, fps=16, height=48, width=64)
THIRTY_TO_SIXTEEN = [0, 2, 4, 6, 7, 9, 11, 13, 15, 17, 19, 21, 22, 24, 26, 28, 30, 32, 34, 36, 37, 39, 41, 43, 45]
"""Of frames at 30 fps, those nearest to k / 16 s; of two equally near ones the earlier."""

QUIET_265 = {"x265-params": "log-level=none"}


def nearest(times: Sequence[float], wanted: Sequence[float]) -> list[int]:
    """By comparing every time with every other; where two are equally near, to what Matroska can tell, the earlier."""
    distances = [[abs(time - moment) for time in times] for moment in wanted]
    return [next(i for i, d in enumerate(row) if d <= min(row) + 2e-3) for row in distances]


def reason(path: Path, sampling: Sampling = SAMPLING) -> str:
    with pytest.raises(ClipError) as caught:
        decode(path, sampling)
    return str(caught.value)


def picture(path: Path, height: int, width: int, **how: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The first frame at height x width, as integers that can be subtracted."""
    return decode(path, Sampling(1, 30, height, width, **how)).frames[0].astype(int)


def assert_close(actual: Any, expected: Any, within: float) -> None:
    assert np.abs(np.asarray(actual, int) - np.asarray(expected, int)).max() <= within


# The right frames


@pytest.mark.parametrize(
    ("rate", "count", "expected"),
    [
        (16, 25, list(range(25))),
        (30, 60, THIRTY_TO_SIXTEEN),
        (24, 60, [0, 1, 3, 4, 6, 7, 9, 10, 12, 13, 15, 16, 18, 19, 21, 22, 24, 25, 27, 28, 30, 31, 33, 34, 36]),
        (60, 120, nearest([n / 60 for n in range(120)], [k / 16 for k in range(25)])),
        (Fraction(30000, 1001), 60, nearest([n * 1001 / 30000 for n in range(60)], [k / 16 for k in range(25)])),
        (12.5, 25, [0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 9, 9, 10, 11, 12, 12, 13, 14, 15, 16, 16, 17, 18, 19]),
    ],
)
@pytest.mark.parametrize(("name", "codec", "pix_fmt"), [("clip.mp4", "libx264", "yuv420p"), ("clip.mkv", "ffv1", "bgr0")])
def test_a_frame_is_the_one_shown_nearest_to_its_time(tmp_path, rate, count, expected, name, codec, pix_fmt):
    decoded = decode(numbered_video(tmp_path / name, count, fps=rate, codec=codec, pix_fmt=pix_fmt), SAMPLING)
    assert numbers_in(decoded.frames) == expected
    assert decoded.repeated == 25 - len(set(expected))
    assert decoded.source_fps == pytest.approx(float(rate), rel=2e-3)
    assert decoded.source_seconds == pytest.approx(count / float(rate), abs=2e-3)
    assert (decoded.source_width, decoded.source_height) == (64, 48)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "options"),
    [
        ("clip.mp4", "h264", "yuv420p", {}),
        ("clip.mkv", "h264", "yuv420p", {}),
        ("clip.ts", "h264", "yuv420p", {}),
        ("clip.flv", "h264", "yuv420p", {}),
        ("clip.avi", "h264", "yuv420p", {}),
        ("clip.avi", "h264", "yuv420p", {"bf": "0"}),
        ("clip.asf", "h264", "yuv420p", {}),
        ("clip.mp4", "hevc", "yuv420p", QUIET_265),
        ("clip.webm", "vp8", "yuv420p", {"deadline": "realtime", "auto-alt-ref": "1", "lag-in-frames": "16"}),
        ("clip.webm", "vp9", "yuv420p", {"deadline": "realtime"}),
        ("clip.webm", "av1", "yuv420p", {"preset": "12"}),
        ("clip.avi", "mpeg4", "yuv420p", {"bf": "2"}),
        ("clip.mpg", "mpeg2video", "yuv420p", {"bf": "2"}),
        ("clip.mxf", "mpeg2video", "yuv420p", {}),
        ("clip.wmv", "wmv2", "yuv420p", {}),
        ("clip.avi", "mjpeg", "yuvj420p", {}),
        ("clip.mov", "prores", "yuv422p10le", {}),
        ("clip.mov", "png", "rgb24", {}),
        ("clip.mov", "qtrle", "rgb24", {}),
        ("clip.y4m", "rawvideo", "yuv420p", {}),
    ],
)
def test_every_container_and_codec_gives_the_same_frames(tmp_path, name, codec, pix_fmt, options):
    encoders = {"h264": "libx264", "hevc": "libx265", "vp8": "libvpx", "vp9": "libvpx-vp9", "av1": "libsvtav1"}
    encoders |= {"prores": "prores_ks", "rawvideo": "wrapped_avframe"}
    path = tmp_path / name
    numbered_video(path, 60, codec=encoders.get(codec, codec), pix_fmt=pix_fmt, options={"g": "25"} | options)
    decoded = decode(path, SAMPLING)
    assert numbers_in(decoded.frames) == THIRTY_TO_SIXTEEN
    assert (decoded.codec, decoded.repeated) == (codec, 0)
    centre = decode(path, Sampling(9, 16, 48, 64, "centre"))
    assert numbers_in(centre.frames) == [22, 24, 26, 28, 30, 32, 33, 35, 37]


X264 = {
    "long GOP": "keyint=250:bframes=3",
    "short GOP": "keyint=12:bframes=3:scenecut=0",
    "pyramid of 16 B-frames": "keyint=250:bframes=16:b-adapt=0:b-pyramid=normal",
    "open GOP": "keyint=12:open-gop=1:bframes=5:b-adapt=0:scenecut=0",
    "no keyframe but the first": "keyint=20:intra-refresh=1:bframes=0",
    "every frame a keyframe": "keyint=1",
    "interlaced": "tff=1:keyint=25",
}


@pytest.mark.parametrize("kind", X264)
@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts"])
def test_centre_takes_the_middle_window_as_if_everything_were_decoded(tmp_path, kind, name):
    path = numbered_video(tmp_path / name, 150, options={"x264-params": X264[kind]})
    # 5 s, of which the window takes 0.5 s and half a frame: it begins after (5 - 0.5 - 1/60) / 2 s.
    wanted = [(5 - 0.5 - 1 / 60) / 2 + k / 16 for k in range(9)]
    frames = decode(path, Sampling(9, 16, 48, 64, "centre")).frames
    assert numbers_in(frames) == nearest([n / 30 for n in range(150)], wanted)


def test_start_and_centre_are_the_same_where_the_file_is_just_long_enough(tmp_path):
    path = numbered_video(tmp_path / "clip.mp4", 25, fps=16)
    start, centre = (decode(path, replace(SAMPLING, place=place)).frames for place in ("start", "centre"))
    assert numbers_in(start) == numbers_in(centre) == list(range(25))


IRREGULAR = np.cumsum([0, *np.random.default_rng(3).choice([0.011, 0.02, 0.033, 0.05, 0.21], 79)]).round(3).tolist()


@pytest.mark.parametrize("place", ["start", "centre"])
@pytest.mark.parametrize(
    ("name", "codec"), [("clip.mp4", "libx264"), ("clip.mkv", "ffv1"), ("clip.webm", "libvpx-vp9"), ("clip.ts", "libx264")]
)
def test_a_variable_frame_rate_counts_by_the_times_of_the_frames(tmp_path, name, codec, place):
    path = numbered_video(tmp_path / name, 80, times=IRREGULAR, codec=codec)
    decoded = decode(path, replace(SAMPLING, place=place))
    interval = IRREGULAR[-1] / 79
    spare = decoded.source_seconds - 24 / 16 - interval / 2
    begin = spare / 2 if place == "centre" else 0.0
    expected = nearest(IRREGULAR, [begin + k / 16 for k in range(25)])
    assert numbers_in(decoded.frames) == expected
    assert decoded.repeated == 25 - len(set(expected)) > 0
    assert decoded.source_fps == pytest.approx(1 / interval, rel=1e-3)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts"])
@pytest.mark.parametrize("shift", [1.5, 600.0])
def test_times_count_from_the_first_frame_wherever_the_file_starts(tmp_path, name, shift):
    source = numbered_video(tmp_path / f"source-{name}", 90)
    path = remux(source, tmp_path / name, shift=shift)
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).time >= shift
    decoded = decode(path, SAMPLING)
    assert numbers_in(decoded.frames) == THIRTY_TO_SIXTEEN
    assert decoded.source_seconds == pytest.approx(3, abs=0.01)
    assert numbers_in(decode(path, Sampling(9, 16, 48, 64, "centre")).frames) == [37, 39, 41, 43, 45, 47, 48, 50, 52]


@pytest.mark.parametrize("shift", [80_000.0, 2**33 / 90_000 - 2.0])
def test_a_transport_stream_may_start_anywhere_on_its_clock_or_run_over_its_end(tmp_path, shift):
    source = numbered_video(tmp_path / "source.ts", 90, options={"g": "15"})
    path = remux(source, tmp_path / "clip.ts", shift=shift)
    assert numbers_in(decode(path, SAMPLING).frames) == THIRTY_TO_SIXTEEN
    assert numbers_in(decode(path, Sampling(9, 16, 48, 64, "centre")).frames) == [37, 39, 41, 43, 45, 47, 48, 50, 52]


def test_a_fragmented_mp4_gives_its_frames(tmp_path):
    muxing = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    path = numbered_video(tmp_path / "clip.mp4", 90, options={"g": "15"}, muxing=muxing)
    assert numbers_in(decode(path, SAMPLING).frames) == THIRTY_TO_SIXTEEN
    assert numbers_in(decode(path, Sampling(9, 16, 48, 64, "centre")).frames) == [37, 39, 41, 43, 45, 47, 48, 50, 52]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_a_last_frame_that_is_held_long_fills_the_rest(tmp_path, name):
    source = numbered_video(tmp_path / f"source-{name}", 10, fps=16, options={"bf": "0"})
    path = remux(source, tmp_path / name, last_for=2.0)
    decoded = decode(path, SAMPLING)
    assert numbers_in(decoded.frames) == [*range(10), *[9] * 15]
    assert decoded.repeated == 15
    assert decoded.source_seconds == pytest.approx(9 / 16 + 2, abs=0.01)


def test_the_last_sample_may_be_nearest_to_the_last_frame(tmp_path):
    assert numbers_in(decode(numbered_video(tmp_path / "a.mp4", 46, fps=30), SAMPLING).frames) == THIRTY_TO_SIXTEEN
    assert "too short: 1.50 s of video, and 25 frames at 16 fps need 1.52 s" in reason(
        numbered_video(tmp_path / "b.mp4", 45, fps=30)
    )


def test_a_gap_in_an_avi_is_a_frame_held_for_long(tmp_path):
    times = [n / 30 for n in (*range(20), *range(35, 75))]
    path = numbered_video(tmp_path / "clip.avi", 60, codec="mpeg4", times=times, ticks=Fraction(1, 30))
    assert numbers_in(decode(path, SAMPLING).frames) == nearest(times, [k / 16 for k in range(25)])


@pytest.mark.parametrize(
    ("codec", "options", "keyframe"),
    [
        ("libx264", {"x264-params": "keyint=20:scenecut=0"}, 20),
        ("libx264", {"x264-params": "keyint=20:scenecut=0:open-gop=1:bframes=4:b-adapt=0"}, 20),
        ("libx265", {"x265-params": "keyint=20:open-gop=1:log-level=none"}, 20),
        ("mpeg2video", {"g": "20", "bf": "2"}, 21),
        ("libvpx-vp9", {"g": "20", "deadline": "realtime"}, 20),
    ],
)
def test_a_stream_cut_out_of_a_longer_one_begins_with_its_first_keyframe(tmp_path, codec, options, keyframe):
    suffix = "mkv" if "vpx" in codec else "ts"
    source = numbered_video(tmp_path / f"long.{suffix}", 100, codec=codec, options=options)
    path = remux(source, tmp_path / f"clip.{suffix}", keep=lambda number: number >= 9)
    frames = decode(path, SAMPLING).frames
    assert numbers_in(frames) == nearest([n / 30 for n in range(100)], [keyframe / 30 + k / 16 for k in range(25)])


def test_an_edit_list_decides_what_is_shown(tmp_path):
    path = numbered_video(tmp_path / "clip.mp4", 90, options={"bf": "0", "g": "45"})
    # duration in the movie's ticks of 1 ms; where it starts in the track's ticks of 1 / 15360 s
    patch(path, b"elst", 8, (2000).to_bytes(4, "big") + (10 * 512).to_bytes(4, "big"))
    decoded = decode(path, SAMPLING)
    assert numbers_in(decoded.frames) == [number + 10 for number in THIRTY_TO_SIXTEEN]
    assert decoded.source_seconds == pytest.approx(2, abs=0.05)
    centre = decode(path, Sampling(9, 16, 48, 64, "centre"))
    assert numbers_in(centre.frames) == [number + 10 for number in (22, 24, 26, 28, 30, 32, 33, 35, 37)]


def test_frames_are_the_same_every_time(tmp_path):
    path = write(tmp_path / "clip.mp4", (busy(n) for n in range(60)))
    for place in ("start", "centre"):
        first, *others = (decode(path, Sampling(9, 16, 40, 72, place)).frames for _ in range(3))
        assert all(np.array_equal(first, other) for other in others)


def test_a_video_decodes_beside_sound_and_a_cover_picture(tmp_path):
    path = numbered_video(tmp_path / "clip.mp4", 60, audio=2.0, cover=True)
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 2
        assert len(container.streams.audio) == 1
    assert numbers_in(decode(path, SAMPLING).frames) == THIRTY_TO_SIXTEEN


@pytest.mark.parametrize("name", ["a b.mp4", "50%d.mp4", "concat:a.mp4|b.mp4", "what?#&.mp4", "-i.mp4", "été 😀.mp4"])
def test_a_file_may_have_any_name(tmp_path, name):
    numbered_video(tmp_path / "clip.mp4", 30).rename(tmp_path / name)
    assert numbers_in(decode(tmp_path / name, Sampling(5, 16, 48, 64)).frames) == [0, 2, 4, 6, 7]


# Size and shape


@pytest.mark.parametrize(("height", "width"), [(57, 101), (101, 57), (48, 64), (16, 16), (2, 2), (480, 854)])
@pytest.mark.parametrize(("out_height", "out_width"), [(48, 64), (120, 208), (33, 17)])
def test_frames_always_have_the_size_that_was_asked_for(tmp_path, height, width, out_height, out_width):
    path = write(tmp_path / "clip.mkv", (flat((200, 100, 50), height, width) for _ in range(5)), codec="ffv1", pix_fmt="bgr0")
    decoded = decode(path, Sampling(5, 30, out_height, out_width))
    assert decoded.frames.shape == (5, out_height, out_width, 3)
    assert decoded.frames.dtype == np.uint8
    assert (decoded.source_width, decoded.source_height) == (width, height)
    assert_close(decoded.frames, np.broadcast_to((200, 100, 50), decoded.frames.shape), within=1)


def test_shrinking_averages_so_that_a_fine_checkerboard_becomes_grey(tmp_path):
    board = np.repeat((np.indices((480, 640)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
    path = write(tmp_path / "clip.mkv", [board], codec="ffv1", pix_fmt="bgr0")
    assert_close(picture(path, 48, 64), 127, within=3)
    assert_close(picture(path, 97, 131), 127, within=12)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (120, 160), (333, 444), (600, 800)])
def test_scaling_comes_close_to_pillows_antialiased_bilinear_filter(tmp_path, height, width):
    path = write(tmp_path / "clip.mkv", [busy(0, 480, 640)], codec="ffv1", pix_fmt="bgr0")
    expected = Image.fromarray(busy(0, 480, 640)).resize((width, height), Image.Resampling.BILINEAR)
    assert np.abs(picture(path, height, width) - np.asarray(expected)).mean() < 3


def test_the_crop_keeps_the_centre_and_the_whole_of_the_shorter_side(tmp_path):
    wide = np.concatenate([flat(RED, 48, 64), quarters(48, 64), flat(RED, 48, 64)], axis=1)
    path = write(tmp_path / "wide.mkv", [wide], codec="ffv1", pix_fmt="bgr0")
    assert_close(picture(path, 48, 64), quarters(48, 64), within=0)
    tall = np.concatenate([flat(RED, 48, 64), quarters(48, 64), flat(RED, 48, 64)], axis=0)
    path = write(tmp_path / "tall.mkv", [tall], codec="ffv1", pix_fmt="bgr0")
    assert_close(picture(path, 48, 64), quarters(48, 64), within=0)


def test_pixels_that_are_not_square_are_made_square(tmp_path):
    path = write(tmp_path / "clip.mp4", [quarters(64, 64)] * 5, options={"crf": "1"}, aspect=Fraction(2))
    decoded = decode(path, Sampling(5, 30, 64, 128))
    assert (decoded.source_width, decoded.source_height) == (128, 64)
    blocks = decoded.frames[0].reshape(2, 32, 2, 64, 3)[:, 4:-4, :, 4:-4].astype(int)
    assert_close(blocks.mean(axis=(1, 3)), [[RED, GREEN], [BLUE, WHITE]], within=8)


def test_a_shape_that_would_be_cropped_to_nearly_nothing_is_refused(tmp_path):
    path = write(tmp_path / "clip.mkv", [flat(RED, 16, 2000)] * 5, codec="ffv1", pix_fmt="bgr0")
    assert "its shape, 2000 x 16, is too far from 64 x 48" in reason(path, Sampling(5, 30, 48, 64))
    path = write(tmp_path / "clip.mp4", [flat(RED, 64, 64)] * 5, aspect=Fraction(1, 60))
    assert "its shape, 64 x 64, is too far from" in reason(path, Sampling(5, 30, 48, 64))


def test_a_picture_that_changes_its_size_is_brought_to_one_size(tmp_path):
    large = write(tmp_path / "a.ts", [quarters(96, 128)] * 10)
    small = write(tmp_path / "b.ts", [quarters(60, 80)] * 10)
    path = append(large, small, tmp_path / "clip.ts")
    frames = decode(path, Sampling(17, 30, 48, 64)).frames
    assert_close(frames[:, 6:18, 8:24].mean(axis=(1, 2)), [RED] * 17, within=12)


# Upright


TURNS = {
    "not at all": ((1, 0, 0, 1), lambda p: p),
    "clockwise": ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
    "upside down": ((-1, 0, 0, -1), lambda p: np.rot90(p, 2)),
    "anticlockwise": ((0, -1, 1, 0), np.rot90),
    "mirrored": ((-1, 0, 0, 1), np.fliplr),
    "upended": ((1, 0, 0, -1), np.flipud),
    "transposed": ((0, 1, 1, 0), lambda p: p.swapaxes(0, 1)),
    "anti-transposed": ((0, -1, -1, 0), lambda p: np.rot90(p, 2).swapaxes(0, 1)),
}


@pytest.mark.parametrize("kind", TURNS)
def test_a_turned_or_mirrored_video_is_shown_upright(tmp_path, kind):
    matrix, upright = TURNS[kind]
    stored = quarters(64, 96)
    shown = upright(stored)
    height, width = shown.shape[:2]
    path = turn(write(tmp_path / "clip.mov", [stored] * 5, codec="png", pix_fmt="rgb24"), *matrix)
    decoded = decode(path, Sampling(5, 30, height, width))
    assert np.array_equal(decoded.frames, [shown] * 5)
    assert (decoded.source_width, decoded.source_height) == (width, height)


def test_a_turned_h264_video_with_oblong_pixels_is_upright_and_square(tmp_path):
    path = write(tmp_path / "clip.mp4", [quarters(64, 64)] * 5, options={"crf": "1"}, aspect=Fraction(2))
    decoded = decode(turn(path, 0, 1, -1, 0), Sampling(5, 30, 128, 64))
    assert (decoded.source_width, decoded.source_height) == (64, 128)
    blocks = decoded.frames[0].reshape(2, 64, 2, 32, 3)[:, 4:-4, :, 4:-4].astype(int)
    assert_close(blocks.mean(axis=(1, 3)), [[BLUE, RED], [WHITE, GREEN]], within=8)


def test_a_video_turned_by_half_a_right_angle_is_refused(tmp_path):
    path = turn(write(tmp_path / "clip.mp4", [quarters()] * 5), 0.707, 0.707, -0.707, 0.707)
    assert "not a multiple of a right angle" in reason(path, Sampling(5, 30, 48, 64))


# Colours


COLOURS = [RED, GREEN, BLUE, WHITE, (0, 0, 0), (128, 128, 128), (200, 100, 50), (20, 180, 160)]


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize(("matrix", "colorspace"), [("ITU709", 1), ("ITU601", 6), ("ITU601", 2), ("BT2020", 9)])
@pytest.mark.parametrize("color_range", [1, 2])
def test_a_pure_colour_survives_the_matrix_and_range_the_file_is_tagged_with(tmp_path, colour, matrix, colorspace, color_range):
    """Without a tag, colours are taken for BT.601, as FFmpeg does."""
    tags = {"colorspace": colorspace, "color_range": color_range}
    path = write(tmp_path / "clip.mp4", [flat(colour)], options={"crf": "1"}, matrix=matrix, tags=tags)
    assert_close(picture(path, 48, 64), np.broadcast_to(colour, (48, 64, 3)), within=6)


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "name"),
    [
        ("libx264", "yuv420p10le", "clip.mp4"),
        ("libx264", "yuv444p", "clip.mp4"),
        ("libx265", "yuv420p10le", "clip.mp4"),
        ("prores_ks", "yuv422p10le", "clip.mov"),
        ("mjpeg", "yuvj444p", "clip.avi"),
        ("magicyuv", "gbrp", "clip.avi"),
        ("ffv1", "gbrp16le", "clip.mkv"),
        ("rawvideo", "bgr24", "clip.avi"),
    ],
)
def test_colours_survive_every_depth_and_layout(tmp_path, codec, pix_fmt, name):
    options = {"x265-params": "log-level=none:bframes=0:pools=none"} if codec == "libx265" else {}
    for colour in COLOURS:
        path = write(tmp_path / name, [flat(colour)] * 2, codec=codec, pix_fmt=pix_fmt, options=options)
        assert_close(picture(path, 48, 64), np.broadcast_to(colour, (48, 64, 3)), within=6)


def test_ten_bits_become_eight_by_rounding(tmp_path):
    levels = np.broadcast_to(np.arange(0, 1024, 16, dtype=np.uint16), (48, 64))
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(levels), format="gray10le")
    path = write(tmp_path / "clip.mkv", [frame], codec="ffv1", pix_fmt="gray10le")
    assert_close(picture(path, 48, 64)[..., 0], levels / 1023 * 255, within=1)


def test_grey_becomes_equal_red_green_and_blue(tmp_path):
    levels = np.broadcast_to(np.arange(0, 256, 4, dtype=np.uint8), (48, 64))
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(levels), format="gray")
    path = write(tmp_path / "clip.mkv", [frame], codec="ffv1", pix_fmt="gray")
    assert_close(picture(path, 48, 64), np.repeat(levels[..., None], 3, axis=2), within=1)


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "name"),
    [
        ("png", "rgba", "clip.mov"),
        ("qtrle", "argb", "clip.mov"),
        ("prores_ks", "yuva444p10le", "clip.mov"),
        ("ffv1", "bgra", "clip.mkv"),
        ("libvpx-vp9", "yuva420p", "clip.webm"),
    ],
)
def test_alpha_is_dropped_and_leaves_the_colours_as_they_are(tmp_path, codec, pix_fmt, name):
    rgba = np.dstack([quarters(), np.full((48, 64), 255, np.uint8)])
    rgba[:, ::2, 3], rgba[:24, :, 3] = 100, 0
    frame = av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format=pix_fmt)
    path = write(tmp_path / name, [frame], codec=codec, pix_fmt=pix_fmt, options={"profile": "4444"} if "ks" in codec else {})
    blocks = picture(path, 48, 64).reshape(2, 24, 2, 32, 3)[:, 4:-4, :, 4:-4]
    assert_close(blocks.mean(axis=(1, 3)), [[RED, GREEN], [BLUE, WHITE]], within=8)


# What is refused, and why


def test_a_video_that_is_too_short_is_refused_with_both_lengths(tmp_path):
    assert reason(numbered_video(tmp_path / "clip.mp4", 24, fps=16)) == (
        "too short: 1.50 s of video, and 25 frames at 16 fps need 1.53 s"
    )


def test_a_single_frame_is_too_short_for_more_and_enough_for_one(tmp_path):
    path = numbered_video(tmp_path / "clip.mp4", 1)
    assert "too short: 0.03 s of video" in reason(path)
    assert numbers_in(decode(path, replace(SAMPLING, frames=1)).frames) == [0]


@pytest.mark.parametrize("content", [b"", b"not a video\n", bytes(5000), b"\x00\x00\x00\x18ftypmp42", b"<html></html>" * 99])
def test_what_is_no_video_is_refused(tmp_path, content):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    assert "not readable as video: " in reason(path)


def test_a_missing_file_is_refused(tmp_path):
    assert reason(tmp_path / "clip.mp4") == "not readable as video: No such file or directory"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tiff"])
def test_an_image_under_a_videos_name_is_refused(tmp_path, suffix):
    path = tmp_path / "clip.mp4"
    path.write_bytes(cv2.imencode(suffix, quarters())[1].tobytes())
    assert "not readable as video: " in reason(path, replace(SAMPLING, frames=1))


def test_a_file_of_sound_is_refused_also_with_a_cover_picture(tmp_path):
    assert reason(sound_only(tmp_path / "a.mp4")) == "holds no video stream, only audio"
    path = sound_only(tmp_path / "b.m4a", cover=True, muxer="mp4")
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1
    assert reason(path, replace(SAMPLING, frames=1)) == "holds no video stream, only a cover, audio"
    assert "not readable as video: " in reason(sound_only(tmp_path / "c.mp3", codec="libmp3lame"))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("clip.avi", "holds a video stream without a single frame"),
        ("clip.mp4", "holds no video stream"),
        ("clip.mkv", "not readable as video: End of file"),
    ],
)
def test_a_video_stream_without_frames_is_refused(tmp_path, name, why):
    assert reason(no_frames(tmp_path / name)) == why


def test_a_codec_that_is_unknown_is_refused(tmp_path):
    path = numbered_video(tmp_path / "clip.mp4", 60)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzC"))
    assert reason(path) == "its video codec is not known"


def test_a_bare_stream_without_times_is_refused(tmp_path):
    assert "carry no times" in reason(numbered_video(tmp_path / "clip.h264", 60))


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{name}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{path}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {name}\n",
        "ffconcat version 1.0\nfile 'file:{path}'\n",
        "[playlist]\nFile1={path}\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><AdaptationSet><Representation '
        'mimeType="video/mp4"><BaseURL>{path}</BaseURL></Representation></AdaptationSet></Period></MPD>',
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    ],
    ids=["m3u8", "m3u8 with an address", "ffconcat", "ffconcat with an address", "pls", "dash", "sdp"],
)
@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".ts"])
def test_a_list_of_other_files_is_refused(tmp_path, playlist, suffix):
    other = numbered_video(tmp_path / "other.ts", 60)
    assert len(decode(other, SAMPLING).frames) == 25
    path = tmp_path / f"clip{suffix}"
    path.write_text(playlist.format(name=other.name, path=other))
    assert "not readable as video: " in reason(path)


def test_frames_above_the_pixel_limit_are_refused(tmp_path):
    path = numbered_video(tmp_path / "clip.mp4", 30)
    assert reason(path, replace(SAMPLING, max_pixels=64 * 48 - 1)) == "frames of 64 x 48 exceed the limit of 3,071 pixels"
    assert len(decode(path, Sampling(5, 16, 48, 64, max_pixels=64 * 48)).frames) == 5


def test_frames_that_grow_above_the_pixel_limit_are_refused(tmp_path):
    small = write(tmp_path / "a.ts", [quarters(48, 64)] * 10)
    large = write(tmp_path / "b.ts", [quarters(480, 640)] * 10)
    path = append(small, large, tmp_path / "clip.ts")
    assert len(decode(path, Sampling(17, 30, 48, 64)).frames) == 17
    assert "does not decode" in reason(path, Sampling(17, 30, 48, 64, max_pixels=100 * 100))


# What is damaged


BUSY = {
    "h264.mp4": {"codec": "libx264"},
    "h264.mkv": {"codec": "libx264"},
    "h264.ts": {"codec": "libx264", "options": {"crf": "10"}},
    "hevc.mp4": {"codec": "libx265", "options": QUIET_265},
    "mpeg4.mp4": {"codec": "mpeg4"},
    "mpeg2.ts": {"codec": "mpeg2video"},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "crf": "10"}},
    "png.mov": {"codec": "png", "pix_fmt": "rgb24"},
    "prores.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le"},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "av1.mp4": {"codec": "libsvtav1", "options": {"preset": "12"}},
}


@pytest.fixture(scope="session")
def busy_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("busy")
    pictures = [busy(number) for number in range(50)]
    return {name: write(folder / name, pictures, **how) for name, how in BUSY.items()}


def damaged(busy_files: dict[str, Path], name: str, folder: Path) -> Path:
    path = folder / name
    path.write_bytes(busy_files[name].read_bytes())
    assert decode(path, SAMPLING).frames.shape == (25, 48, 64, 3)
    return path


@pytest.mark.parametrize("name", BUSY)
def test_a_hole_in_the_middle_of_a_file_is_noticed(busy_files, tmp_path, name):
    path = blank(damaged(busy_files, name, tmp_path), 0.3, 400)
    why = reason(path)
    assert "damaged" in why or "does not decode" in why or "cut off" in why, why


def test_damage_outside_the_window_does_not_matter(busy_files, tmp_path):
    """Pictures are independent here, and the file as a whole holds what it declares."""
    path = damaged(busy_files, "png.mov", tmp_path)
    clean = decode(path, Sampling(5, 16, 48, 64)).frames
    assert np.array_equal(decode(blank(path, 0.8, 400), Sampling(5, 16, 48, 64)).frames, clean)
    assert "does not decode" in reason(path, SAMPLING)


@pytest.mark.parametrize("name", BUSY)
def test_damage_anywhere_gives_frames_or_a_clip_error_and_nothing_else(busy_files, tmp_path, name):
    content = busy_files[name].read_bytes()
    path = tmp_path / name
    rng = random.Random(name)  # noqa: S311
    for _ in range(30):
        data = bytearray(content)
        for _ in range(rng.choice([1, 3, 30])):
            # Half of the damage goes to the first and last kilobyte, where the headers and indices are.
            place = rng.choice([rng.randrange(len(data)), rng.randrange(1000), -1 - rng.randrange(1000)])
            data[place] = rng.choice([0, 255, rng.randrange(256)])
        path.write_bytes(data)
        with contextlib.suppress(ClipError):
            assert decode(path, Sampling(9, 16, 48, 64, "centre")).frames.shape == (9, 48, 64, 3)


THREADS = """
import os, sys, threading, time
import av, numpy
from pathlib import Path
from motive.video.decode import Sampling, decode
running, most, done = len(os.listdir("/proc/self/task")), 0, False
def watch():
    global most
    while not done:
        most = max(most, len(os.listdir("/proc/self/task")) - 1)
        time.sleep(0.0005)
watcher = threading.Thread(target=watch, daemon=True)
watcher.start()
for _ in range(5):
    decode(Path(sys.argv[1]), Sampling(25, 16, 48, 64))
done = True
watcher.join()
print(most - running)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads as Linux does")
@pytest.mark.parametrize("name", ["hevc.mp4", "h264.mp4", "av1.mp4", "vp9.webm", "prores.mov"])
def test_decoding_starts_no_threads_but_those_that_standardise(busy_files, name):
    """FFmpeg's wait for each other for ever on some damaged HEVC data, and nothing can end that but killing the run."""
    result = subprocess.run([sys.executable, "-c", THREADS, busy_files[name]], capture_output=True, check=True, timeout=60)
    assert int(result.stdout) <= BESIDE


def test_an_mp4_whose_index_at_the_end_is_cut_off_is_refused(tmp_path):
    path = cut(write(tmp_path / "clip.mp4", (busy(n) for n in range(50))), 0.9)
    assert "not readable as video: " in reason(path)


@pytest.mark.parametrize(
    ("name", "muxing"),
    [
        ("clip.mp4", {"movflags": "faststart"}),
        ("clip.mkv", {}),
        ("clip.webm", {}),
        ("clip.avi", {}),
        ("clip.flv", {}),
    ],
)
@pytest.mark.parametrize("share", [0.5, 0.62, 0.75])
def test_a_file_that_is_cut_off_is_refused_even_where_the_window_is_whole(tmp_path, name, muxing, share):
    codec = {"webm": "libvpx-vp9", "flv": "flv1"}.get(name[5:], "libx264")
    path = write(tmp_path / name, (busy(n) for n in range(90)), codec=codec, muxing=muxing, options={"bf": "0"})
    sampling = Sampling(5, 16, 48, 64)
    assert len(decode(path, sampling).frames) == 5
    why = reason(cut(path, share), sampling)
    assert "cut off" in why or "damaged" in why, why


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_cut_off_file_that_declares_no_length_gives_right_frames_or_is_refused(tmp_path, share):
    muxing = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    for name, extra in (("clip.ts", {}), ("clip.mp4", muxing)):
        pictures = [numbered(n, 96, 128) for n in range(120)]
        path = cut(write(tmp_path / name, pictures, options={"g": "10"}, muxing=extra), share)
        with contextlib.suppress(ClipError):
            assert numbers_in(decode(path, SAMPLING).frames) == THIRTY_TO_SIXTEEN


# What is not damaged, though it may look so


def test_sound_longer_than_the_video_is_no_damage(tmp_path):
    path = numbered_video(tmp_path / "clip.mp4", 60, audio=9.0)
    decoded = decode(path, SAMPLING)
    assert numbers_in(decoded.frames) == THIRTY_TO_SIXTEEN
    assert decoded.source_seconds == pytest.approx(2, abs=0.01)
    assert "too short: 2.00 s of video" in reason(path, replace(SAMPLING, frames=81))


def test_sound_shorter_than_the_video_is_no_damage(tmp_path):
    for name in ("clip.mp4", "clip.mkv", "clip.ts"):
        assert numbers_in(decode(numbered_video(tmp_path / name, 60, audio=0.5), SAMPLING).frames) == THIRTY_TO_SIXTEEN


def test_a_declared_duration_a_little_beyond_the_last_frame_is_no_damage(tmp_path):
    path = numbered_video(tmp_path / "clip.mkv", 60)
    content = path.read_bytes()
    place = content.index(b"\x44\x89\x88") + 3  # Duration, a float of 8 bytes, in milliseconds
    assert np.frombuffer(content[place : place + 8], ">f8")[0] == 2000
    for declared, fine in ((2400, True), (3000, False)):
        path.write_bytes(content[:place] + np.array(declared, ">f8").tobytes() + content[place + 8 :])
        if fine:
            assert numbers_in(decode(path, SAMPLING).frames) == THIRTY_TO_SIXTEEN
        else:
            assert reason(path) == "cut off: the file declares 3.00 s and holds 2.00 s"


# Memory


MEASURE = """
import json, resource, sys
import av, cv2, numpy
from pathlib import Path
from motive.errors import ClipError
from motive.video.decode import Sampling, decode
path, frames, height, width = sys.argv[1], *map(int, sys.argv[2:])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    said = str(decode(Path(path), Sampling(frames, 16, height, width)).frames.shape)
except ClipError as error:
    said = str(error)
print(json.dumps([said, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024]))
"""


def measured(path: Path, frames: int, height: int, width: int) -> tuple[str, float]:
    """What decoding gives in a process of its own, and by how many MiB the process grows at most."""
    command = [sys.executable, "-c", MEASURE, str(path), *map(str, (frames, height, width))]
    result = subprocess.run(command, capture_output=True, check=True, timeout=120, env=os.environ | {"MALLOC_ARENA_MAX": "2"})
    said, grown = json.loads(result.stdout)
    return said, grown


def test_memory_is_bounded_by_a_few_frames_however_long_the_file_is(tmp_path):
    def pictures() -> Any:
        for number in range(60):
            yield np.roll(numbered(number, 1080, 1920), 3 * number, axis=1)

    second = write(tmp_path / "2s.mp4", pictures(), options={"preset": "ultrafast", "bf": "2", "crf": "30"})
    grown = []
    for repeat in (10, 100):
        path = remux(second, tmp_path / f"{2 * repeat}s.mp4", repeat=repeat)
        said, mebibytes = measured(path, 33, 240, 416)
        assert said == "(33, 240, 416, 3)"
        grown.append(mebibytes)
    assert max(grown) < 150
    assert grown[1] < grown[0] + 20


def test_a_picture_above_the_limit_is_refused_without_being_decoded(tmp_path):
    side = 8192
    frame = av.VideoFrame(side, side, "monob")  # 8 MiB here, and 192 MiB as RGB
    plane = np.zeros(frame.planes[0].buffer_size, np.uint8)
    frame.planes[0].update(plane)
    path = write(tmp_path / "clip.mov", [frame] * 2, codec="png", pix_fmt="monob")
    assert path.stat().st_size < 100_000
    said, mebibytes = measured(path, 1, 48, 64)
    assert "exceed the limit of 35,389,440 pixels" in said
    assert mebibytes < 6


def test_the_result_says_what_the_file_was(tmp_path):
    path = numbered_video(tmp_path / "clip.mp4", 60, height=90, width=160, fps=24)
    decoded = decode(path, Sampling(5, 8, 45, 80))
    said = {name: value for name, value in vars(decoded).items() if name != "frames"}
    assert said == {
        "source_width": 160,
        "source_height": 90,
        "source_fps": pytest.approx(24),
        "source_seconds": pytest.approx(2.5),
        "codec": "h264",
        "repeated": 0,
    }
