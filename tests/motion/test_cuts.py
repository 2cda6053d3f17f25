import numpy as np
import pytest

from motive.motion.cuts import bridge_cuts, find_cuts
from motive.video.decode import Sampling, decode
from tests.conftest import SHARED, moving_square
from tests.motion.test_mask import panning

BIKES = SHARED / "clips" / "bikes_cuts.mp4"


def shot(colour: tuple[int, int, int], frames: int) -> np.ndarray:
    """A camera that pans over a texture of one colour."""
    return (panning(3, frames) * (np.array(colour) / 255)).astype(np.uint8)


def test_a_clip_of_several_shots_is_cut_where_they_meet() -> None:
    one, other, third = shot((255, 60, 20), 7), moving_square(5, 96, 128, seed=3), shot((30, 80, 255), 6)
    assert find_cuts(np.concatenate([one, other, third])) == [7, 12]


@pytest.mark.parametrize("speed", [0.0, 3.0, 12.0])
def test_moving_things_and_cameras_are_no_cuts(speed) -> None:
    assert find_cuts(moving_square(13, speed=speed)) == []
    assert find_cuts(panning(speed, 13)) == []


def test_light_that_is_switched_on_is_no_cut() -> None:
    frames = panning(2, 9).astype(np.float32) * 0.5
    frames[5:] *= 2
    assert find_cuts(frames.astype(np.uint8)) == []


def test_black_and_a_picture_are_two_shots() -> None:
    picture = panning(2, 6)
    assert find_cuts(np.concatenate([np.zeros_like(picture[:3]), picture])) == [3]


def test_an_empty_picture_and_one_frame_have_no_cuts() -> None:
    assert find_cuts(np.zeros((4, 32, 48, 3), np.uint8)) == []
    assert find_cuts(np.zeros((1, 32, 48, 3), np.uint8)) == []


def test_a_shots_first_frame_takes_the_next_ones_displacement() -> None:
    displacement = np.arange(6, dtype=np.float32)[:, None, None, None] * np.ones((1, 2, 2, 2), np.float32)
    bridge_cuts(displacement, [2])
    assert displacement[:, 0, 0, 0].tolist() == [0, 1, 3, 3, 4, 5]


def test_where_there_is_no_next_frame_in_a_shot_nothing_moves() -> None:
    displacement = np.ones((6, 2, 2, 2), np.float32)
    bridge_cuts(displacement, [1, 3, 4, 5])
    assert displacement[:, 0, 0, 0].tolist() == [0, 1, 1, 0, 0, 0]


@pytest.mark.skipif(not BIKES.exists(), reason="the shared clips are not here")
@pytest.mark.parametrize("step", [1, 2])
def test_the_cuts_of_a_real_clip_are_at_the_right_frames(step) -> None:
    """Seen by eye, of 25 frames a second: at 99 a van rushes past, which is none."""
    import cv2

    capture, frames = cv2.VideoCapture(str(BIKES)), []
    while (read := capture.read())[0]:
        frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    assert find_cuts(np.stack(frames[::step])) == [-(-f // step) for f in (30, 76, 137, 187, 242)]


@pytest.mark.skipif(not BIKES.exists(), reason="the shared clips are not here")
def test_no_other_real_clip_is_cut() -> None:
    for path in sorted(BIKES.parent.glob("*.[ma][kpv][v4i]")):
        frames = decode(path, Sampling(17, 16, 48, 80, "centre")).frames
        assert find_cuts(frames) == [] or path == BIKES, path.name
