"""Flickering and dynamic degree on videos whose answer is known."""

import numpy as np
import pytest

from motive.evaluation.moving import fastest, flickering, is_dynamic, mean_displacement
from motive.motion.trackers import dis
from tests.conftest import moving_square


def test_a_still_does_not_flicker_and_a_step_counts_by_its_size() -> None:
    still = np.full((6, 8, 8, 3), 100, np.uint8)
    assert flickering(still) == 1
    stepping = still.copy()
    stepping[1::2] += 51
    assert flickering(stepping) == pytest.approx(1 - 51 / 255)
    assert flickering(still[:1]) is None


def test_flickering_is_vbenchs_mean_absolute_difference() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 12, 16, 3)).astype(np.uint8)
    wide = frames.astype(np.float64)
    by_hand = np.mean([np.abs(wide[k] - wide[k + 1]).mean() for k in range(4)])
    assert flickering(frames) == pytest.approx((255 - by_hand) / 255)


def uniform(pixels: float):
    """A tracker to which everything moves by so many pixels."""
    return lambda frames: np.full((*frames.shape[:3], 2), [pixels, 0], np.float32)


@pytest.mark.parametrize(("pixels", "dynamic"), [(5.9, False), (6.1, True)])
def test_the_threshold_is_6_px_at_256_lines(pixels, dynamic) -> None:
    frames = np.zeros((16, 256, 320, 3), np.uint8)
    assert is_dynamic(frames, 8, uniform(pixels)) is dynamic
    assert is_dynamic(frames[:, :128, :160], 8, uniform(pixels / 2)) is dynamic


def test_about_eight_frames_a_second_are_looked_at() -> None:
    seen = []

    def track(frames):
        seen.append(len(frames))
        return uniform(0)(frames)

    for fps in (8, 16, 24, 5):
        is_dynamic(np.zeros((33, 32, 32, 3), np.uint8), fps, track)
    assert seen == [33, 17, 11, 33]


@pytest.mark.parametrize(("moving", "dynamic"), [(3, False), (4, True)])
def test_a_quarter_of_the_frames_must_move(moving, dynamic) -> None:
    def track(frames):
        field = np.zeros((*frames.shape[:3], 2), np.float32)
        field[1 : 1 + moving] = 7
        return field

    assert is_dynamic(np.zeros((16, 256, 256, 3), np.uint8), 8, track) is dynamic


def test_the_fastest_twentieth_of_the_pixels_counts() -> None:
    field = np.zeros((20, 20, 2), np.float32)
    field[0] = [3, 4]
    assert fastest(field) == pytest.approx(5)
    field[1:] = [0, 1]
    assert fastest(field) == pytest.approx(5)


def test_real_displacement_tells_a_fast_square_from_a_still() -> None:
    fast, still = moving_square(17, 64, 96, speed=4), moving_square(17, 64, 96, speed=0)
    assert is_dynamic(fast, 16, dis)
    assert not is_dynamic(still, 16, dis)
    assert mean_displacement(still) == pytest.approx(0, abs=0.01)
    assert 0.05 < mean_displacement(fast) < 1
