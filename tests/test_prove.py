"""From pool to proof in one call: every arm gets the same steps, seeds and evaluation."""

import json
import shutil
from pathlib import Path

import pytest

from motive import verbs
from motive.baselines.make import make_baseline
from motive.config import load_config
from motive.errors import MotiveError, StoreError
from motive.files import read_jsonl
from motive.proving import prove
from tests.conftest import settings

ARMS = ("base", "full", "random", "magnitude", "motive", "bottom", "motive@1")


@pytest.fixture(scope="module")
def proved(pool_folder, query_folder, tiny_wan, tmp_path_factory):
    out = tmp_path_factory.mktemp("prove") / "run"
    more = [
        f"arms={json.dumps(ARMS)}",
        "selection.keep=0.34",
        "train.steps=3",
        "train.batch=2",
        "train.log=none",
        "generate.steps=2",
        "generate.seeds=2",
        "evaluate.resamples=200",
        'export.videos="link"',
    ]
    config = load_config(None, settings(pool_folder, query_folder, tiny_wan, out, *more))
    with pytest.raises(StoreError, match="motive run"):
        prove(config)
    verbs.run(config)
    return config, prove(config)


def read(file: Path):
    return json.loads(file.read_text(encoding="utf-8"))


def test_arms_differ_in_their_clips_and_seeds_alone(proved) -> None:
    config, _ = proved
    about = {arm: read(config.out / "arms" / arm / "arm.json") for arm in ARMS if arm != "base"}
    assert {one["steps"] for one in about.values()} == {3}
    same = [{key: value for key, value in one["settings"].items() if key not in ("clips", "seed")} for one in about.values()]
    assert same == [same[0]] * len(same)
    assert {arm: one["seed"] for arm, one in about.items() if one["seed"] != config.seed} == {"motive@1": 1}
    assert {arm: one["clips"] for arm, one in about.items()} == dict.fromkeys(about, 2) | {"full": 6}
    steps = {arm: [line["step"] for line in read_jsonl(config.out / "arms" / arm / "loss.jsonl")] for arm in about}
    assert len(set(map(tuple, steps.values()))) == 1


def test_all_arms_generate_the_same_prompts_from_the_same_noise(proved) -> None:
    config, _ = proved
    videos = {arm: sorted(file.name for file in (config.out / "samples" / arm).glob("*.mp4")) for arm in ARMS}
    assert len(set(map(tuple, videos.values()))) == 1
    for name in videos["base"]:
        beside = [read(config.out / "samples" / arm / f"{Path(name).stem}.json") for arm in ARMS]
        same = [{key: value for key, value in one.items() if key not in ("arm", "model", "weights")} for one in beside]
        assert same == [same[0]] * len(ARMS)


def test_all_arms_are_measured_alike_and_reported(proved) -> None:
    config, page = proved
    metrics = read(config.out / "metrics.json")
    assert set(metrics["arms"]) == {arm.partition("@")[0] for arm in ARMS}
    counts = {name: {metric: found["n"] for metric, found in arm["metrics"].items()} for name, arm in metrics["arms"].items()}
    motive = counts.pop("motive")
    assert len({json.dumps(found, sort_keys=True) for found in counts.values()}) == 1
    assert motive == {metric: 2 * n for metric, n in counts["base"].items()}
    assert page == config.out / "report" / "index.html"
    assert page.exists()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("generate.frames=6", "frames"),
        ('evaluate.metrics=["nonesuch"]', "nonesuch"),
        ('arms=["random", "nonesuch"]', "nonesuch"),
        ("generate.prompts=/nowhere.csv", "nowhere"),
        ("cascade=[{share: 0.9, gradients: {dim: 64}}]", "cascade"),
    ],
)
def test_what_a_later_stage_cannot_do_is_told_before_the_first(proved, wrong, told) -> None:
    config, _ = proved
    arms = sorted((config.out / "arms").iterdir())
    shutil.rmtree(config.out / "baselines" / "magnitude")
    with pytest.raises(MotiveError, match=told):
        prove(load_config(config.out, [wrong]))
    assert not (config.out / "baselines" / "magnitude").exists()
    assert sorted((config.out / "arms").iterdir()) == arms
    make_baseline(config, "magnitude")


def test_what_is_proved_is_not_proved_again(proved) -> None:
    config, _ = proved
    kept = [path for part in ("arms", "samples", "baselines") for path in (config.out / part).rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in kept if path.name != "prompts.jsonl"}
    prove(config)
    assert {path: path.stat().st_mtime_ns for path in before} == before
