import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motive.errors import ClipError
from motive.lab import world
from motive.motion import evidence as module
from motive.motion.evidence import SUSTAINED_QUANTILE, Evidence, evidence
from motive.motion.mask import MaskOptions, motion_mask
from motive.motion.trackers import TRACKERS, dis
from motive.seeds import stream
from tests.conftest import moving_square

STRIDE = (4, 8, 8)


def rendered(motion: str, camera: str | None = None, noise: float = 0.0, n: int = 0) -> world.Rendered:
    return world.render(n, world.Spec(motion, world.draw_looks(stream(0, "evidence", n)), camera, noise))


@pytest.mark.parametrize("noise", [0, 2, 6, 12])
@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_still_scene_is_static_however_noisy_the_sensor(tracker, noise) -> None:
    for n in range(3):
        mask, motion = motion_mask(rendered("static", None, noise, n).frames, TRACKERS[tracker], STRIDE, MaskOptions())
        assert motion.label == "static"
        assert mask.min() == 1


@pytest.mark.parametrize("noise", [0, 6])
def test_a_moving_thing_is_seen_however_noisy_the_sensor(noise) -> None:
    clips = [rendered("bounce", None, noise, n) for n in range(3)]
    assert all(motion_mask(clip.frames, dis, STRIDE, MaskOptions())[1].label == "moving" for clip in clips)


@pytest.mark.parametrize("camera", world.CAMERAS)
def test_what_only_the_camera_moves_has_hardly_any_motion_left_after_removal(camera) -> None:
    clips = [rendered("static", camera, 0, n).frames for n in range(4)]
    kept, removed = (
        np.array([motion_mask(frames, dis, STRIDE, MaskOptions(camera=way))[1].sustained for frames in clips])
        for way in ("keep", "affine")
    )
    assert kept.min() > 0.5
    assert np.sum(removed < 0.25) >= 3
    assert (removed < 0.5 * kept).all()


@pytest.mark.parametrize("camera", [None, *world.CAMERAS])
def test_dropping_the_unseen_leaves_the_moving_thing_alone(camera) -> None:
    clip = rendered("bounce", camera, 4)
    near = np.stack([cv2.dilate(mask.astype(np.uint8), np.ones((25, 25), np.uint8)) for mask in clip.mask]) > 0
    options = MaskOptions(floor=0, full=1.0, noise="drop", camera="affine" if camera else "keep")
    weight = motion_mask(clip.frames, dis, (1, 1, 1), options)[0]
    assert weight[~near].mean() < 0.02
    assert weight[clip.mask].mean() > 0.2


@pytest.mark.parametrize("sigma", [1.0, 5.0, 12.0])
def test_the_noise_of_a_picture_is_estimated_under_smooth_changes(sigma) -> None:
    y, x = np.mgrid[:120, :200]
    picture = 30 * np.sin(x / 25) + y / 4 + np.random.default_rng(0).normal(0, sigma, x.shape)
    assert module._noise_of(picture.astype(np.float32)) == pytest.approx(sigma, rel=0.05)


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_sustained_motion_is_the_quantile_of_what_is_seen_to_move(seed, share) -> None:
    rng = np.random.default_rng(seed)
    magnitude = rng.exponential(2, (4, 30, 40)).astype(np.float32)
    changed = rng.uniform(size=magnitude.shape) < share
    each = [np.quantile(np.where(changed[f], magnitude[f], 0), SUSTAINED_QUANTILE, method="lower") for f in (1, 2, 3)]
    assert Evidence(changed, 1).sustained(magnitude) == pytest.approx(float(np.median(each)))


def test_noise_is_what_the_tracker_reports_where_nothing_changes() -> None:
    changed = np.zeros((3, 10, 10), bool)
    changed[:, :5] = True
    magnitude = np.where(changed, 5.0, 0.5).astype(np.float32)
    assert Evidence(changed, 1).noise(magnitude) == 0.5
    assert Evidence(np.ones_like(changed), 1).noise(magnitude) == 0


def test_large_pictures_are_looked_at_on_a_coarser_grid_with_the_same_outcome() -> None:
    small = moving_square(5, 240, 320, 5)
    large = small.repeat(2, axis=1).repeat(2, axis=2)
    coarse, fine = evidence(large), evidence(small)
    assert (fine.step, coarse.step) == (1, 2)
    assert np.array_equal(coarse.changed, fine.changed)
    assert fine.changed.any()
    magnitude = np.ones(large.shape[:3], np.float32)
    coarse.drop_unseen(magnitude)
    assert magnitude.mean() == pytest.approx(coarse.changed.mean(), rel=1e-3)


def test_one_frame_alone_moves_nothing() -> None:
    one = evidence(np.zeros((1, 16, 16, 3), np.uint8))
    assert one.sustained(np.ones((1, 16, 16), np.float32)) == 0
    assert one.noise(np.ones((1, 16, 16), np.float32)) == 0


def test_a_tracker_that_gives_another_shape_fails_its_clip_in_words() -> None:
    with pytest.raises(ClipError, match=r"tracker gave \(5, 16, 16\)"):
        motion_mask(np.zeros((5, 16, 16, 3), np.uint8), lambda frames: np.zeros((5, 16, 16), np.float32), STRIDE, MaskOptions())


def test_a_tracker_may_give_what_must_not_be_written_to() -> None:
    displacement = np.ones((5, 16, 16, 2))
    displacement.flags.writeable = False
    motion_mask(np.zeros((5, 16, 16, 3), np.uint8), lambda frames: displacement, STRIDE, MaskOptions(floor=0))
    assert (displacement == 1).all()
