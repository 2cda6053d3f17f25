"""The judge of motion and the fits of its laws, on clips whose truth is known."""

import json

import numpy as np
import pytest

from motive.config import load_config
from motive.errors import ConfigError
from motive.evaluation.evaluate import evaluate
from motive.lab import world
from motive.lab.correct import NAMES, features, judge, load_judge, save_judge
from motive.lab.fit_judge import captions, fit_judge, rendered
from motive.lab.laws import LAWS, fit_law, lawful
from motive.lab.motions import PHYSICAL
from motive.lab.repaint import Painter
from motive.lab.traces import traces
from motive.seeds import stream
from motive.video.write import write_video

SEED = 77
"""Of clips that the judge was not fitted on."""
EACH = 5


@pytest.fixture(scope="module")
def clips() -> dict[str, list[np.ndarray]]:
    return {name: [rendered(kind, SEED, n) for n in range(EACH)] for kind, name in enumerate(NAMES)}


def test_the_judge_is_right_about_unseen_clips(clips) -> None:
    wanted = [name for name in PHYSICAL for _ in range(EACH)]
    judged = judge([video for name in PHYSICAL for video in clips[name]], wanted)
    assert judged.right.mean() >= 0.95
    assert judged.chance[judged.right].mean() > 0.8
    wrong = [name for name in NAMES if name not in PHYSICAL]
    others = judge([video for name in wrong for video in clips[name]], [name for name in wrong for _ in range(EACH)])
    assert others.right.mean() >= 0.9
    physical = [seen in PHYSICAL for seen in others.seen]
    assert np.mean(physical) < 0.1, "a cartoon, a still and a camera pass for no physical motion"


def test_the_judge_is_right_about_what_the_model_shows_of_them(clips) -> None:
    """Through the VAE, and painted again from noise."""
    painter = Painter()
    own = [clips[name][0] for name in PHYSICAL]
    assert judge(painter.decoded(own), list(PHYSICAL)).right.mean() >= 0.9
    some = slice(0, len(PHYSICAL), 2)
    painted = painter.repainted(own[some], captions(SEED, 0)[some], SEED, 0)
    assert all(clip.shape == own[0].shape and clip.dtype == np.uint8 for clip in painted)
    assert judge(painted, list(PHYSICAL)[some]).right.mean() >= 0.6


def test_looks_and_side_do_not_matter(clips) -> None:
    """Half as bright, mirrored, at twice the size: the same motion."""
    for change in (lambda v: v // 2 + 30, lambda v: v[:, :, ::-1], lambda v: v.repeat(2, axis=1).repeat(2, axis=2)):
        videos = [change(clips[name][0]) for name in PHYSICAL]
        assert judge(videos, list(PHYSICAL)).right.mean() >= 0.9


def test_backwards_is_another_motion(clips) -> None:
    turned = ("fall", "slide", "bounce", "explode")
    judged = judge([video[::-1] for name in turned for video in clips[name]], [name for name in turned for _ in range(EACH)])
    assert judged.right.mean() < 0.1


def test_a_mirrored_clip_has_the_same_features(clips) -> None:
    for name in ("roll", "swing"):
        video = clips[name][0]
        same, other = features(traces(video, 16)), features(traces(video[:, :, ::-1], 16))
        assert np.abs(same - other).max() < 0.35 * np.abs(same).max()


def test_a_fit_repeats_and_is_kept(tmp_path) -> None:
    made = fit_judge(1, range(0), range(0))
    again = fit_judge(1, range(0), range(0))
    assert np.array_equal(made.mean, again.mean)
    assert np.allclose(made.weights, again.weights)
    save_judge(made, tmp_path / "judge.safetensors")
    assert np.allclose(load_judge(tmp_path / "judge.safetensors").weights, made.weights, rtol=1e-6)


def test_a_motion_that_the_lab_does_not_know_is_told() -> None:
    with pytest.raises(ConfigError, match="no motion dance; there are compress"):
        judge([np.zeros((3, 16, 16, 3), np.uint8)], ["dance"])


def shown(motion: str, number: int) -> tuple[np.ndarray, float]:
    """A clip, and the parameter of its law as the clip shows it."""
    draw = stream(SEED, "law", motion, number)
    seed, spec = int(draw.integers(1 << 40)), world.Spec(motion, world.draw_looks(draw))
    law, time, _ = world.trajectory(seed, spec)
    speed = (time[1] - time[0]) * world.FPS
    known = law.parameters
    if motion == "swing":
        wide = known["amplitude"] ** 2
        period = 2 * np.pi * np.sqrt(known["length"] / known["gravity"]) * (1 + wide / 16 + 11 * wide**2 / 3072)
        return world.render(seed, spec).frames, period / speed
    return world.render(seed, spec).frames, known["gravity"] * speed**2


@pytest.mark.parametrize("motion", LAWS)
def test_a_laws_parameter_is_found_within_its_error(motion) -> None:
    found = []
    for number in range(8):
        video, truth = shown(motion, number)
        fitted = fit_law(motion, traces(video, world.FPS))
        assert lawful(motion, fitted)
        assert fitted.explained > 0.9
        found.append(((fitted.value - truth) / truth, (fitted.value - truth) / fitted.error))
    relative, errors = np.array(found).T
    assert abs(np.median(relative)) < 0.06
    assert (np.abs(errors) < 2.5).mean() >= 0.75


@pytest.mark.parametrize(("cartoon", "motion"), [("hovering-fall", "fall"), ("constant-bounce", "bounce"), ("static", "fall")])
def test_a_cartoon_does_not_keep_the_law(clips, cartoon, motion) -> None:
    assert not any(lawful(motion, fit_law(motion, traces(video, world.FPS))) for video in clips[cartoon])


def test_all_of_it_as_metrics_of_generated_videos(clips, tmp_path) -> None:
    """One arm shows the wanted motions, the other one does not."""
    wanted = ("fall", "swing", "roll")
    lines = [{"id": name, "prompt": f"a disc that shall {name}", "motion": name} for name in wanted]
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for arm, instead in (("motive", {}), ("base", {"fall": "hovering-fall", "swing": "static", "roll": "slide"})):
        for name in wanted:
            for seed in range(2):
                write_video(tmp_path / "samples" / arm / f"{name}-{seed}.mp4", clips[instead.get(name, name)][seed], world.FPS)
    settings = [f"out={tmp_path}", "pool=.", "queries=.", "model.path=.", "model.device=cpu"]
    found = json.loads(
        evaluate(load_config(None, [*settings, "evaluate.metrics=['motive.lab.correct_metrics:METRICS']"])).read_text()
    )
    good, bad = (found["arms"][arm]["metrics"] for arm in ("motive", "base"))
    assert (good["correct_motion"]["mean"], bad["correct_motion"]["mean"]) == (1, 0)
    assert (good["lawful_motion"]["mean"], good["lawful_motion"]["n"], bad["lawful_motion"]["mean"]) == (1, 4, 0)
    assert good["fall_acceleration"]["n"] == 2
    assert 0.8 < good["fall_acceleration"]["mean"] < 2
    assert 0.9 < good["swing_period"]["mean"] < 1.6
    assert found["arms"]["motive"]["motions"]["roll"].keys() == {"correct_motion"}
