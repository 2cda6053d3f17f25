"""`motive motion`: what tracker and mask make of a clip, to look at."""

import json

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from motive.cli import app
from motive.report.motion import colours
from motive.video.decode import Sampling, decode

SIZE = ["--set", "video.frames=9", "--set", "video.height=48", "--set", "video.width=64"]


def motion(*arguments: object):
    return CliRunner().invoke(app, ["motion", *map(str, arguments), *SIZE])


def test_a_clips_video_and_sheet_are_written(pool_folder, tmp_path) -> None:
    done = motion(pool_folder / "clip3.mp4", "--out", tmp_path, "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.output)
    assert facts["label"] == "moving"
    assert facts["cuts"] == 0
    frames = decode(tmp_path / "clip3.mp4.motion.mp4", Sampling(9, 16, 48, 192)).frames
    source = decode(pool_folder / "clip3.mp4", Sampling(9, 16, 48, 64)).frames
    assert abs(frames[:, :, :64].astype(int) - source).mean() < 6
    sheet = cv2.imread(str(tmp_path / "clip3.mp4.motion.png"))
    assert sheet.shape == (8 * 48 + 120, 192, 3)


@pytest.mark.parametrize("f", [2, 5])
def test_the_mask_is_seen_where_the_square_is(pool_folder, tmp_path, f) -> None:
    motion(pool_folder / "clip3.mp4", "--out", tmp_path)
    frame = decode(tmp_path / "clip3.mp4.motion.mp4", Sampling(9, 16, 48, 192)).frames[f].astype(int)
    plain, flow, tinted = np.split(frame, 3, axis=1)
    orange = (tinted[..., 0] - tinted[..., 2]) - (plain[..., 0] - plain[..., 2])
    # The square is 16 x 16 at 4 + 4 px/frame from the left; what is far from it is still.
    inside = np.s_[20:28, 6 + 4 * f : 18 + 4 * f]
    assert orange[inside].mean() > 40
    assert flow[inside][..., 0].mean() > 60
    assert orange[:8].mean() < 25


def test_settings_reach_tracker_and_mask(pool_folder, tmp_path) -> None:
    assert "farneback9" in motion(pool_folder / "clip3.mp4", "--out", tmp_path, "--set", "motion.tracker=farneback9").output
    assert "nonesuch" in motion(pool_folder / "clip3.mp4", "--out", tmp_path, "--tracker", "nonesuch").output
    still = motion(pool_folder / "clip5.mp4", "--out", tmp_path, "--set", "motion.static=leave-out")
    assert still.exit_code == 1
    assert "static" in still.output


def test_a_broken_file_is_told_in_words(tmp_path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    done = motion(tmp_path / "broken.mp4", "--out", tmp_path)
    assert done.exit_code == 1
    assert "Traceback" not in done.output
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize(
    ("direction", "channels"), [((1, 0), [True, False, False]), ((-1, 0), [False, True, True]), ((0, 0), [False, False, False])]
)
def test_a_direction_has_its_colour(direction, channels) -> None:
    flow = np.zeros((4, 4, 2), np.float32) + np.array(direction, np.float32)
    assert (colours(flow, 1.0)[0, 0] > 128).tolist() == channels
    assert colours(flow * 0.5, 1.0).max() <= 128
