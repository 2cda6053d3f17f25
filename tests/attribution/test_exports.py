import csv
import json
import tomllib
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from motive.attribution.exports import export
from motive.config import ExportSection, VideoSection
from motive.errors import StoreError
from motive.files import sha256_file
from motive.progress import Silent
from motive.video.decode import Sampling, decode
from motive.video.table import ClipTable

VIDEO = VideoSection(frames=9, fps=16, height=48, width=64)


def selection(folder: Path, pool: Path, names: list[str], caption: str = "a square, moving") -> Path:
    entries = [
        {
            "id": f"../{name}",
            "key": sha256(name.encode()).hexdigest(),
            "source_width": 64,
            "source_height": 48,
            "name": name,
            "path": str(pool / name),
            "caption": caption,
            "sha256": sha256_file(pool / name),
            "extra": {"motion": "slide", "n": n},
            "rank": n + 1,
        }
        for n, name in enumerate(names)
    ]
    file = folder / "selection.jsonl"
    file.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return file


@pytest.fixture
def chosen(tmp_path, pool_folder) -> Path:
    return selection(tmp_path, pool_folder, ["clip3.mp4", "clip1.mp4"])


def test_encoded_videos_hold_exactly_the_standardised_frames(chosen, pool_folder, tmp_path) -> None:
    out = tmp_path / "export"
    assert export(chosen, out, ExportSection(), VIDEO, Silent()) == []
    sampling = Sampling(VIDEO.frames, VIDEO.fps, VIDEO.height, VIDEO.width)
    for entry in map(json.loads, (out / "selection.jsonl").read_text().splitlines()):
        written, source = decode(out / entry["video"], sampling), decode(Path(entry["path"]), sampling)
        assert written.source_fps == pytest.approx(16)
        assert written.source_seconds == pytest.approx(9 / 16)
        assert np.abs(written.frames.astype(int) - source.frames).mean() < 3


@pytest.mark.parametrize("manifest", ["metadata.csv", "musubi.jsonl", "metadata.json", "videos.txt", "videos"])
def test_every_trainers_file_reads_back_as_the_same_clips(chosen, tmp_path, manifest) -> None:
    out = tmp_path / "export"
    export(chosen, out, ExportSection(), VIDEO, Silent())
    table = ClipTable.read(out / manifest)
    assert not table.duplicates
    assert [clip.problem for clip in table] == [None, None]
    assert [clip.caption for clip in table] == ["a square, moving"] * 2
    expected = {
        json.loads(line)["video"].removeprefix("videos/") for line in (out / "selection.jsonl").read_text().splitlines()
    }
    assert {Path(clip.name).name for clip in table} == expected


def test_trainers_files_have_the_fields_they_read(chosen, tmp_path) -> None:
    out = tmp_path / "export"
    export(chosen, out, ExportSection(), VIDEO, Silent())
    with (out / "metadata.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["video", "prompt", "motion", "n"]
    assert [row["n"] for row in rows] == ["0", "1"]
    musubi = [json.loads(line) for line in (out / "musubi.jsonl").read_text().splitlines()]
    assert set(musubi[0]) == {"video_path", "caption"}
    toml = tomllib.loads((out / "musubi.toml").read_text())
    assert toml["general"]["resolution"] == [64, 48]
    assert toml["datasets"][0]["target_frames"] == [9]
    entry = json.loads((out / "metadata.json").read_text())[0]
    assert set(entry) == {"file_path", "text", "type", "width", "height"}
    assert (entry["type"], entry["width"], entry["height"]) == ("video", 64, 48)
    assert len((out / "prompts.txt").read_text().splitlines()) == len((out / "videos.txt").read_text().splitlines()) == 2


def test_links_lead_to_the_originals(chosen, pool_folder, tmp_path) -> None:
    out = tmp_path / "export"
    assert export(chosen, out, ExportSection(videos="link"), VIDEO, Silent()) == []
    for entry in map(json.loads, (out / "selection.jsonl").read_text().splitlines()):
        assert (out / entry["video"]).is_symlink()
        assert (out / entry["video"]).resolve() == Path(entry["path"]).resolve()
    assert "source_fps" not in (out / "musubi.toml").read_text()


def test_one_video_under_two_captions_is_two_exports(pool_folder, tmp_path) -> None:
    file = selection(tmp_path, pool_folder, ["clip0.mp4"])
    entry = json.loads(file.read_text())
    other = entry | {"key": "f" * 64, "caption": "another caption"}
    file.write_text(json.dumps(entry) + "\n" + json.dumps(other) + "\n")
    export(file, tmp_path / "export", ExportSection(), VIDEO, Silent())
    captions = {clip.caption for clip in ClipTable.read(tmp_path / "export" / "videos")}
    assert captions == {"a square, moving", "another caption"}


def test_a_caption_of_several_lines_stays_one_line_in_lists(pool_folder, tmp_path) -> None:
    file = selection(tmp_path, pool_folder, ["clip0.mp4"], caption='two\nlines, "quoted"\u2028and\ta tab')
    export(file, tmp_path / "export", ExportSection(), VIDEO, Silent())
    assert (tmp_path / "export/prompts.txt").read_text() == 'two lines, "quoted" and a tab\n'
    (clip,) = ClipTable.read(tmp_path / "export" / "metadata.csv")
    assert clip.caption == 'two lines, "quoted" and a tab'


def test_a_clip_that_is_gone_or_changed_is_reported_and_the_rest_exported(pool_folder, tmp_path) -> None:
    import shutil

    pool = tmp_path / "pool"
    shutil.copytree(pool_folder, pool)
    file = selection(tmp_path, pool, ["clip0.mp4", "clip1.mp4", "clip2.mp4"])
    (pool / "clip0.mp4").unlink()
    (pool / "clip1.mp4").write_bytes(b"other")
    failed = export(file, tmp_path / "export", ExportSection(), VIDEO, Silent())
    assert [line.split(":")[0] for line in failed] == ["clip0.mp4", "clip1.mp4"]
    assert "no longer there" in failed[0]
    assert "changed" in failed[1]
    assert len(list(ClipTable.read(tmp_path / "export" / "metadata.csv"))) == 1


def test_an_export_holds_nothing_of_an_earlier_one(pool_folder, tmp_path) -> None:
    """Trainers that read a folder would otherwise train on clips that are no longer chosen."""
    out = tmp_path / "export"
    export(selection(tmp_path, pool_folder, ["clip0.mp4", "clip1.mp4"]), out, ExportSection(), VIDEO, Silent())
    export(selection(tmp_path, pool_folder, ["clip1.mp4"]), out, ExportSection(), VIDEO, Silent())
    assert [clip.name.split("-")[0] for clip in ClipTable.read(out / "videos")] == ["clip1"]
    other = VIDEO.model_copy(update={"frames": 5})
    export(tmp_path / "selection.jsonl", out, ExportSection(), other, Silent())
    (clip,) = ClipTable.read(out / "videos")
    assert decode(clip.path, Sampling(5, 16, 48, 64)).source_seconds == pytest.approx(5 / 16)


def test_exporting_again_encodes_nothing(chosen, tmp_path) -> None:
    out = tmp_path / "export"
    export(chosen, out, ExportSection(), VIDEO, Silent())
    before = {path.name: path.stat().st_mtime_ns for path in (out / "videos").glob("*.mp4")}
    export(chosen, out, ExportSection(), VIDEO, Silent())
    assert {path.name: path.stat().st_mtime_ns for path in (out / "videos").glob("*.mp4")} == before


def test_hostile_names_stay_inside_the_export(pool_folder, tmp_path) -> None:
    file = selection(tmp_path, pool_folder, ["clip0.mp4"])
    entry = json.loads(file.read_text()) | {"name": "../../../etc/\x1b[31mpass wd.mp4"}
    file.write_text(json.dumps(entry) + "\n")
    export(file, tmp_path / "export", ExportSection(), VIDEO, Silent())
    (written,) = (tmp_path / "export").rglob("*.mp4")
    assert written.parent == tmp_path / "export" / "videos"
    assert written.name.startswith("31mpass_wd-")


def test_exporting_nothing_says_what_to_do(tmp_path) -> None:
    with pytest.raises(StoreError, match="motive select"):
        export(tmp_path / "selection.jsonl", tmp_path / "export", ExportSection(), VIDEO, Silent())
