"""Rendered clips: the pictures move as the displacement says, and what a clip looks like does not tell its motion."""

import hashlib
import inspect
import itertools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from motive.lab.motions import CARTOON, MOTIONS, PHRASES, PHYSICAL, WHOLE, Law
from motive.lab.world import (
    BACKGROUNDS,
    CAMERA_PHRASES,
    CAMERAS,
    COLOURS,
    LIGHTS,
    SHAPES,
    SIZES,
    TEXTURES,
    Looks,
    Rendered,
    Spec,
    caption,
    draw_looks,
    render,
    trajectory,
)
from motive.seeds import stream

LOOKS = Looks("disc", "white", "checked", "medium", "grey", "bright")
CHOICES = {"shape": SHAPES, "colour": COLOURS, "texture": TEXTURES, "size": SIZES, "background": BACKGROUNDS, "light": LIGHTS}
SHIFTING = ["fall", "slide", "float", "bounce", "constant-bounce", "hovering-fall"]
"""Motions that neither turn nor deform the object."""
STEADY = ["compress", "stretch", "spin"]
"""Motions whose displacement hardly differs from one frame to the next."""
ONE_PIECE = [motion for motion in MOTIONS if motion not in ("explode", "reversed")]
CASES = [(n, *case) for n, case in enumerate(itertools.product(PHYSICAL, [None, *CAMERAS]))]
EVERY_MOTION = pytest.mark.parametrize("motion", MOTIONS)
WITH_AND_WITHOUT_CAMERA = pytest.mark.parametrize("camera", [None, *CAMERAS])

Array = np.ndarray


def looks(number: int) -> Looks:
    return draw_looks(stream(number, "looks"))


def digest(clip: Rendered) -> str:
    parts = (clip.frames, clip.displacement, clip.mask)
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


def digests() -> list[str]:
    cameras = itertools.cycle([None, *CAMERAS])
    specs = [Spec(motion, looks(n), next(cameras), noise=n % 2) for n, motion in enumerate(MOTIONS)]
    return [digest(render(n, spec, size=48)) for n, spec in enumerate(specs)]


def cases() -> Iterator[tuple[int, Spec]]:
    """A clip of every motion with every camera."""
    for seed, (motion, camera) in enumerate(itertools.product(MOTIONS, [None, *CAMERAS])):
        yield seed, Spec(motion, looks(seed), camera)


def grid(size: int) -> Array:
    """Pixel coordinates x and y [size, size, 2] of pixel centres."""
    return np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1).astype(np.float32)


def grown(mask: Array, by: int) -> Array:
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * by + 1, 2 * by + 1), np.uint8)) > 0


def shrunk(mask: Array, by: int) -> Array:
    return cv2.erode(mask.astype(np.uint8), np.ones((2 * by + 1, 2 * by + 1), np.uint8)) > 0


def torn(displacement: Array, by: int = 2, limit: float = 3) -> Array:
    """Where one thing ends and another begins: the displacement jumps nearby."""
    kernel = np.ones((2 * by + 1, 2 * by + 1), np.uint8)
    return np.any(
        [cv2.dilate(part, kernel) - cv2.erode(part, kernel) > limit for part in np.moveaxis(displacement, -1, 0)], axis=0
    )


def warped(picture: Array, displacement: Array) -> Array:
    """Each pixel from where it was in the picture before."""
    came_from = grid(len(picture)) - displacement
    return cv2.remap(picture, came_from[..., 0], came_from[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def warping_errors(clip: Rendered, displacement: Array) -> tuple[Array, Array]:
    """Grey levels between each frame and the one before it, warped: inside the object, and on the background away from it.

    Where to look is up to the clip alone, not to the displacement that is tried.
    """
    inside, outside = [], []
    last = clip.mask.shape[1] - 1
    for f in range(1, len(clip.frames)):
        error = np.abs(warped(clip.frames[f - 1], displacement[f]).astype(float) - clip.frames[f]).mean(axis=-1)
        here, before = grid(last + 1), grid(last + 1) - clip.displacement[f]
        shown = (np.minimum(here, before) >= 3).all(axis=-1) & (np.maximum(here, before) <= last - 3).all(axis=-1)
        inside.append(error[shown & shrunk(clip.mask[f], 2) & ~torn(clip.displacement[f])])
        uncovered = warped(grown(clip.mask[f - 1], 4).astype(np.uint8), clip.displacement[f]) > 0
        outside.append(error[shown & ~grown(clip.mask[f], 4) & ~uncovered])
    return np.concatenate(inside), np.concatenate(outside)


def within_picture(clip: Rendered) -> Array:
    """Frames [F] in which the whole object is seen."""
    edge = np.ones(clip.mask.shape[1:], bool)
    edge[1:-1, 1:-1] = False
    return clip.mask.any(axis=(1, 2)) & ~(clip.mask & edge).any(axis=(1, 2))


def centroids(clip: Rendered) -> Array:
    return np.array([grid(mask.shape[0])[mask].mean(axis=0) for mask in clip.mask])


def seen_centre(seed: int, spec: Spec, size: int, mirrored: bool) -> Array:
    """Where the law has the object's centre [F, 2], in pixel coordinates of a clip without a camera."""
    (part,) = trajectory(seed, spec)[0].parts
    centre = part.centre * [-1, 1] + [1, 0] if mirrored else part.centre
    return size * centre - 0.5


def test_a_seed_and_a_spec_give_the_same_clip_every_time() -> None:
    for seed, spec in itertools.islice(cases(), 0, None, 7):
        one, other = render(seed, spec, size=64), render(seed, spec, size=64)
        assert np.array_equal(one.frames, other.frames)
        assert np.array_equal(one.displacement, other.displacement)
        assert np.array_equal(one.mask, other.mask)
        assert one.labels == other.labels


def test_another_process_renders_the_same_bytes() -> None:
    script = "from tests.lab.test_world import digests; print(*digests())"
    there = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[2], capture_output=True, check=True, text=True
    )
    assert there.stdout.split() == digests()


@EVERY_MOTION
def test_another_seed_gives_another_clip(motion) -> None:
    clips = [render(seed, Spec(motion, LOOKS), size=32) for seed in range(8)]
    for part in ("frames", "mask"):
        assert len({getattr(clip, part).tobytes() for clip in clips}) == 8


@pytest.mark.parametrize(("number", "motion", "camera"), CASES)
def test_each_frame_is_the_one_before_moved_by_the_displacement(number, motion, camera) -> None:
    """Bilinear sampling leaves a few grey levels at the texture's edges, most where compressing has made them steep."""
    look = replace(LOOKS, shape=SHAPES[number % 4], texture=TEXTURES[number % 3])
    clip = render(number, Spec(motion, look, camera))
    inside, outside = warping_errors(clip, clip.displacement)
    assert len(inside) > 1000
    assert len(outside) > 100_000
    assert inside.mean() < 3
    assert inside.max() < (40 if motion == "compress" else 15)
    assert outside.mean() < 0.8
    assert outside.max() < 5

    flipped, flipped_outside = warping_errors(clip, -clip.displacement)
    assert flipped.mean() > 4 * inside.mean()
    if camera:
        assert flipped_outside.mean() > 4 * outside.mean()
    late, late_outside = warping_errors(clip, np.roll(clip.displacement, 1, axis=0))
    if camera == "shake" or motion not in STEADY:
        assert late.mean() > 2 * inside.mean()
    if camera == "shake":
        assert late_outside.mean() > 4 * outside.mean()


@pytest.mark.parametrize("motion", ONE_PIECE)
def test_displacement_is_exactly_how_far_the_law_took_each_point_of_the_object(motion) -> None:
    for seed in range(3):
        spec = Spec(motion, looks(seed))
        clip = render(seed, spec, size=64)
        law, _, radius = trajectory(seed, spec)
        (part,) = law.parts
        side = -1 if clip.labels["mirrored"] else 1
        assert radius == clip.labels["radius"]
        assert law.parameters == clip.labels["parameters"]
        for f in range(1, len(clip.frames)):
            place = (grid(64)[clip.mask[f]] + 0.5) / 64
            if side < 0:
                place[:, 0] = 1 - place[:, 0]
            material = np.linalg.solve(part.matrix[f], (place - part.centre[f]).T)
            came_from = (part.matrix[f - 1] @ material).T + part.centre[f - 1]
            assert clip.displacement[f][clip.mask[f]] == pytest.approx(64 * (place - came_from) * [side, 1], abs=1e-3)
            assert np.abs(clip.displacement[f][~clip.mask[f]]).max() < 1e-6


@pytest.mark.parametrize("motion", SHIFTING)
def test_what_only_shifts_is_displaced_by_as_much_as_its_centroid_moves(motion) -> None:
    for seed in range(3):
        spec = Spec(motion, LOOKS)
        clip = render(seed, spec)
        seen = within_picture(clip)
        centroid, both = centroids(clip), 1 + np.flatnonzero(seen[1:] & seen[:-1])
        assert len(both) >= 8
        assert centroid[seen] == pytest.approx(seen_centre(seed, spec, 128, clip.labels["mirrored"])[seen], abs=0.15)
        for f in both:
            displacement = clip.displacement[f][clip.mask[f]]
            assert np.ptp(displacement, axis=0).max() < 1e-3
            assert displacement.mean(axis=0) == pytest.approx(centroid[f] - centroid[f - 1], abs=0.2)


def test_a_fall_measured_in_the_pictures_has_the_laws_gravity() -> None:
    for seed in range(5):
        spec = Spec("fall", LOOKS)
        clip = render(seed, spec)
        law, t, _ = trajectory(seed, spec)
        seen = within_picture(clip)
        a, b, _ = np.polyfit(t[seen], centroids(clip)[seen, 1] / 128, 2)
        assert 2 * a == pytest.approx(law.parameters["gravity"], rel=0.03)
        assert b == pytest.approx(0, abs=0.02)


def test_what_is_compressed_stands_on_its_base_in_the_pictures() -> None:
    for seed, shape in enumerate(["disc", "cross"]):
        clip = render(seed, Spec("compress", replace(LOOKS, shape=shape)))
        rows = [np.flatnonzero(mask.any(axis=1)) for mask in clip.mask]
        bottoms, tops = np.array([(row[-1], row[0]) for row in rows]).T
        assert np.ptp(bottoms) <= 1
        assert np.all(np.diff(tops) >= 0)
        assert tops[-1] - tops[0] > 0.4 * (bottoms[0] - tops[0])


@EVERY_MOTION
@WITH_AND_WITHOUT_CAMERA
def test_frame_0_takes_the_displacement_of_frame_1(motion, camera) -> None:
    clip = render(1, Spec(motion, LOOKS, camera), size=32, frames=3)
    assert np.array_equal(clip.displacement[0], clip.displacement[1])


def test_nothing_moves_in_a_static_clip_without_a_camera() -> None:
    for seed in range(4):
        clip = render(seed, Spec("static", looks(seed)), size=64)
        assert np.abs(clip.displacement).max() < 1e-6
        assert np.all(clip.frames == clip.frames[0])
        assert np.all(clip.mask == clip.mask[0])
        assert clip.mask.any()


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_camera_moves_the_object_as_it_moves_the_background(camera) -> None:
    """A pan and a shake shift the whole picture; a zoom is a similarity about its centre."""
    for seed in range(4):
        clip = render(seed, Spec("static", looks(seed), camera), size=64)
        place = grid(64) - 31.5
        for displacement, mask in zip(clip.displacement, clip.mask, strict=True):
            if camera == "zoom":
                scale = (displacement * place).sum() / (place**2).sum()
                expected = scale * place
                assert abs(scale) > 0.01
            else:
                expected = np.broadcast_to(displacement[0, 0], displacement.shape)
            assert np.abs(displacement - expected).max() < 1e-4
            assert mask.any()
            assert not mask.all()
        if camera == "shake":
            assert np.abs(np.diff(clip.displacement[1:, 0, 0], axis=0)).max() > 0.3
        else:
            assert np.ptp(clip.displacement, axis=0).max() < 1e-4
        assert np.abs(clip.displacement).max() > 0.5


def test_an_explosion_starts_as_the_whole_object_but_for_seams_a_pixel_wide(monkeypatch) -> None:
    """Two sectors that each cover half a pixel leave a quarter of what is behind them to be seen."""
    explode = MOTIONS["explode"]

    def whole(t, radius, draw) -> Law:
        law = explode(t, radius, draw)
        return Law([replace(law.parts[0], sector=WHOLE)], law.parameters)

    for seed in range(4):
        look = looks(seed)
        in_pieces = render(seed, Spec("explode", look), frames=2)
        monkeypatch.setitem(MOTIONS, "explode", whole)
        in_one = render(seed, Spec("explode", look), frames=2)
        monkeypatch.undo()
        assert np.array_equal(in_pieces.frames[0][~grown(in_one.mask[0], 2)], in_one.frames[0][~grown(in_one.mask[0], 2)])
        difference = np.abs(in_pieces.frames[0].astype(int) - in_one.frames[0]).max(axis=-1)
        assert np.count_nonzero(in_pieces.mask[0] ^ in_one.mask[0]) <= 0.02 * np.count_nonzero(in_one.mask[0])
        object_, behind = np.array(COLOURS[look.colour]), np.array(BACKGROUNDS[look.background])
        assert difference.max() <= 0.25 * 1.4 * np.abs(object_ - behind).max() + 2
        assert np.count_nonzero(difference > 2) < 0.2 * np.count_nonzero(in_one.mask[0])
        assert not np.array_equal(in_pieces.frames[1], in_one.frames[1])


def test_about_half_the_clips_are_mirrored_and_move_the_other_way() -> None:
    mirrored = []
    for seed in range(100):
        clip = render(seed, Spec("roll", LOOKS), size=32, frames=3)
        x = clip.displacement[1][clip.mask[1]][:, 0].mean()
        assert (x < -0.5) if clip.labels["mirrored"] else (x > 0.5)
        place = centroids(clip)[:, 0]
        assert (place[0] > 16) == clip.labels["mirrored"]
        assert np.sign(place[-1] - place[0]) == np.sign(x)
        mirrored.append(clip.labels["mirrored"])
    assert 35 <= sum(mirrored) <= 65


@EVERY_MOTION
def test_what_a_clip_looks_like_changes_nothing_about_how_it_moves(motion) -> None:
    """Neither colours, textures, light nor noise; the shape and the size have the same centre."""
    for camera in (None, "shake"):
        spec = Spec(motion, LOOKS, camera)
        clip = render(5, spec, size=32, frames=5)
        other = replace(LOOKS, colour="red", texture="spotted", background="navy", light="dim")
        for changed in (replace(spec, looks=other), replace(spec, noise=3.0)):
            again = render(5, changed, size=32, frames=5)
            assert np.array_equal(again.displacement, clip.displacement)
            assert np.array_equal(again.mask, clip.mask)
            assert not np.array_equal(again.frames, clip.frames)
    forms = [replace(LOOKS, shape=shape, size=size) for shape in SHAPES for size in SIZES]
    first, *others = (trajectory(5, Spec(motion, look))[0] for look in forms)
    if motion not in ("explode", "compress", "reversed"):  # whose pieces' centres depend on the radius
        for law in others:
            assert np.array_equal(law.parts[0].centre, first.parts[0].centre)


@EVERY_MOTION
def test_sizes_are_of_their_kind_whatever_the_motion(motion) -> None:
    shares = [
        trajectory(seed, Spec(motion, replace(LOOKS, size=size)), frames=2)[2] / SIZES[size]
        for seed, size in itertools.product(range(60), SIZES)
    ]
    assert 0.94 <= min(shares) < 0.96
    assert 1.04 < max(shares) <= 1.06
    assert np.mean(shares) == pytest.approx(1, abs=0.02)


def test_looks_are_drawn_evenly_and_independently_of_a_motion_drawn_beside_them() -> None:
    """Counts of every look with every motion stay within five standard deviations of chance."""
    draws, names = 6000, list(MOTIONS)
    draw = stream(0, "looks and motions")
    rows = [(asdict(draw_looks(draw)), str(draw.choice(names))) for _ in range(draws)]
    for name, options in CHOICES.items():
        for option in options:
            chance = 1 / len(options)
            having = [motion for look, motion in rows if look[name] == option]
            assert abs(len(having) - draws * chance) < 5 * np.sqrt(draws * chance * (1 - chance))
            for motion in names:
                joint = chance / len(names)
                assert abs(having.count(motion) - draws * joint) < 5 * np.sqrt(draws * joint)


def test_drawing_looks_takes_a_stream_and_nothing_else() -> None:
    assert list(inspect.signature(draw_looks).parameters) == ["draw"]
    assert looks(3) == looks(3)
    assert len({looks(number) for number in range(50)}) > 45


def test_a_caption_without_the_motion_tells_the_looks_alone() -> None:
    motion_words = {word for phrase in [*PHRASES.values(), *CAMERA_PHRASES.values()] for word in phrase.split()}
    for options in itertools.product(*CHOICES.values()):
        look = Looks(*options)
        words = caption(Spec("static", look), names_motion=False).split()
        assert motion_words.isdisjoint({*words} - {"a"})
        assert {*options} <= {*words}
    for number in range(10):
        specs = [Spec(motion, looks(number), camera) for motion in MOTIONS for camera in (None, *CAMERAS)]
        assert len({caption(spec, names_motion=False) for spec in specs}) == 1


def test_a_caption_with_the_motion_says_it_and_the_looks_and_the_camera() -> None:
    look = looks(0)
    captions = set()
    for motion, camera in itertools.product(MOTIONS, (None, *CAMERAS)):
        text = caption(Spec(motion, look, camera), names_motion=True)
        assert f" {PHRASES[motion]} on a " in text
        assert text.endswith(CAMERA_PHRASES[camera]) if camera else "camera" not in text
        assert {*asdict(look).values()} <= {*text.replace(",", "").split()}
        captions.add(text)
    assert len(captions) == 4 * len(MOTIONS)


def test_labels_tell_what_is_true_of_the_clip() -> None:
    kinds = {}
    for motion, camera in itertools.product(MOTIONS, (None, "pan")):
        labels = render(0, Spec(motion, LOOKS, camera), size=16, frames=2).labels
        assert (labels["motion"], labels["camera"]) == (motion, camera or "")
        assert {name: labels[name] for name in asdict(LOOKS)} == asdict(LOOKS)
        kinds[motion, camera] = labels["kind"]
    for (motion, camera), kind in kinds.items():
        still = "camera" if camera else "static"
        assert kind == ("physical" if motion in PHYSICAL else "cartoon" if motion in CARTOON else still)


def test_noise_is_as_strong_as_asked() -> None:
    spec = Spec("static", replace(LOOKS, colour="green"))
    clean, noisy = (render(0, replace(spec, noise=level), size=64).frames.astype(float) for level in (0, 4))
    assert (noisy - clean).std() == pytest.approx(4, rel=0.03)
    assert (noisy - clean).mean() == pytest.approx(0, abs=0.05)
    assert not np.array_equal(noisy[0], noisy[1])


def test_what_would_be_brighter_than_white_or_darker_than_black_stays_white_or_black() -> None:
    spec = Spec("static", replace(LOOKS, colour="white", background="black"))
    clean, noisy = (render(1, replace(spec, noise=level), size=64).frames.astype(int) for level in (0, 16))
    assert noisy.min() == 0
    assert noisy.max() == 255
    assert np.abs(noisy - clean).max() < 6 * 16


def test_the_object_and_what_is_behind_it_have_the_colours_of_their_names() -> None:
    for colour, background in itertools.product(COLOURS, BACKGROUNDS):
        clip = render(0, Spec("static", replace(LOOKS, colour=colour, background=background)), size=32, frames=2)
        for where, expected in ((shrunk(clip.mask[0], 1), COLOURS[colour]), (~grown(clip.mask[0], 1), BACKGROUNDS[background])):
            seen = clip.frames[0][where].astype(float).mean(axis=0)
            assert seen / seen.sum() == pytest.approx(np.array(expected) / sum(expected), abs=0.02)


def test_a_camera_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no such camera: 'dolly'; there are pan, zoom, shake"):
        render(0, Spec("fall", LOOKS, "dolly"), size=16)


SPECS = st.builds(
    Spec,
    motion=st.sampled_from(list(MOTIONS)),
    looks=st.builds(Looks, **{name: st.sampled_from(list(options)) for name, options in CHOICES.items()}),
    camera=st.sampled_from([None, *CAMERAS]),
    noise=st.sampled_from([0.0, 2.0]),
)


@hypothesis_settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**63), SPECS, st.sampled_from([48, 63, 64]), st.integers(2, 17))
def test_any_seed_and_spec_render_to_a_sound_clip(seed, spec, size, frames) -> None:
    """What is played backwards may start outside the picture, where its motion forwards would have left it."""
    clip = render(seed, spec, size, frames)
    assert (clip.frames.shape, clip.frames.dtype) == ((frames, size, size, 3), np.uint8)
    assert (clip.displacement.shape, clip.displacement.dtype) == ((frames, size, size, 2), np.float32)
    assert (clip.mask.shape, clip.mask.dtype) == ((frames, size, size), np.bool_)
    assert np.isfinite(clip.displacement).all()
    assert all(part.flags["C_CONTIGUOUS"] for part in (clip.frames, clip.displacement, clip.mask))
    if spec.motion != "reversed":
        assert clip.mask[0].any()


def test_a_bounce_comes_to_rest_however_long_the_clip() -> None:
    looks = draw_looks(np.random.default_rng(0))
    for seed in range(4):
        law, _, _ = trajectory(seed, Spec("bounce", looks), frames=200)
        assert np.isfinite(law.parts[0].centre).all()
        assert np.ptp(law.parts[0].centre[-20:, 1]) < 1e-3, "it rests on the floor at the end"


def test_a_single_frame_can_be_rendered() -> None:
    clip = render(0, Spec("fall", draw_looks(np.random.default_rng(0))), 32, frames=1)
    assert clip.frames.shape == (1, 32, 32, 3)
    assert abs(clip.displacement).max() < 1e-4
