"""What a report's files hold."""

import json
import re
from dataclasses import replace

import av
import cv2
import numpy as np
import pytest

from motive import verbs
from motive.attribution.scores import load_scores
from motive.config import StageSection, load_config
from motive.errors import StoreError
from motive.files import each_json
from motive.report.arms import read_arms
from motive.report.clips import LISTED, in_table
from motive.report.data import DataFolder, plain
from motive.report.figures import overlap
from motive.report.films import shown_size
from motive.report.standing import read_standing
from motive.report.write import write_report
from tests.report.conftest import CLIPS


def read(config, name: str):
    """What a data file gives the page."""
    text = (config.out / "report" / "data" / f"{name}.js").read_text(encoding="ascii")
    start = f'motiveData("{name}",'
    assert text.startswith(start)
    assert text.endswith(");\n")
    return json.loads(text.removeprefix(start).removesuffix(");\n"))


def test_the_table_is_the_ranking(finished) -> None:
    rows = read(finished, "clips-0")
    kept = list(each_json(finished.out / "selection.jsonl"))
    assert [row[1] for row in rows if row[9] == "kept"] == [entry["id"] for entry in kept]
    for row, entry in zip(rows, kept, strict=False):
        assert (row[2], row[3], row[4], row[5]) == (entry["name"], entry["caption"], entry["rank"], entry["votes"])
        assert row[6] == pytest.approx(entry["mean_influence"], rel=1e-5)
    assert [row[4] for row in rows] == list(range(1, 7))
    assert [row[0] for row in rows] == list(range(6))


def test_a_querys_ends_cut_and_influence_are_those_of_the_selection(finished) -> None:
    scores = load_scores(finished.out / "scores.parquet")
    told = json.loads((finished.out / "per_query.json").read_text(encoding="utf-8"))
    ids = [row[1] for row in read(finished, "clips-0")]
    for n, entry in enumerate(told):
        own = read(finished, f"query-{n}")
        assert own["cut"] == pytest.approx(entry["cut"], rel=1e-5)
        assert [row[1] for row in own["best"]][: len(entry["best"])] == [clip["id"] for clip in entry["best"]]
        assert [row[1] for row in own["worst"]][: len(entry["worst"])] == [clip["id"] for clip in entry["worst"]]
        assert not {row[1] for row in own["best"]} & {row[1] for row in own["worst"]}
        column = dict(zip(scores.clips["id"].to_pylist(), scores.column(n).tolist(), strict=True))
        assert own["influence"] == pytest.approx([column[id] for id in ids], rel=1e-5)
        assert sum(map(sum, own["histogram"]["counts"].values())) == len(scores)


def test_the_summary_says_what_must_be_known(finished) -> None:
    summary = read(finished, "run")
    assert summary["counts"] == {"pool": 7, "scored": 6, "kept": 2, "harmful": 2, "queries": 2, "unscored": 1}
    assert any("UNTRAINED" in line for line in summary["caveats"])
    assert summary["without_score"][0]["name"] == "broken.mp4"
    assert [entry["command"].split()[1] for entry in summary["missing"]] == ["prove"]
    assert dict(summary["settings"])["video.frames"] == "9"
    assert summary["overlap"][0][0] == 1
    assert {entry["what"] for entry in summary["costs"]} >= {"Forward and backward passes"}


def test_every_film_is_h264_with_a_poster_and_a_mask_of_all_latent_frames(finished) -> None:
    media, summary = finished.out / "report" / "media", read(finished, "run")
    names = {row[10] for row in read(finished, "clips-0")} | {query["film"] for query in summary["queries"]}
    assert len(names) == 8
    assert {file.stem for file in media.iterdir()} == names
    (still,) = (row[10] for row in read(finished, "clips-0") if row[8] == "static")
    assert set(summary["masked"]) == names - {still}
    assert summary["latents"] == 3
    for name in names - {still}:
        with av.open(str(media / f"{name}.mp4")) as file:
            stream = file.streams.video[0]
            assert (stream.codec_context.name, stream.width, stream.height, stream.frames) == ("h264", 192, 144, 9)
        assert cv2.imread(str(media / f"{name}.jpg")).shape == (144, 192, 3)
        assert cv2.imread(str(media / f"{name}.png"), cv2.IMREAD_UNCHANGED).shape == (3 * 6, 8, 4)


def test_writing_again_encodes_nothing_and_drops_what_is_not_shown_any_more(run) -> None:
    media = run.out / "report" / "media"
    before = {file.name: file.stat().st_mtime_ns for file in media.iterdir()}
    (media / "0123456789abcdef.mp4").write_bytes(b"of an earlier report")
    (run.out / "report" / "data" / "query-7.js").write_text("of an earlier report")
    write_report(run)
    after = {file.name: file.stat().st_mtime_ns for file in media.iterdir()}
    assert after == before
    assert not (run.out / "report" / "data" / "query-7.js").exists()


def test_only_so_many_videos_as_asked_the_most_telling(run) -> None:
    write_report(run.model_copy(update={"report": run.report.model_copy(update={"videos": 2})}))
    rows = read(run, "clips-0")
    with_film = [row[9] for row in rows if row[10]]
    assert with_film == ["kept", "harmful"]
    assert len(list((run.out / "report" / "media").glob("*.mp4"))) == 2 + 2  # and the queries


def test_a_clip_that_is_gone_is_told_and_stops_nothing(run, tmp_path) -> None:
    (run.out / "export").rename(tmp_path / "export")
    moved = run.model_copy(update={"report": run.report.model_copy(update={"height": 64})})
    from pathlib import Path

    gone = Path(next(each_json(run.out / "selection.jsonl"))["path"])
    aside = gone.with_suffix(".aside")
    gone.rename(aside)
    try:
        write_report(moved)
    finally:
        aside.rename(gone)
    failed = read(run, "run")["failed"]
    assert len(failed) == 1
    assert "no such file" in next(iter(failed.values())).lower()


def test_what_differs_from_the_files_of_the_run_is_said(run) -> None:
    other = run.model_copy(update={"selection": run.selection.model_copy(update={"keep": 0.8})})
    write_report(other)
    assert any("`motive select` makes them agree" in line for line in read(run, "run")["caveats"])
    (run.out / "selection.jsonl").unlink()
    write_report(run)
    assert any("`motive select` does that" in line for line in read(run, "run")["caveats"])


def test_without_scores_there_is_no_report(finished, tmp_path) -> None:
    with pytest.raises(StoreError, match="run `motive score` first"):
        write_report(finished.model_copy(update={"out": tmp_path}))


def test_arms_samples_and_metrics(armed) -> None:
    value = read(armed, "arms")
    assert [arm["arm"] for arm in value["arms"]] == ["base", "motive", "random@1"]
    motive = value["arms"][1]
    assert (motive["steps"], motive["seconds"], len(motive["loss"])) == (40, 12.5, 40)
    assert [step for step, _ in motive["influence"]["steps"]] == list(range(0, 40, 5))
    assert motive["influence"]["helping"][0][1] >= motive["influence"]["helping"][-1][1]
    assert len(value["samples"]["prompts"]) == 3
    assert all(len(seeds) == 2 for own in value["samples"]["videos"].values() for seeds in own.values())
    assert value["metrics"]["comparisons"][0]["p"] == 0.01
    assert read(armed, "run")["missing"] == []


def test_damaged_files_of_arms_are_told(run) -> None:
    (run.out / "arms" / "motive").mkdir(parents=True)
    (run.out / "arms" / "motive" / "arm.json").write_text("{")
    (run.out / "arms" / "motive" / "influence.jsonl").write_text(
        '{"step": "x", "clips": 3}\n{"step": 1, "clips": {"a": ["b"]}}\n'
    )
    (run.out / "metrics.json").write_text("[]")
    (run.out / "samples").mkdir()
    (run.out / "samples" / "prompts.jsonl").write_text('{"id": "a"}\n')
    arms = read_arms(run)
    assert len(arms.value["notes"]) == 3
    assert arms.value["arms"][0]["influence"] is None
    assert len(arms.missing) == 2


def test_ten_thousand_clips_come_in_chunks(large) -> None:
    data = large.out / "report" / "data"
    assert len(list(data.glob("clips-*.js"))) == 10
    assert len(list(data.glob("details-*.js"))) == 40
    assert max(file.stat().st_size for file in data.iterdir()) < 500_000
    assert len(read(large, "clips-9")) == 1000
    assert read(large, "run")["table"] == {"listed": CLIPS, "chunk": 1000, "detailed": 250}
    assert sum(map(sum, read(large, "run")["motion"]["speed"]["counts"].values())) == CLIPS
    rows, details = read(large, "clips-3"), read(large, "details-12")
    assert details[0]["extra"] == json.dumps({"tag": f"tag-{int(rows[0][1].removeprefix('clip_'))}"})


def test_common_clips_are_those_of_the_votes(large) -> None:
    standing = read_standing(large)
    votes = standing.scores.influence > standing.selection.cuts
    common = (votes.T.astype(float) @ votes) / min(votes.sum(axis=0))
    np.testing.assert_allclose(overlap(standing), common, atol=1e-6)


def test_beyond_what_is_listed_a_clip_has_no_place(large) -> None:
    standing = read_standing(large)
    assert in_table(standing, CLIPS) == CLIPS - 1

    class Many:
        queries = (None,)

        def __len__(self) -> int:
            return LISTED + 7

    many = replace(standing, scores=Many())
    places = [in_table(many, rank) for rank in (1, LISTED // 2, LISTED // 2 + 1, LISTED // 2 + 7, LISTED // 2 + 8, LISTED + 7)]
    assert places == [0, LISTED // 2 - 1, None, None, LISTED // 2, LISTED - 1]


def test_a_cascade_has_a_report_and_so_has_its_first_stage(finished, tmp_path) -> None:
    stage = StageSection(share=0.7, gradients={"dim": 64})
    config = finished.model_copy(update={"out": tmp_path / "run", "cascade": (stage,)})
    verbs.run(config)
    write_report(config)
    summary = read(config, "run")
    assert summary["counts"] == {"pool": 7, "scored": 5, "kept": 2, "harmful": 0, "queries": 2, "unscored": 0}
    assert any(f"motive report {config.out / 'coarse-1'}" in line for line in summary["caveats"])
    first = load_config(config.out / "coarse-1")
    write_report(first)
    assert read(first, "run")["counts"]["harmful"] == 2


def test_data_are_ascii_json_with_null_for_what_is_no_number(tmp_path) -> None:
    data = DataFolder(tmp_path)
    data.put("run", {"a": float("nan"), "b": [float("inf"), 1 / 3], "c": "</script>\u2028\ud800", 4: True})
    text = (tmp_path / "run.js").read_bytes()
    assert re.fullmatch(rb"[\x20-\x7e]+\n", text)
    assert plain(1 / 3) == 0.333333
    assert json.loads(text[len(b'motiveData("run",') : -3])["a"] is None


def test_films_are_no_larger_than_three_times_their_source() -> None:
    assert shown_size(480, 832, 240) == (240, 416)
    assert shown_size(64, 64, 240) == (192, 192)
    assert shown_size(721, 405, 240) == (240, 134)
