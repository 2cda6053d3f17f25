"""`motive run` with `cascade`: a cheap score for all clips, full fidelity for the best of them."""

import json

import numpy as np
import pyarrow as pa
import pytest

from motive.attribution.cascade import Shortlist, load_shortlist, save_shortlist, shortlist
from motive.attribution.making import Maker
from motive.attribution.scores import Facts, Scores, load_scores, scores_of
from motive.config import dump_config, load_config, stage_config
from motive.errors import ConfigError, StoreError
from motive.files import read_jsonl
from motive.verbs import index, run, score, select, show
from tests.conftest import settings

CHEAP = "cascade=[{share: 0.67, video: {frames: 5, height: 32, width: 32}, gradients: {dim: 64}}]"


def of(influence: list[list[float]]) -> Scores:
    clips = pa.table({"id": [f"clip{n}" for n in range(len(influence))]})
    return scores_of(np.array(influence), clips, Facts([{"id": str(q)} for q in range(len(influence[0]))], None, True))


def test_every_query_counts_alike_in_a_shortlist() -> None:
    """The second query's scores are a thousand times the first's, which would outvote it in a plain mean."""
    scores = of([[3.0, 0.0], [2.0, 1000.0], [1.0, 2000.0], [0.0, 2900.0]])
    assert shortlist(scores, 4, 0.5) == Shortlist(4, ("clip2", "clip1"))
    assert shortlist(of([[1.0], [3.0], [2.0]]), 3, 0.7).ids == ("clip1", "clip2")
    assert shortlist(of([[1.0, 5.0], [3.0, 5.0]]), 2, 0.5).ids == ("clip1",)


def test_equal_scores_are_ordered_by_id() -> None:
    assert shortlist(of([[1.0]] * 5), 5, 0.4).ids == ("clip0", "clip1")


def test_a_share_is_of_the_whole_pool_failed_clips_included() -> None:
    assert len(shortlist(of([[float(n)] for n in range(10)]), 40, 0.2).ids) == 8
    assert len(shortlist(of([[1.0], [2.0]]), 40, 0.2).ids) == 2


def test_a_shortlist_is_read_back_as_it_was(tmp_path) -> None:
    chosen = Shortlist(40, ("b", "a"))
    save_shortlist(chosen, tmp_path / "shortlist.json")
    assert load_shortlist(tmp_path / "shortlist.json") == chosen
    with pytest.raises(StoreError, match="motive index"):
        load_shortlist(tmp_path / "none.json")


def test_a_cascade_scores_the_best_of_its_coarse_stage_as_a_plain_run_does(
    pool_folder, query_folder, tiny_wan, tmp_path
) -> None:
    whole = load_config(None, settings(pool_folder, query_folder, tiny_wan, tmp_path / "whole"))
    fine = load_config(None, settings(pool_folder, query_folder, tiny_wan, tmp_path / "fine", CHEAP))
    run(whole)
    done = run(fine)
    assert (done.pool, done.queries) == (4, 2)
    coarse = load_scores(fine.out / "coarse-1" / "scores.parquet")
    chosen = load_shortlist(fine.out / "shortlist.json")
    assert chosen == shortlist(coarse, 6, 0.67)
    assert len(coarse.influence) == 6
    full, part = load_scores(whole.out / "scores.parquet"), load_scores(fine.out / "scores.parquet")
    places = [full.clips["id"].to_pylist().index(name) for name in part.clips["id"].to_pylist()]
    assert sorted(part.clips["id"].to_pylist()) == sorted(chosen.ids)
    assert np.array_equal(part.influence, full.influence[places])
    # keep is a share of the whole pool: 0.34 of 6.
    assert len(read_jsonl(fine.out / "selection.jsonl")) == len(read_jsonl(whole.out / "selection.jsonl")) == 2
    assert read_jsonl(fine.out / "harmful.jsonl") == read_jsonl(fine.out / "coarse-1" / "harmful.jsonl")
    told = show(fine)
    assert told.text.startswith("4 of 6 clips reached full fidelity.")
    assert [entry["id"] for entry in told.kept] == [entry["id"] for entry in read_jsonl(fine.out / "selection.jsonl")]


def test_a_cascade_goes_on_where_it_stopped_and_ends_the_same(
    pool_folder, query_folder, tiny_wan, tmp_path, monkeypatch
) -> None:
    whole, broken = (
        load_config(None, settings(pool_folder, query_folder, tiny_wan, tmp_path / name, CHEAP)) for name in ("a", "b")
    )
    run(whole)
    plain, calls = Maker.do, []

    def do_twice(self, task) -> None:
        calls.append(task)
        if len(calls) > 4:  # after captions and two stores of the first stage, and one store of the last
            raise KeyboardInterrupt
        plain(self, task)

    with monkeypatch.context() as patch:
        patch.setattr(Maker, "do", do_twice)
        with pytest.raises(KeyboardInterrupt):
            run(broken)
    assert (broken.out / "shortlist.json").exists()
    index(broken)
    score(broken)
    select(broken)
    for name in ("selection.jsonl", "harmful.jsonl", "shortlist.json", "per_query.json"):
        assert (whole.out / name).read_bytes() == (broken.out / name).read_bytes(), name


def test_stages_that_differ_in_gradients_alone_decode_every_clip_once(
    pool_folder, query_folder, tiny_wan, tmp_path, monkeypatch
) -> None:
    from motive.attribution import ahead

    decoded, in_order = [], ahead.in_order

    def counting(workers, clips):
        clips = list(clips)
        decoded.extend(clip.name for clip in clips)
        return in_order(workers, clips)

    monkeypatch.setattr(ahead, "in_order", counting)
    stages = 'cascade=[{share: 0.8, gradients: {parameters: ["last:1 blocks"]}}, {share: 0.5, gradients: {dim: 64}}]'
    config = load_config(None, settings(pool_folder, query_folder, tiny_wan, tmp_path / "run", stages))
    done = index(config)
    assert sorted(decoded) == sorted({*decoded})
    assert len(decoded) == 8
    assert done.pool == 3
    assert len(load_scores(config.out / "coarse-2" / "scores.parquet").influence) == 5


def test_a_clip_that_fails_in_a_coarse_stage_is_told_once_and_by_name(pool_folder, query_folder, tiny_wan, tmp_path) -> None:
    (pool_folder / "broken.mp4").write_bytes(b"no video")
    try:
        config = load_config(None, settings(pool_folder, query_folder, tiny_wan, tmp_path / "run", CHEAP))
        done = run(config)
        told = show(config).not_scored
    finally:
        (pool_folder / "broken.mp4").unlink()
    assert len(done.failed) == 1
    assert told == done.failed
    assert done.failed[0].startswith("broken.mp4: ")


@pytest.mark.parametrize(
    ("stages", "says"),
    [
        ("[{share: 0.2}]", "stay above selection.keep 0.34"),
        ("[{share: 0.5}, {share: 0.6}]", "fall from stage to stage"),
        ("[{share: 0.5, video: {frame: 5}}]", "stage 1 of cascade.*did you mean frames"),
        ("[{share: 0.5, gradients: {dim: 0}}]", "stage 1 of cascade.*gradients.dim"),
        ("[{gradients: {dim: 9}}]", r"cascade.0.share: missing"),
        ("[{share: 0.5, model: {path: x}}]", "cascade.0.model: no such setting"),
    ],
)
def test_a_cascade_that_cannot_be_is_refused_in_words(tmp_path, stages, says) -> None:
    with pytest.raises(ConfigError, match=f"(?s){says}"):
        load_config(None, settings(tmp_path, tmp_path, tmp_path, tmp_path, f"cascade={stages}"))


def test_a_stage_is_a_run_of_its_own_that_can_be_written_down(tmp_path) -> None:
    config = load_config(None, settings(tmp_path, tmp_path, tmp_path, tmp_path / "run", CHEAP))
    coarse = stage_config(config, 1)
    assert (coarse.out, coarse.video.frames, coarse.gradients.dim) == (tmp_path / "run" / "coarse-1", 5, 64)
    assert coarse.video.fps == config.video.fps
    assert coarse.cascade == ()
    (tmp_path / "again.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "again.yaml") == config
    assert json.loads(config.model_dump_json())["cascade"][0]["share"] == 0.67
