import numpy as np
import pytest

from motive.errors import ClipError, LeftOutError
from motive.motion.camera import fit_camera
from motive.motion.mask import MaskOptions, motion_mask, normalise, to_latent_grid
from motive.motion.trackers import TRACKERS, Tracker, dis
from tests.conftest import moving_square
from tests.reference import method

PAPER = MaskOptions(floor=0)
STRIDE = (4, 8, 8)


def constant(displacement: np.ndarray) -> Tracker:
    return lambda frames: displacement.astype(np.float32)


def textured(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth noise uint8 [H, W]: something a tracker can follow at any place."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (height // 6 + 2, width // 6 + 2)).astype(np.float32)
    import cv2

    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def panning(dx: float, frames: int = 9, height: int = 96, width: int = 128, zoom: float = 1.0) -> np.ndarray:
    """A textured world seen by a camera that pans left by dx and zooms by `zoom` each frame: content moves right by dx."""
    import cv2

    world = textured(height * 2, width * 2)
    pictures = []
    for f in range(frames):
        scale = zoom**f
        matrix = np.float32([[scale, 0, -width / 2 * scale + dx * f], [0, scale, -height / 2 * scale]])
        pictures.append(cv2.warpAffine(world, matrix, (width, height), flags=cv2.INTER_LINEAR))
    return np.repeat(np.stack(pictures)[..., None], 3, axis=-1)


@pytest.mark.parametrize("size", [(9, 48, 64), (5, 32, 40), (1, 16, 16), (13, 24, 72)])
def test_the_mask_is_the_reference_mask(size) -> None:
    displacement = np.random.default_rng(1).standard_normal((*size, 2)) * 3
    mask, _ = motion_mask(np.zeros((*size, 3), np.uint8), constant(displacement), STRIDE, PAPER)
    assert mask == pytest.approx(method.mask(displacement.astype(np.float32)), abs=1e-5)


def test_the_mask_has_the_latents_shape_at_the_papers_size() -> None:
    mask = to_latent_grid(np.random.default_rng(0).random((81, 480, 832), np.float32), STRIDE)
    assert mask.shape == (21, 60, 104)


def test_latent_k_takes_the_mean_of_its_own_four_frames() -> None:
    weight = np.zeros((9, 16, 16), np.float32)
    weight[0] = 1
    weight[5] = 4
    assert to_latent_grid(weight, STRIDE)[:, 0, 0].tolist() == [1, 0, 1]


def test_minimum_and_maximum_are_taken_over_the_whole_clip() -> None:
    magnitude = np.array([[[1.0, 2.0]], [[3.0, 5.0]]], np.float32)
    assert normalise(magnitude).flatten().tolist() == pytest.approx([0, 0.25, 0.5, 1], abs=1e-6)


def test_quantiles_keep_one_wild_pixel_from_flattening_the_mask() -> None:
    magnitude = np.random.default_rng(0).random((4, 50, 50), np.float32)
    magnitude[0, 0, 0] = 1000
    assert normalise(magnitude.copy()).mean() < 0.01
    robust = normalise(magnitude, (0.01, 0.99))
    assert 0.4 < robust.mean() < 0.6
    assert 0 <= robust.min() <= robust.max() <= 1


def test_a_still_clip_is_static_and_never_gets_a_noise_mask() -> None:
    rng = np.random.default_rng(0)
    still = np.repeat(textured(96, 128)[None, ..., None], 9, axis=0).repeat(3, axis=-1).astype(float)
    noisy = (still + rng.normal(0, 3, still.shape)).clip(0, 255).round().astype(np.uint8)
    for frames in (still.astype(np.uint8), noisy):
        mask, motion = motion_mask(frames, dis, STRIDE, MaskOptions())
        assert motion.label == "static"
        assert np.array_equal(mask, np.ones((3, 12, 16)))
        with pytest.raises(LeftOutError, match=r"static.*floor 0\.25"):
            motion_mask(frames, dis, STRIDE, MaskOptions(static="leave-out"))
    mask, motion = motion_mask(noisy, dis, STRIDE, PAPER)
    assert motion.label == "moving"
    assert mask.min() < 0.5


def test_a_moving_thing_is_found_where_it_is() -> None:
    frames = moving_square(13, 96, 128, speed=4)
    mask, motion = motion_mask(frames, dis, STRIDE, MaskOptions())
    assert motion.label == "moving"
    assert 2.5 < motion.sustained < 7
    band = mask[1:, 4:8].mean()
    assert band > 3 * mask[1:, :3].mean()
    assert band > 3 * mask[1:, 9:].mean()


@pytest.mark.parametrize("name", ["dis", "dis-fast", "dis-ultrafast", "farneback"])
def test_displacement_is_how_far_each_pixel_came_since_the_frame_before(name) -> None:
    frames = panning(2.0)
    displacement = TRACKERS[name](frames)
    assert displacement.shape == (9, 96, 128, 2)
    assert displacement.dtype == np.float32
    inner = displacement[1:, 20:-20, 20:-20]
    assert np.median(inner[..., 0]) == pytest.approx(2.0, abs=0.4)
    assert abs(np.median(inner[..., 1])) < 0.3
    assert np.array_equal(displacement[0], displacement[1])


def test_displacement_lies_on_the_later_frames_own_grid() -> None:
    """A square that jumps from left to right: in frame f it must be found where it is in f, not where it was."""
    frames = np.repeat(textured(64, 96)[None, ..., None] // 6, 2, axis=0).repeat(3, axis=-1)
    square = textured(24, 24, seed=5)[..., None]
    frames[0, 20:44, 20:44] = square
    frames[1, 20:44, 28:52] = square
    magnitude = np.linalg.norm(dis(frames)[1], axis=-1)
    assert magnitude[24:40, 46:51].mean() > 4
    assert magnitude[24:40, 8:16].mean() < 2


def test_trackers_do_not_depend_on_the_number_of_threads() -> None:
    import cv2

    frames = moving_square(5, 96, 128)
    before = cv2.getNumThreads()
    results = []
    for threads in (1, 4):
        cv2.setNumThreads(threads)
        results.append(dis(frames))
        assert cv2.getNumThreads() == threads, "the caller's setting must be left alone"
    cv2.setNumThreads(before)
    assert np.array_equal(*results)


@pytest.mark.parametrize("model", ["affine", "homography"])
@pytest.mark.parametrize("zoom", [1.0, 1.02])
def test_a_moving_camera_is_seen_and_removed(model, zoom) -> None:
    frames = panning(2.0, zoom=zoom)
    _, before = motion_mask(frames, dis, STRIDE, MaskOptions())
    assert before.label == "moving"
    assert before.camera_px == 0
    _, after = motion_mask(frames, dis, STRIDE, MaskOptions(camera=model))
    assert after.label == "camera"
    assert after.camera_px > 1.5
    assert after.camera_support > 0.8
    assert after.mean < 0.35 * before.mean


def test_what_moves_remains_when_the_camera_is_removed() -> None:
    frames = panning(2.0, frames=9)
    square = textured(24, 24, seed=9)[..., None]
    for f in range(9):
        frames[f, 36:60, 90 - 6 * f : 114 - 6 * f] = square
    mask, motion = motion_mask(frames, dis, STRIDE, MaskOptions(camera="affine"))
    assert motion.label == "camera"
    assert motion.sustained > 3
    assert mask[1:, 4:8].mean() > 3 * mask[1:, 9:].mean()


def test_a_static_camera_is_not_taken_for_a_moving_one() -> None:
    frames = moving_square(13, 96, 128, speed=4)
    _, motion = motion_mask(frames, dis, STRIDE, MaskOptions(camera="affine"))
    assert motion.label == "moving"
    assert motion.camera_px < 0.2


def test_a_picture_without_texture_has_no_camera_model() -> None:
    flat = np.full((3, 48, 64, 3), 128, np.uint8)
    camera = fit_camera(flat, dis(flat), "homography")
    assert np.abs(camera.displacement).max() < 1e-3


def test_a_tracker_that_fails_is_an_error() -> None:
    broken = constant(np.full((5, 16, 16, 2), np.nan))
    with pytest.raises(ClipError, match="not finite"):
        motion_mask(np.zeros((5, 16, 16, 3), np.uint8), broken, STRIDE, PAPER)


def blob(px: float, size: tuple[int, int, int] = (9, 64, 96)) -> np.ndarray:
    """Displacement of a square of 16 x 16 moving by `px` in the middle of a still picture."""
    displacement = np.zeros((*size, 2), np.float32)
    displacement[:, 24:40, 40:56, 0] = px
    return displacement


def masked(displacement: np.ndarray, **options: object) -> np.ndarray:
    frames = np.zeros((*displacement.shape[:3], 3), np.uint8)
    return motion_mask(frames, constant(displacement), STRIDE, MaskOptions(floor=0, **options))[0]


def test_absolute_weights_do_not_depend_on_what_else_moves() -> None:
    for px, weight in ((1.0, 0.25), (4.0, 1.0), (9.0, 1.0)):
        assert masked(blob(px), full=4.0)[1, 3, 5] == pytest.approx(weight)
    assert masked(blob(1.0))[1, 3, 5] == pytest.approx(1, abs=1e-5)


def test_a_binary_mask_weighs_all_that_moves_alike() -> None:
    displacement = blob(6.0)
    displacement[:, 24:40, 40:48, 0] = 0.5
    frames = np.full((9, 64, 96, 3), 60, np.uint8)
    frames[1::2] = 120  # so that the displacement is believed
    mask, _ = motion_mask(frames, constant(displacement), STRIDE, MaskOptions(floor=0.4, shape="binary"))
    assert mask[:, 3:5, 5:7].min() == 1
    assert masked(displacement)[1, 3, 5] < 0.2
    assert set(np.unique(mask)) == {0, 1}


def test_dilation_widens_what_moves_by_its_pixels() -> None:
    plain, wide = masked(blob(3.0)), masked(blob(3.0), dilation=8)
    assert plain[1].sum() == pytest.approx(4, abs=1e-3)
    assert (wide >= plain - 1e-6).all()
    assert wide[1, 3, 4] > 0.9
    assert wide[1, 3, 3] == pytest.approx(0, abs=1e-6)


def test_pooling_by_the_maximum_keeps_a_short_movement_whole() -> None:
    displacement = blob(3.0)
    displacement[:6] = 0
    displacement[7:] = 0
    assert masked(displacement)[2, 3, 5] == pytest.approx(0.25, abs=1e-5)
    assert masked(displacement, pooling="max")[2, 3, 5] == pytest.approx(1, abs=1e-5)
    assert masked(displacement, pooling="max")[1].max() == 0


def test_subtracting_noise_clears_what_stands_still_and_keeps_what_moves() -> None:
    rng = np.random.default_rng(0)
    frames = moving_square(9, 64, 96, speed=3)
    displacement = blob(4.0) + rng.normal(0, 0.3, (9, 64, 96, 2)).astype(np.float32)
    results = {}
    for noise in ("keep", "subtract"):
        options = MaskOptions(floor=0, noise=noise)
        results[noise] = motion_mask(frames, constant(displacement), STRIDE, options)[0]
    still = np.s_[1:, 0:2, :]
    assert results["subtract"][still].mean() < 0.2 * results["keep"][still].mean()
    assert results["subtract"][1, 3, 5] > 0.7


def test_a_hard_cut_does_not_become_the_fastest_thing_of_the_clip() -> None:
    frames = np.concatenate(
        [(panning(1, 6) * [1, 0.3, 0.1]).astype(np.uint8), (panning(1, 7)[:, ::-1] * [0.1, 0.4, 1]).astype(np.uint8)]
    )
    kept, before = motion_mask(frames, dis, STRIDE, MaskOptions(floor=0))
    bridged, after = motion_mask(frames, dis, STRIDE, MaskOptions(floor=0, cuts="bridge"))
    assert before.cuts == after.cuts == 1
    assert after.peak < 0.5 * before.peak
    assert bridged[[1, 3]].mean() > 2 * kept[[1, 3]].mean()
