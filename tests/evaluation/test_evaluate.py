"""`motive evaluate` on real files: three arms whose videos differ in a known way."""

import json
from pathlib import Path

import numpy as np
import pytest

from motive.cli import main
from motive.config import load_config
from motive.errors import ConfigError, StudyError
from motive.evaluation import measure as measuring
from motive.evaluation.evaluate import evaluate
from motive.evaluation.measure import split_arm
from motive.evaluation.metric import Metric, Video
from motive.evaluation.study.media import frames_of
from motive.video.write import write_video
from tests.conftest import moving_square

SPEEDS = {"base": 0.0, "motive@0": 3.0, "motive@1": 3.0, "random": 1.0}
PROMPTS = {f"p{n}": ("slide" if n < 3 else "spin") for n in range(6)}


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("run")
    lines = [{"id": id, "prompt": "<b>a square</b> | moves", "motion": motion} for id, motion in PROMPTS.items()]
    (out / "samples").mkdir()
    (out / "samples" / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for arm, speed in SPEEDS.items():
        for n, prompt in enumerate(PROMPTS):
            for seed in range(2):
                frames = moving_square(9, 32, 48, speed=speed * (1 + n / 10), seed=10 * n + seed)
                write_video(out / "samples" / arm / f"{prompt}-{seed}.mp4", frames, 16)
    return out


def configured(out: Path, *more: str):
    return load_config(None, [f"out={out}", "pool=.", "queries=.", "model.path=.", "model.device=cpu", *more])


@pytest.fixture(scope="module")
def result(samples) -> dict:
    return json.loads(evaluate(configured(samples)).read_text())


def test_arms_are_grouped_by_name_and_their_seeds_are_repetitions(result) -> None:
    assert list(result["arms"]) == ["base", "motive", "random"]
    assert result["arms"]["motive"]["seeds"] == [0, 1]
    row = result["arms"]["motive"]["metrics"]["mean_motion"]
    assert row["n"] == 24
    assert row["low"] < row["mean"] < row["high"]
    assert (row["unit"], row["better"]) == ("px/frame", "neither")
    assert result["version"] == 1


def test_means_are_those_of_the_samples(result) -> None:
    for name, arm in result["arms"].items():
        for metric, row in arm["metrics"].items():
            own = [sample[metric] for sample in result["samples"] if sample["name"] == name]
            assert row["mean"] == pytest.approx(np.mean(own))
        for motion, metrics in arm["motions"].items():
            own = [s["mean_motion"] for s in result["samples"] if s["name"] == name and PROMPTS[s["prompt"]] == motion]
            assert (metrics["mean_motion"]["mean"], metrics["mean_motion"]["n"]) == (pytest.approx(np.mean(own)), len(own))


def test_arms_are_compared_on_the_same_prompts_and_seeds(result) -> None:
    found = {(row["metric"], row["a"], row["b"]): row for row in result["comparisons"]}
    assert set(found) == {
        (metric, *pair)
        for metric in ("temporal_flickering", "dynamic_degree_dis", "mean_motion")
        for pair in (("motive", "base"), ("motive", "random"), ("base", "random"))
    }
    against = found["mean_motion", "motive", "base"]
    # Base has one model, which meets both trainings of motive; random has one training, of seed 0.
    assert (against["n"], found["mean_motion", "motive", "random"]["n"]) == (24, 12)
    means = {name: arm["metrics"]["mean_motion"]["mean"] for name, arm in result["arms"].items()}
    assert against["difference"] == pytest.approx(means["motive"] - means["base"])
    assert 0 < against["low"] < against["difference"] < against["high"]
    assert against["p"] == 2 / 2**6, "six prompts, all signs alike"


def test_every_sample_is_listed_with_its_file(result, samples) -> None:
    assert len(result["samples"]) == 48
    sample = next(s for s in result["samples"] if s["arm"] == "motive@1")
    assert (samples / sample["file"]).is_file()
    assert sample.keys() >= {"arm", "name", "seed", "prompt", "sample_seed", "file", "mean_motion", "temporal_flickering"}
    assert sample["seed"] == 1


def test_the_page_has_every_number_and_lets_no_text_out(result, samples) -> None:
    page = (samples / "metrics.md").read_text()
    assert "n 24" in page
    assert "## slide" in page
    assert "<" not in page.replace("&lt;", "")
    assert any("One training each of random" in note for note in result["notes"])


def test_numbers_are_kept_and_a_changed_video_is_measured_again(samples, tmp_path, monkeypatch) -> None:
    out = tmp_path / "run"
    for seed, arm in enumerate(("a", "b")):
        write_video(out / "samples" / arm / "p-0.mp4", moving_square(5, seed=seed), 16)
    (out / "samples" / "prompts.jsonl").write_text('{"id": "p", "prompt": "x"}\n')
    read = []
    monkeypatch.setattr(measuring, "frames_of", lambda file: read.append(file.parent.name) or frames_of(file))
    first = json.loads(evaluate(configured(out)).read_text())
    assert read == ["a", "b"]
    assert json.loads(evaluate(configured(out)).read_text()) == first
    assert read == ["a", "b"]
    write_video(out / "samples" / "b" / "p-0.mp4", moving_square(5, speed=1), 16)
    assert json.loads(evaluate(configured(out)).read_text()) != first
    assert read == ["a", "b", "b"]
    (out / "measured.json").write_text('{"x": 3')
    evaluate(configured(out))
    assert read == ["a", "b", "b", "a", "b"], "what is not readable is made again"


def length(video: Video) -> float:
    return float(len(video.frames))


def slides(video: Video) -> float | None:
    return None if video.motion != "slide" else 1.0


SEVERAL = (Metric("one", "s", "lower", length), Metric("slides", "share", "higher", slides))


def test_metrics_of_ones_own(samples) -> None:
    config = configured(samples, f"evaluate.metrics=['{__name__}:length','{__name__}:SEVERAL']")
    arm = json.loads(evaluate(config).read_text())["arms"]["base"]["metrics"]
    assert arm["length"]["mean"] == arm["one"]["mean"] == 9
    assert arm["slides"] == {
        "mean": 1,
        "low": pytest.approx(0.025 ** (1 / 3)),
        "high": 1,
        "n": 6,
        "unit": "share",
        "better": "higher",
    }


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ("[speed]", "unknown; there are temporal_flickering"),
        ("[subject_consistency]", "needs evaluate.dino"),
        ("[dynamic_degree]", "needs evaluate.raft"),
        ("['nowhere:x']", "cannot be imported"),
        ("['motive.evaluation.moving:RATE']", "is neither"),
        ("[mean_motion, mean_motion]", "comes twice"),
    ],
)
def test_metrics_that_cannot_be_made_are_told_before_anything_is_measured(samples, metrics, said) -> None:
    with pytest.raises(ConfigError, match=said):
        evaluate(configured(samples, f"evaluate.metrics={metrics}"))


@pytest.mark.parametrize(("file", "said"), [("nowhere.pth", "no such file"), (__file__, "torchvision")])
def test_vbenchs_dynamic_degree_needs_torchvision_and_a_checkpoint(samples, file, said) -> None:
    with pytest.raises(ConfigError, match=said):
        evaluate(configured(samples, "evaluate.metrics=[dynamic_degree]", f"evaluate.raft={file}"))


def test_a_video_that_cannot_be_read_is_told_and_left_out(samples, tmp_path) -> None:
    out = tmp_path / "run"
    write_video(out / "samples" / "a" / "p-0.mp4", moving_square(5), 16)
    (out / "samples" / "a" / "p-1.mp4").write_text("no video")
    (out / "samples" / "prompts.jsonl").write_text('{"id": "p", "prompt": "x"}\n')
    found = json.loads(evaluate(configured(out)).read_text())
    assert len(found["samples"]) == 1
    assert any("a/p-1.mp4" in note for note in found["notes"])
    row = found["arms"]["a"]["metrics"]["mean_motion"]
    assert (row["n"], row["low"], row["high"]) == (1, None, None)
    assert found["comparisons"] == []


def test_without_samples_there_is_a_message(tmp_path) -> None:
    with pytest.raises(StudyError, match="no such folder"):
        evaluate(configured(tmp_path))


@pytest.mark.parametrize(
    ("arm", "parts"),
    [("motive@12", ("motive", 12)), ("motive", ("motive", 5)), ("a@b", ("a@b", 5)), ("@3", ("@3", 5)), ("x@", ("x@", 5))],
)
def test_an_arm_is_a_name_and_a_seed(arm, parts) -> None:
    assert split_arm(arm, 5) == parts


def test_the_command_prints_the_table_and_where_it_is(samples, capsys, monkeypatch) -> None:
    (samples / "motive.yaml").write_text("pool: .\nqueries: .\nout: .\nmodel: {path: ., device: cpu}\n")
    monkeypatch.setattr("sys.argv", ["motive", "evaluate", str(samples)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert str(samples / "metrics.json") in told
    assert "mean\\_motion" in told
