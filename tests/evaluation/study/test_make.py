from dataclasses import replace

import numpy as np
import pytest

from motive.errors import StudyError
from motive.evaluation.study.make import Design, make_study
from motive.evaluation.study.media import frames_of, moves, shape
from motive.evaluation.study.samples import read_samples
from motive.evaluation.study.study import TIE, Alteration, load_study, save_study
from motive.files import sha256_file
from motive.video.write import write_video
from tests.conftest import moving_square
from tests.evaluation.study.conftest import ARMS, HOSTILE

DESIGN = Design(checks=3, kinds=tuple(Alteration), seed=3)


@pytest.fixture(scope="module")
def whole(samples, tmp_path_factory):
    """A study of all arms with all, and its folder."""
    folder = tmp_path_factory.mktemp("whole") / "study"
    return make_study(read_samples(samples), folder, DESIGN), folder


def test_every_two_arms_are_compared_on_the_samples_both_have(whole) -> None:
    study, _ = whole
    base, random, tuned = sorted(ARMS, key=["okapi-base", "lemur-random", "zebra-tuned"].index)
    assert set(study.comparisons) == {(random, base), (random, tuned), (base, tuned)}
    samples = {
        arms: {(p.prompt, p.seed) for p in study.pairs if tuple(v.arm for v in p.videos) == arms} for arms in study.comparisons
    }
    every = {(prompt, seed) for prompt in HOSTILE for seed in range(2)}
    assert samples[base, tuned] == every - {("markup", 1)}
    assert samples[random, tuned] == every - {("plain", 1)}
    assert samples[random, base] == every - {("markup", 1), ("plain", 1)}


def test_what_was_left_out_is_noted(whole) -> None:
    study, _ = whole
    notes = "\n".join(study.notes)
    assert "okapi-base/markup-1.mp4: not readable as video" in notes
    assert "okapi-base/notes-x.mp4" in notes
    assert "okapi-base/unknown-3.mp4" in notes


def test_a_reference_is_compared_with_all_others_and_comes_first(samples, tmp_path) -> None:
    study = make_study(read_samples(samples), tmp_path / "s", replace(DESIGN, reference=ARMS[0], checks=0))
    assert study.comparisons == ((ARMS[0], ARMS[2]), (ARMS[0], ARMS[1]))
    assert study.arms[0] == ARMS[0]


def test_few_pairs_take_every_prompt_before_a_second_seed(samples, tmp_path) -> None:
    for most in (2, 3, 4):
        study = make_study(
            read_samples(samples), tmp_path / str(most), replace(DESIGN, reference=ARMS[0], pairs=most, checks=0)
        )
        for arms in study.comparisons:
            prompts = [p.prompt for p in study.pairs if tuple(v.arm for v in p.videos) == arms]
            assert len(prompts) == most
            assert len(set(prompts)) == min(most, 3)


def test_the_same_seed_makes_the_same_study_and_another_another(samples, whole, tmp_path) -> None:
    study, folder = whole
    again = make_study(read_samples(samples), tmp_path / "again", DESIGN)
    assert again == study
    assert (tmp_path / "again" / "key.json").read_bytes() == (folder / "key.json").read_bytes()
    other = make_study(read_samples(samples), tmp_path / "other", replace(DESIGN, seed=4))
    assert not {v.id for p in other.pairs for v in p.videos} & {v.id for p in study.pairs for v in p.videos}


def test_a_seed_is_drawn_unless_given(samples, tmp_path) -> None:
    design = replace(DESIGN, seed=None, pairs=1, checks=0)
    first, second = (make_study(read_samples(samples), tmp_path / name, design) for name in "ab")
    assert first.seed != second.seed
    assert load_study(tmp_path / "a") == first


def test_a_check_shows_a_sample_beside_its_altered_self_encoded_alike(whole) -> None:
    study, folder = whole
    assert [check.check for check in study.checks] == list(Alteration)
    for check in study.checks:
        (original, rate), (altered, _) = (frames_of(folder / "media" / video.file) for video in check.videos)
        still = np.abs(altered.astype(int) - altered[0]).max()
        reverse = np.abs(altered[::-1].astype(int) - original).mean()
        assert rate == 16
        if check.check is Alteration.FROZEN:
            assert still < 12  # coding noise
            assert moves(folder / "media" / check.videos[0].file)
            assert check.right == check.videos[0].id
        if check.check is Alteration.REVERSED:
            assert reverse < 2 < np.abs(altered.astype(int) - original).mean()
            assert check.right == check.videos[0].id
        if check.check is Alteration.IDENTICAL:
            assert sha256_file(folder / "media" / check.videos[0].file) == sha256_file(folder / "media" / check.videos[1].file)
            assert check.right == TIE


def test_videos_keep_their_pictures_rate_and_length(whole, samples) -> None:
    study, folder = whole
    pair = next(p for p in study.pairs if (p.prompt, p.seed) == ("plain", 0))
    for video in pair.videos:
        source, encoded = samples / video.arm / "plain-0.mp4", folder / "media" / video.file
        assert shape(source) == shape(encoded)
        assert str(shape(encoded)) == "9 frames of 64 x 48 at 16 fps"
        other = samples / video.arm / "plain-1.mp4" if video.arm != ARMS[2] else samples / video.arm / "markup-0.mp4"
        difference, unlike = (np.abs(frames_of(s)[0].astype(int) - frames_of(encoded)[0]).mean() for s in (source, other))
        assert difference < 4 < 10 < unlike


def test_nothing_in_the_videos_or_their_names_tells_the_arm(whole) -> None:
    _, folder = whole
    for file in (folder / "media").iterdir():
        for arm in ARMS:
            assert arm.encode() not in file.read_bytes()
            assert arm not in file.name


def test_a_video_id_stands_in_one_pair_alone(whole) -> None:
    study, _ = whole
    ids = [video.id for pair in study.by_id.values() for video in pair.videos]
    assert len(set(ids)) == len(ids)


def test_stopped_and_run_again_nothing_is_encoded_twice(samples, whole, tmp_path, monkeypatch) -> None:
    study, _ = whole
    encoded = []

    def failing(path, frames, fps):
        if len(encoded) == 5:
            raise KeyboardInterrupt
        encoded.append(path.name)
        write_video(path, frames, fps)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("motive.evaluation.study.media.write_video", failing)
        make_study(read_samples(samples), tmp_path / "s", DESIGN)
    assert not (tmp_path / "s" / "key.json").exists()
    again = []
    monkeypatch.setattr(
        "motive.evaluation.study.media.write_video", lambda path, *rest: (again.append(path.name), write_video(path, *rest))
    )
    assert make_study(read_samples(samples), tmp_path / "s", DESIGN) == study
    assert len(encoded) == 5
    assert not set(encoded) & set(again)


def test_a_study_is_never_made_over_another(samples, whole) -> None:
    _, folder = whole
    before = (folder / "key.json").read_bytes()
    with pytest.raises(StudyError, match="holds a study already"):
        make_study(read_samples(samples), folder, replace(DESIGN, seed=9))
    assert (folder / "key.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reference": "\x1b[2Jnone"}, "no arm ' [2Jnone'; there are"),
        ({"question": " "}, "the question has 1 characters"),
        ({"question": "q" * 501}, "the question has 501 characters"),
        ({"checks": 40}, "too few samples"),
        ({"kinds": ()}, "need at least one kind"),
    ],
)
def test_a_design_that_does_not_fit_is_refused(samples, tmp_path, change, said) -> None:
    with pytest.raises(StudyError) as told:
        make_study(read_samples(samples), tmp_path / "s", replace(DESIGN, **change))
    assert said in str(told.value)
    assert not (tmp_path / "s" / "key.json").exists()


def still_samples(folder, shapes):
    (folder / "prompts.jsonl").parent.mkdir()
    (folder / "prompts.jsonl").write_text('{"id": "p", "prompt": "p"}\n')
    for arm, (frames, height, width) in shapes.items():
        write_video(folder / arm / "p-0.mp4", moving_square(frames, height, width, speed=0), 16)
    return read_samples(folder)


def test_stills_give_no_frozen_check_but_identical_ones(tmp_path) -> None:
    stills = still_samples(tmp_path / "samples", {"x": (9, 48, 64), "y": (9, 48, 64)})
    with pytest.raises(StudyError, match="too few samples visibly move"):
        make_study(stills, tmp_path / "a", Design(checks=1))
    made = make_study(stills, tmp_path / "b", Design(checks=1, kinds=(Alteration.IDENTICAL,)))
    assert len(made.checks) == 1


def test_a_shape_that_tells_arms_apart_is_noted(tmp_path) -> None:
    differing = still_samples(tmp_path / "samples", {"x": (9, 48, 64), "y": (13, 48, 66)})
    made = make_study(differing, tmp_path / "a", Design(checks=0))
    assert made.notes == (
        "raters could tell arms by their videos' shape: x: 9 frames of 64 x 48 at 16 fps; y: 13 frames of 66 x 48 at 16 fps",
    )


def test_samples_in_common_with_none_are_told(tmp_path) -> None:
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "prompts.jsonl").write_text('{"id": "p", "prompt": "p"}\n')
    for arm, seed in (("x", 0), ("y", 1)):
        write_video(tmp_path / "samples" / arm / f"p-{seed}.mp4", moving_square(5), 16)
    with pytest.raises(StudyError, match="no two arms have a usable video of the same prompt and seed"):
        make_study(read_samples(tmp_path / "samples"), tmp_path / "a", Design())


def test_a_key_from_elsewhere_cannot_name_other_files(whole, tmp_path) -> None:
    study, _ = whole
    first = study.pairs[0]
    hostile = replace(first, videos=(replace(first.videos[0], file="../../secret.mp4"), first.videos[1]))
    save_study(replace(study, pairs=(hostile, *study.pairs[1:])), tmp_path)
    with pytest.raises(StudyError, match="not a study's key"):
        load_study(tmp_path)


def test_a_key_of_another_version_and_a_missing_one_are_told(whole, tmp_path) -> None:
    study, _ = whole
    with pytest.raises(StudyError, match="holds no study"):
        load_study(tmp_path)
    save_study(replace(study, version=99), tmp_path)
    with pytest.raises(StudyError, match="of version 99"):
        load_study(tmp_path)
