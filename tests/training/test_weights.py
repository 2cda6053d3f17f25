"""What clips count by influence."""

import pyarrow.parquet as pq
import pytest

from motive.errors import StoreError
from motive.files import read_jsonl
from motive.training.arms import arm_clips, read_arms
from motive.training.finetune import train
from motive.training.weights import clip_weights


def by_rank(out) -> list[str]:
    table = pq.read_table(out / "ranking.parquet", columns=["id", "rank"])
    return table.sort_by("rank")["id"].to_pylist()


def ids(config, arm: str) -> list[str]:
    return [clip.id for clip in arm_clips(config, read_arms(config, [arm])[0])]


def test_without_weights_all_count_alike(run) -> None:
    assert set(clip_weights(run(), ids(run(), "full")).values()) == {1.0}


def test_a_clip_counts_by_its_rank_and_harmful_ones_are_left_out(run) -> None:
    config = run("train.weights=influence")
    ranked, harmful = by_rank(config.out), {entry["id"] for entry in read_jsonl(config.out / "harmful.jsonl")}
    weights = clip_weights(config, ids(config, "full"))
    kept = [clip for clip in ranked if clip not in harmful]
    assert weights.keys() == set(kept)
    assert sum(weights.values()) / len(weights) == pytest.approx(1)
    assert [weights[clip] / weights[ranked[0]] for clip in kept] == pytest.approx([1 - n / 6 for n in range(len(kept))])


def test_harmful_clips_can_count_less_instead(run) -> None:
    half, one = (clip_weights(run("train.weights=influence", f"train.harmful={h}"), by_rank(run().out)) for h in (0.5, 1))
    worst, best = by_rank(run().out)[-1], by_rank(run().out)[0]
    assert half[worst] / half[best] == pytest.approx(0.5 * one[worst] / one[best])


def test_weights_change_what_is_learnt_and_what_is_left_out_is_never_seen(run) -> None:
    settings = ("train.weights=influence", "train.influence_every=1", "train.steps=6")
    (folder,) = train(run(*settings, name="weighted"), ["full"])
    (plain,) = train(run("train.steps=6", name="plain"), ["full"])
    seen = {clip for line in read_jsonl(folder / "influence.jsonl") for clip in line["clips"]}
    assert seen == clip_weights(run(*settings), by_rank(run().out)).keys()
    assert [line["loss"] for line in read_jsonl(folder / "loss.jsonl")] != [
        line["loss"] for line in read_jsonl(plain / "loss.jsonl")
    ]


def test_an_arm_of_harmful_clips_alone_is_refused(run) -> None:
    with pytest.raises(StoreError, match="leaves out all clips"):
        train(run("train.weights=influence"), ["bottom"])
