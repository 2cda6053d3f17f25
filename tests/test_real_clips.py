"""The main job on 29 real clips, where the shared data lies beside the checkout."""

import csv
import json
from pathlib import Path

import pytest

from motive.config import load_config
from motive.models.build import build_wan
from motive.verbs import run, show
from motive.video.decode import Sampling, decode
from motive.video.table import ClipTable
from tests.conftest import SHARED

CLIPS = SHARED / "clips"
QUERIES = ("asl_book.mkv", "ball_juggle.mp4", "traffic_road.avi")

pytestmark = pytest.mark.skipif(not CLIPS.is_dir(), reason="the shared clips are not beside this checkout")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("real")
    build_wan(folder / "model")
    with (CLIPS / "clips.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["file"] in QUERIES]
    with (folder / "queries.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "prompt"])
        writer.writerows((str(CLIPS / row["file"]), row["caption"]) for row in rows)
    overrides = [
        f"pool={CLIPS / 'clips.csv'}",
        f"queries={folder / 'queries.csv'}",
        "root=/",
        f"out={folder / 'run'}",
        f"model.path={folder / 'model'}",
        "video={frames: 25, fps: 16, height: 128, width: 224}",
        "motion.camera=affine",
    ]
    config = load_config(None, overrides)
    return config, run(config)


def test_every_real_clip_is_scored_and_the_run_ranks_them(finished) -> None:
    config, done = finished
    assert (done.pool, done.queries, done.failed, done.left_out) == (29, 3, [], [])
    shown = show(config)
    assert len(shown.kept) == len(shown.harmful) == 3
    for entry in shown.kept:
        assert len(entry["influence"]) == 3
        assert all(-1.0001 <= value <= 1.0001 for value in entry["influence"].values())
        assert entry["extra"]["licence_as_stated"]
    ranking = config.out / "ranking.parquet"
    assert ranking.exists()


def test_every_query_is_its_own_best_clip(finished) -> None:
    config, _ = finished
    for entry in json.loads((config.out / "per_query.json").read_text()):
        assert entry["best"][0]["influence"] == pytest.approx(1, abs=1e-5)
        assert Path(entry["query"]["name"]).name in QUERIES


def test_still_clips_are_static_and_the_dash_cam_is_camera_motion(finished) -> None:
    import pyarrow.parquet as pq

    config, _ = finished
    labels = {row["name"]: row["label"] for row in pq.read_table(config.out / "ranking.parquet").to_pylist()}
    assert labels["bottles_static.mp4"] == "static"
    assert labels["drive_highway.mp4"] == "camera"
    # The two other static ones show an empty road for as long as the 25 frames last.
    assert {name for name, label in labels.items() if label == "static"} == {
        "bottles_static.mp4",
        "cars_road_topdown.avi",
        "cars_topdown.mp4",
    }
    assert {name for name, label in labels.items() if label == "camera"} == {"drive_highway.mp4"}


@pytest.mark.parametrize("manifest", ["metadata.csv", "musubi.jsonl", "metadata.json", "videos.txt", "videos"])
def test_exports_decode_to_the_standard_shape(finished, manifest) -> None:
    config, _ = finished
    table = ClipTable.read(config.out / "export" / manifest)
    assert len(table) == 3
    for clip in table:
        assert clip.problem is None
        decoded = decode(clip.path, Sampling(25, 16, 128, 224))
        assert decoded.source_fps == pytest.approx(16)
        assert (decoded.source_width, decoded.source_height) == (224, 128)
        assert decoded.repeated == 0


def test_another_selection_from_the_same_scores_agrees_with_it(finished) -> None:
    from motive.verbs import score, select

    config, _ = finished
    wider = config.model_copy(update={"selection": config.selection.model_copy(update={"keep": 0.3})})
    scores = score(wider)
    kept = select(wider).kept
    assert len(kept) == 9
    assert scores.influence.shape == (29, 3)
    assert 0 < scores.error_bar < 0.05
    select(config)
