import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from motive.attribution.scores import DESCRIBING, Facts, Scores, load_scores, scores_of, write_scores
from motive.attribution.selection import UNTRAINED, select
from motive.attribution.selection_files import describe, save_selection
from motive.files import read_jsonl
from tests.reference import method


def scored(influence: np.ndarray, error_bar: float = 0.01, trained: bool = True, caption: str = "a caption") -> Scores:
    def row(name: str) -> dict[str, object]:
        numbers = dict.fromkeys(
            ("motion_mean", "motion_sustained", "loss", "gradient_norm", "source_width", "source_height"), 1.0
        )
        words = {"name": f"{name}.mp4", "path": f"/x/{name}.mp4", "caption": caption, "sha256": "0" * 64, "key": name}
        return {"id": name, "label": "moving", "extra": '{"tag": 1}'} | numbers | words

    clips = pa.Table.from_pylist([row(f"c{n:03d}") for n in range(len(influence))]).select(DESCRIBING)
    queries = [row(f"q{q}") for q in range(influence.shape[1])]
    return scores_of(influence, clips, Facts(queries, error_bar, trained))


matrices = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 30), st.integers(1, 6)),
    elements=st.floats(-1, 1, width=16).map(lambda x: round(x, 1)),  # rounded, so that ties are common
)


@hypothesis_settings(deadline=None)
@given(matrices, st.floats(0.01, 0.99))
def test_votes_and_order_are_those_of_the_method(influence, keep) -> None:
    scores = scored(influence)
    selection = select(scores, keep)
    exact = scores.influence.astype(float)
    assert selection.votes.tolist() == method.votes(exact, keep)
    keys = [(-selection.votes[n], -exact[n].mean(), n) for n in selection.order]
    assert keys == sorted(keys)
    count = len(influence)
    assert sorted(selection.order.tolist()) == list(range(count))
    assert len(selection.kept) == max(1, int(count * keep + 0.5))
    assert not set(selection.kept) & set(selection.harmful)
    assert len(selection.harmful) == min(len(selection.kept), count - len(selection.kept))


@hypothesis_settings(deadline=None)
@given(matrices, st.floats(0.05, 0.9), st.randoms())
def test_the_selection_does_not_depend_on_the_order_of_queries(influence, keep, random) -> None:
    order = list(range(influence.shape[1]))
    random.shuffle(order)
    one, other = select(scored(influence), keep), select(scored(influence[:, order]), keep)
    assert one.votes.tolist() == other.votes.tolist()


def test_ties_go_to_the_higher_mean_and_then_to_the_first_id() -> None:
    influence = np.array([[0.9, 0.0], [0.0, 0.9], [0.9, 0.9], [0.1, 0.1]])
    selection = select(scored(influence), 0.5)
    assert selection.order.tolist() == [2, 0, 1, 3]


def test_each_query_votes_for_its_best_share() -> None:
    influence = np.random.default_rng(0).standard_normal((200, 7)) * 0.1
    selection = select(scored(influence), 0.1)
    assert selection.votes.sum() == 20 * 7


@hypothesis_settings(deadline=None, max_examples=50)
@given(matrices, st.floats(0.1, 0.8))
def test_the_margin_is_the_smallest_change_that_swaps_the_clips_at_the_cut(influence, keep) -> None:
    scores = scored(influence)
    selection = select(scores, keep)
    if selection.margin is None:
        assert len(selection.kept) == len(influence)
        return
    last, first = selection.kept[-1], selection.order[len(selection.kept)]

    def swapped(e: float) -> bool:
        exact = scores.influence.astype(float)
        low, high = exact[last] - e, exact[first] + e
        lower, higher = (low > selection.cuts).sum(), (high > selection.cuts).sum()
        return bool(higher > lower or (higher == lower and high.mean() > low.mean()))

    assert swapped(selection.margin + 1e-6)
    for share in (0.25, 0.5, 0.9):
        assert not swapped(selection.margin * share - 1e-6)


def test_a_cut_inside_the_error_says_so() -> None:
    close, apart = np.array([[0.50], [0.49], [0.1]]), np.array([[0.9], [0.1], [0.0]])
    unsure, sure = select(scored(close, 0.044), 0.34), select(scored(apart, 0.044), 0.34)
    assert not unsure.sure
    assert sure.sure
    assert "NOT SURE" in describe(unsure, scored(close, 0.044))
    assert "NOT SURE" not in describe(sure, scored(apart, 0.044))


def test_an_untrained_model_is_named_in_what_is_written(tmp_path) -> None:
    scores = scored(np.random.default_rng(0).random((9, 2)), trained=False)
    save_selection(select(scores, 0.3), scores, tmp_path)
    assert UNTRAINED in (tmp_path / "selection.md").read_text()
    trained = scored(np.random.default_rng(0).random((9, 2)))
    assert UNTRAINED not in describe(select(trained, 0.3), trained)


def test_what_is_written_agrees_with_itself(tmp_path) -> None:
    scores = scored(np.random.default_rng(1).standard_normal((40, 3)) * 0.1)
    selection = select(scores, 0.1)
    save_selection(selection, scores, tmp_path)
    kept = [json.loads(line) for line in (tmp_path / "selection.jsonl").read_text().splitlines()]
    harmful = [json.loads(line) for line in (tmp_path / "harmful.jsonl").read_text().splitlines()]
    ranking = pq.read_table(tmp_path / "ranking.parquet").to_pylist()
    assert [entry["rank"] for entry in kept] == [1, 2, 3, 4]
    assert [entry["rank"] for entry in harmful] == [40, 39, 38, 37]
    assert [row["id"] for row in ranking if row["chosen"] == "kept"] == [entry["id"] for entry in kept]
    assert [row["rank"] for row in ranking] == list(range(1, 41))
    assert kept[0]["extra"] == {"tag": 1}
    assert kept[0]["influence"]["q1"] == ranking[0]["influence:q1"]
    per_query = json.loads((tmp_path / "per_query.json").read_text())
    best = np.argsort(-scores.influence[:, 2])[:4]
    assert [clip["id"] for clip in per_query[2]["best"]] == [f"c{n:03d}" for n in best]


def test_a_caption_with_every_kind_of_line_break_stays_one_line(tmp_path) -> None:
    caption = "one\u2028two\x85three\x0bfour\x0cfive\rsix\nseven"
    scores = scored(np.random.default_rng(1).random((10, 2)), caption=caption)
    save_selection(select(scores, 0.3), scores, tmp_path)
    assert [entry["caption"] for entry in read_jsonl(tmp_path / "selection.jsonl")] == [caption] * 3


def test_scores_come_back_as_they_were(tmp_path) -> None:
    scores = scored(np.random.default_rng(2).standard_normal((5, 3)), 0.044, False)
    parts = [(scores.clips.slice(n, 2), scores.influence[n : n + 2].T) for n in (0, 2, 4)]
    write_scores(tmp_path / "scores.parquet", scores.facts, scores.clips.schema, parts)
    again = load_scores(tmp_path / "scores.parquet")
    assert np.array_equal(again.influence, scores.influence)
    assert again.clips.to_pylist() == scores.clips.to_pylist()
    assert (again.queries, again.error_bar, again.trained) == (scores.queries, 0.044, False)


def test_a_hostile_caption_cannot_break_the_table() -> None:
    scores = scored(np.array([[0.5], [0.1]]), caption="<script>|`\x1b[31m\n| x |")
    lines = describe(select(scores, 0.5), scores).splitlines()
    assert not any("\x1b" in line or "<script" in line for line in lines)
    rows = [line for line in lines if ".mp4" in line]
    assert len(rows) == 2


@pytest.mark.parametrize("keep", [0.001, 0.999])
def test_at_least_one_clip_is_kept_and_never_more_than_all(keep) -> None:
    selection = select(scored(np.array([[0.5], [0.1], [0.3]])), keep)
    assert len(selection.kept) == (1 if keep < 0.5 else 3)
