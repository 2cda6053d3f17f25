"""Video files that mean ill: bombs, endless ones, and what is no video under a video's name."""

import io
import pickle
import struct
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from motive.errors import ClipError
from motive.video import container
from motive.video.decode import Sampling, decode
from motive.video.table import ClipTable
from tests.video.files import busy, numbered_video, write
from tests.video.memory import peak

SAMPLING = Sampling(frames=9, fps=16, height=48, width=64)


def reason(path: Path, sampling: Sampling = SAMPLING) -> str:
    with pytest.raises(ClipError) as caught:
        decode(path, sampling)
    return str(caught.value)


def y4m(path: Path, count: int, width: int = 2, height: int = 2, rate: str = "30:1") -> Path:
    """The smallest frames that there are: twelve bytes each."""
    path.write_bytes(f"YUV4MPEG2 W{width} H{height} F{rate} Ip A1:1 C420jpeg\n".encode() + b"FRAME\nabcdef" * count)
    return path


def test_a_file_of_more_packets_than_any_clip_has_is_given_up(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(container, "MAX_PACKETS", 1000)
    assert reason(y4m(tmp_path / "clip.y4m", 2000)) == "more than 1,000 packets: endless or not a clip"
    assert decode(y4m(tmp_path / "clip.y4m", 999), SAMPLING).frames.shape == (9, 48, 64, 3)


def test_a_hundred_thousand_packets_cost_little_memory(tmp_path) -> None:
    path = y4m(tmp_path / "clip.y4m", 100_000)
    decode(path, SAMPLING)
    for place in ("start", "centre"):
        with peak() as grown:
            assert decode(path, Sampling(9, 16, 48, 64, place)).frames.shape == (9, 48, 64, 3)
        assert grown() < 30


@pytest.mark.parametrize(("width", "height"), [(65_535, 65_535), (8192, 8192), (2**31 - 1, 1), (1, 2**31 - 1), (0, 0), (-1, 5)])
def test_a_size_that_is_only_declared_costs_nothing(tmp_path, width, height) -> None:
    with peak() as grown:
        reason(y4m(tmp_path / "clip.y4m", 50, width, height))
    assert grown() < 50


@pytest.mark.parametrize("size", [(65_535, 65_535), (16_384, 16_384), (65_535, 1), (0, 0)])
def test_an_mp4_that_declares_another_size_gives_its_frames_or_a_reason_in_little_memory(tmp_path, size) -> None:
    path = numbered_video(tmp_path / "clip.mp4", 40)
    content = path.read_bytes()
    place = content.index(b"avc1") + 28  # of the sample description
    path.write_bytes(content[:place] + struct.pack(">HH", *size) + content[place + 4 :])
    with peak() as grown:
        try:
            assert decode(path, SAMPLING).frames.shape == (9, 48, 64, 3)
        except ClipError as error:
            assert str(error)
    assert grown() < 60


def test_a_gif_of_a_giant_canvas_is_refused(tmp_path) -> None:
    path = write(tmp_path / "clip.gif", (busy(n, 48, 64) for n in range(20)), codec="gif", pix_fmt="rgb8", fps=25)
    content = path.read_bytes()
    path.write_bytes(content[:6] + struct.pack("<HH", 65_535, 65_535) + content[10:])
    with peak() as grown:
        why = reason(path)
    assert "exceed the limit" in why or "not readable" in why or "does not decode" in why
    assert grown() < 50


@pytest.mark.parametrize("rate", ["1000000:1", "1:1000000", "0:1", "1:0", "2147483647:1", "1:2147483647"])
def test_a_rate_beyond_sense_gives_frames_or_a_reason_in_bounded_time(tmp_path, rate) -> None:
    path = y4m(tmp_path / "clip.y4m", 3000, rate=rate)
    begin = time.monotonic()
    for place in ("start", "centre"):
        try:
            assert decode(path, Sampling(9, 16, 48, 64, place)).frames.shape == (9, 48, 64, 3)
        except ClipError as error:
            assert str(error)
    assert time.monotonic() - begin < 30


def test_a_file_that_plays_for_centuries_gives_its_first_frames_or_a_reason(tmp_path) -> None:
    path = numbered_video(tmp_path / "clip.mkv", 40)
    content = path.read_bytes()
    place = content.index(b"\x44\x89\x88") + 3  # Duration, in milliseconds
    for duration in (1e18, 1e300, float("inf"), float("nan"), -1.0, 0.0):
        path.write_bytes(content[:place] + np.array(duration, ">f8").tobytes() + content[place + 8 :])
        try:
            assert decode(path, SAMPLING).frames.shape == (9, 48, 64, 3)
        except ClipError as error:
            assert str(error)


def others() -> dict[str, bytes]:
    """Files that are no videos."""
    zipped, packed = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.mp4", bytes(10 << 20))
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.mp4"))
    return {
        "zip": zipped.getvalue(),
        "tar": packed.getvalue(),
        "pickle": pickle.dumps({"a": list(range(1000))}),
        "program": b"\x7fELF\x02\x01\x01" + bytes(2000),
        "script": b"#!/bin/sh\nrm -rf /\n" * 50,
        "page": b"<!DOCTYPE html><script>alert(1)</script>" * 50,
        "weights": struct.pack("<Q", 2) + b"{}" + bytes(2000),
        "parquet": b"PAR1" + bytes(2000) + b"PAR1",
        "subtitles": b"1\n00:00:00,000 --> 00:00:05,000\nwords\n\n" * 40,
        "drawing": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>' * 9,
        "vobsub": b"# VobSub index file, v7\nid: en, index: 0\n" * 20,
        "sequence": b"%d.png\n" * 40,
        "audio": b"RIFF" + struct.pack("<I", 2036) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8)
        + b"data" + struct.pack("<I", 2000) + bytes(2000),
    }  # fmt: skip


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".avi", ".ts", ".gif"])
def test_what_is_no_video_is_refused_whatever_it_is_called(tmp_path, suffix) -> None:
    for kind, content in others().items():
        path = tmp_path / f"clip{suffix}"
        path.write_bytes(content)
        assert reason(path), kind


def test_a_video_under_another_videos_name_is_still_that_video(tmp_path) -> None:
    frames = decode(numbered_video(tmp_path / "clip.mkv", 40, codec="ffv1", pix_fmt="bgr0"), SAMPLING).frames
    for name in ("clip.mp4", "clip.gif", "clip.txt", "clip"):
        (tmp_path / "clip.mkv").rename(tmp_path / name)
        assert np.array_equal(decode(tmp_path / name, SAMPLING).frames, frames)
        (tmp_path / name).rename(tmp_path / "clip.mkv")


@pytest.mark.parametrize("text", ["\x1b]0;owned\x07\x1b[2J", "<img src=x onerror=alert(1)>", "\u202egpj.exe", "a\nb", "\x00"])
def test_a_hostile_caption_stays_a_caption_and_a_hostile_name_a_name(tmp_path, text) -> None:
    """They are made harmless where they are shown (see motive.text), and reach the model as they are."""
    name = "clip " + text.replace("/", "_").replace("\0", "") + ".mp4"
    (tmp_path / name).write_bytes(b"x")
    (tmp_path / name).with_suffix(".txt").write_text(text, newline="")
    (clip,) = ClipTable.read(tmp_path)
    assert (clip.caption, clip.name, clip.problem) == (text.strip(), name, None)
