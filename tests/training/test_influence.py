"""Influence during training is that of the ordinary path, with the weights of the moment."""

import numpy as np
import pytest

from motive.attribution.features import clip_attributor
from motive.attribution.influence import query_targets
from motive.attribution.prepare import PreparedFolder, prepared_fingerprint
from motive.attribution.run_stores import open_store
from motive.attribution.scores import load_scores
from motive.errors import StoreError
from motive.files import read_jsonl
from motive.models.registry import load_model
from motive.training.arms import arm_clips, read_arms
from motive.training.finetune import train
from motive.training.influence import InfluenceLog


def stored(config) -> dict[str, np.ndarray]:
    scores = load_scores(config.out / "scores.parquet")
    return dict(zip(scores.clips["id"].to_pylist(), scores.influence, strict=True))


def test_before_the_first_step_it_is_what_is_in_the_scores(run) -> None:
    (folder,) = train(run("train.influence_every=2"), ["full"])
    lines = read_jsonl(folder / "influence.jsonl")
    assert [line["step"] for line in lines] == [0, 2]
    scores = load_scores(run().out / "scores.parquet")
    assert lines[0]["queries"] == [query["id"] for query in scores.queries]
    assert len(lines[0]["clips"]) == 3
    for clip, influence in lines[0]["clips"].items():
        assert influence == pytest.approx(stored(run())[clip], abs=1e-5)


def test_later_it_is_what_attribution_gives_with_the_weights_of_that_moment(run) -> None:
    (folder,) = train(run("train.rate=0.01"), ["motive"])
    config = run()
    model = load_model(str(folder / "model"), config.gradients.sigmas, "cpu")
    clips = arm_clips(config, read_arms(config, ["full"])[0])
    log = InfluenceLog(config, folder / "influence.jsonl", every=1)
    log(0, model.denoiser, [clip.id for clip in clips])
    (line,) = read_jsonl(folder / "influence.jsonl")
    base = load_model(config.model.path, config.gradients.sigmas, "cpu")
    inputs = PreparedFolder(config.out / "prepared", prepared_fingerprint(config, base))
    targets, _ = query_targets(open_store(config, "pool"), open_store(config, "queries"))
    attribute = clip_attributor(config, model, "pool")
    for clip in clips:
        (found,) = attribute([inputs.load(clip)])
        assert line["clips"][clip.id] == pytest.approx(targets @ found.feature.double().numpy(), abs=1e-6)
        assert np.abs(line["clips"][clip.id] - stored(config)[clip.id]).max() > 1e-3


def test_it_adds_up_over_the_run_and_training_is_the_same_without_it(run) -> None:
    (watched,) = train(run("train.influence_every=1", "train.steps=5", name="watched"), ["full"])
    (alone,) = train(run("train.steps=5", name="alone"), ["full"])
    sums: dict[str, np.ndarray] = {}
    for line in read_jsonl(watched / "influence.jsonl"):
        assert line["clips"].keys() == line["total"].keys()
        for clip, influence in line["clips"].items():
            sums[clip] = sums.get(clip, 0) + np.array(influence)
            assert line["total"][clip] == pytest.approx(sums[clip])
    losses = [[line["loss"] for line in read_jsonl(folder / "loss.jsonl")] for folder in (watched, alone)]
    assert losses[0] == losses[1]


def test_an_adapter_is_seen_as_the_weights_that_it_makes(run) -> None:
    lora = ("train.method=lora", "train.rank=4", "train.rate=0.01", "train.influence_every=3")
    (folder,) = train(run(*lora), ["full"])
    first, later = read_jsonl(folder / "influence.jsonl")
    for clip, influence in first["clips"].items():
        assert influence == pytest.approx(stored(run())[clip], abs=1e-5)
    assert any(influence != pytest.approx(stored(run())[clip], abs=1e-4) for clip, influence in later["clips"].items())


def test_other_settings_than_those_of_the_scores_are_refused(run, tmp_path) -> None:
    with pytest.raises(StoreError, match=r"(?s)attributed with other settings.*weighting"):
        InfluenceLog(run("gradients.weighting=uniform"), tmp_path / "influence.jsonl")
