"""Frames to a video file: the same frames come back, and an interrupted write leaves nothing."""

import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from motive.video.decode import Sampling, decode
from motive.video.write import write_video
from tests.video.files import BLUE, GREEN, RED, WHITE, flat, numbered, numbers_in


def smooth(count: int, height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    waves = [
        np.stack([np.sin((x + 3 * n) / 19), np.cos((y - 2 * n) / 17), np.sin((x + y + n) / 40)], axis=-1) for n in range(count)
    ]
    return np.clip(100 * np.array(waves) + 128, 0, 255).astype(np.uint8)


def test_frames_come_back_as_they_were(tmp_path):
    frames = smooth(33, 240, 416)
    write_video(tmp_path / "clip.mp4", frames, 16)
    back = decode(tmp_path / "clip.mp4", Sampling(33, 16, 240, 416)).frames
    difference = np.abs(back.astype(int) - frames)
    assert difference.mean() < 2
    assert difference.max() < 16


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 64), (48, 64)])
def test_the_same_frames_give_the_same_bytes(tmp_path, height, width):
    """On a processor with AVX-512 x264's macroblock tree gives several files, by what the memory held before."""
    coarse = np.random.default_rng(0).integers(0, 255, (17, height // 4, width // 4, 3), dtype=np.uint8)
    frames = coarse.repeat(4, 1).repeat(4, 2)
    made = set()
    for n in range(30):
        write_video(tmp_path / f"{n}.mp4", frames, 8)
        made.add((tmp_path / f"{n}.mp4").read_bytes())
    assert len(made) == 1


def test_a_lower_crf_comes_closer(tmp_path):
    frames = smooth(9, 96, 128)
    errors = []
    for crf in (0, 12, 35):
        write_video(tmp_path / "clip.mp4", frames, 16, crf=crf)
        back = decode(tmp_path / "clip.mp4", Sampling(9, 16, 96, 128)).frames
        errors.append(np.abs(back.astype(int) - frames).mean())
    assert errors == sorted(errors)
    assert errors[0] < 1.2 < errors[2]


@pytest.mark.parametrize("fps", [16, 24, 30000 / 1001, 12.5, 8])
@pytest.mark.parametrize("count", [1, 5, 49])
def test_the_file_has_exactly_the_frames_at_exactly_the_rate(tmp_path, fps, count):
    write_video(tmp_path / "clip.mp4", np.stack([numbered(n) for n in range(count)]), fps)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.frames == count
        assert float(stream.average_rate) == pytest.approx(fps, rel=1e-5)
        frames = list(container.decode(stream))
    assert numbers_in(frame.to_ndarray(format="rgb24") for frame in frames) == list(range(count))
    assert [frame.time for frame in frames] == pytest.approx([n / fps for n in range(count)], abs=1e-4)


@pytest.mark.parametrize("colour", [RED, GREEN, BLUE, WHITE, (0, 0, 0), (128, 128, 128), (200, 100, 50), (20, 180, 160)])
def test_colours_survive_and_are_tagged(tmp_path, colour):
    write_video(tmp_path / "clip.mp4", np.stack([flat(colour)] * 5), 16)
    back = decode(tmp_path / "clip.mp4", Sampling(5, 16, 48, 64)).frames
    assert np.abs(back.astype(int) - colour).max() <= 4
    with av.open(str(tmp_path / "clip.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
        assert (context.name, context.pix_fmt, context.width, context.height) == ("h264", "yuv420p", 64, 48)


def test_the_folder_is_made_and_a_file_of_that_name_replaced(tmp_path):
    path = tmp_path / "a" / "b" / "clip.mp4"
    for colour in (RED, BLUE):
        write_video(path, np.stack([flat(colour)] * 5), 16)
    assert np.abs(decode(path, Sampling(5, 16, 48, 64)).frames.astype(int) - BLUE).max() <= 4
    assert list(path.parent.iterdir()) == [path]


def test_frames_that_are_a_view_are_written_as_they_look(tmp_path):
    frames = np.stack([numbered(n, 64, 48) for n in range(10)]).swapaxes(1, 2)[::2, :, ::-1]
    write_video(tmp_path / "clip.mp4", frames, Fraction(16))
    back = decode(tmp_path / "clip.mp4", Sampling(5, 16, 48, 64)).frames
    assert numbers_in(frame[:, ::-1].swapaxes(0, 1) for frame in back) == [0, 2, 4, 6, 8]


@pytest.mark.parametrize(
    "frames",
    [np.zeros((5, 48, 64, 3), np.float32), np.zeros((5, 48, 64), np.uint8), np.zeros((5, 47, 63, 3), np.uint8)],
    ids=["floats", "grey", "odd size"],
)
def test_what_cannot_be_written_leaves_no_file_and_an_old_one_as_it_was(tmp_path, frames):
    path = tmp_path / "clip.mp4"
    for existing in (None, b"old"):
        if existing:
            path.write_bytes(existing)
        with pytest.raises((ValueError, av.FFmpegError)):
            write_video(path, frames, 16)
        assert list(tmp_path.iterdir()) == ([path] if existing else [])
        assert not existing or path.read_bytes() == existing


ENDLESS = """
import sys
import numpy as np
from pathlib import Path
from motive.video.write import write_video
noise = np.random.default_rng(0).integers(0, 256, (1, 240, 320, 3), dtype=np.uint8)
write_video(Path(sys.argv[1]), np.broadcast_to(noise, (1_000_000, 240, 320, 3)), 16)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_write_leaves_no_file_of_that_name(tmp_path, how):
    path = tmp_path / "clip.mp4"
    writing = subprocess.Popen([sys.executable, "-c", ENDLESS, str(path)], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while not any(file.stat().st_size for file in tmp_path.iterdir()):
            assert time.monotonic() < until
            assert writing.poll() is None
            time.sleep(0.05)
    finally:
        writing.send_signal(how)
        try:
            writing.wait(timeout=60)
        finally:
            writing.kill()
    assert not path.exists()
    left: list[Path] = list(tmp_path.iterdir())
    assert left == [] if how == signal.SIGINT else all(file.name.startswith(".") for file in left)
