"""What is written of a pool that is never held: the same as what would be written of one that is."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from motive.attribution import ranking, scores, selection_files
from motive.attribution.scores import load_scores, write_scores
from motive.attribution.selection import select
from motive.attribution.selection_files import save_selection
from tests.attribution.test_selection import scored

FILES = ("selection.jsonl", "harmful.jsonl", "per_query.json", "selection.md")


@pytest.fixture
def small_blocks(monkeypatch) -> None:
    """As if a pool of a hundred clips were a large one."""
    monkeypatch.setattr(scores, "BLOCK_ROWS", 9)
    monkeypatch.setattr(ranking, "WINDOW", 16)
    monkeypatch.setattr(ranking, "ROWS", 5)


def influence(kind: str) -> np.ndarray:
    drawn = np.random.default_rng(0).standard_normal((100, 5)) * 0.1
    return {"all differ": drawn, "many alike": drawn.round(1), "all alike": np.zeros((100, 5))}[kind]


@pytest.mark.parametrize("kind", ["all differ", "many alike", "all alike"])
def test_files_are_the_same_bytes_whatever_the_size_of_blocks_and_the_order_of_clips(tmp_path, request, kind) -> None:
    whole = scored(influence(kind))
    save_selection(select(whole, 0.1), whole, tmp_path / "whole")
    request.getfixturevalue("small_blocks")
    order = np.random.default_rng(1).permutation(100)
    clips, part = whole.clips.take(order), whole.influence[order]
    parts = [(clips.slice(n, 7), part[n : n + 7].T) for n in range(0, 100, 7)]
    write_scores(tmp_path / "scores.parquet", whole.facts, clips.schema, parts)
    blocks = load_scores(tmp_path / "scores.parquet")
    assert len(blocks.layout) > 5
    save_selection(select(blocks, 0.1), blocks, tmp_path / "blocks")
    for name in FILES:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "blocks" / name).read_bytes(), name
    there, here = (pq.read_table(tmp_path / name / "ranking.parquet") for name in ("whole", "blocks"))
    assert there.equals(here)
    assert there["rank"].to_pylist() == list(range(1, 101))
    assert sorted(path.name for path in (tmp_path / "blocks").iterdir()) == sorted([*FILES, "ranking.parquet"])


def test_what_a_killed_run_left_is_cleared(tmp_path, small_blocks) -> None:
    left = tmp_path / ".ranking.parquet.windows"
    left.mkdir()
    (left / "3").write_bytes(b"half a window")
    some = scored(influence("all differ"))
    save_selection(select(some, 0.1), some, tmp_path)
    assert pq.read_table(tmp_path / "ranking.parquet").num_rows == 100
    assert not left.exists()


def test_pages_for_people_stay_short(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(selection_files, "SHOWN", 3)
    some = scored(influence("all differ"))
    save_selection(select(some, 0.1), some, tmp_path)
    assert len((tmp_path / "selection.jsonl").read_text().splitlines()) == 10
    assert (tmp_path / "selection.md").read_text().count("and 7 more") == 2
    for query in json.loads((tmp_path / "per_query.json").read_text()):
        assert len(query["best"]) == len(query["worst"]) == 3


def test_clips_at_places_come_in_the_order_asked_for(small_blocks) -> None:
    some = scored(influence("all differ"))
    assert len(some.layout) == 1
    for places in ([99, 0, 50, 0], []):
        found = some.rows(np.array(places, np.int64), ["id"])
        assert found["id"].to_pylist() == [f"c{n:03d}" for n in places]
