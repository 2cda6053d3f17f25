"""ClipTable: which clips a manifest names, under which ids, and what is wrong with each."""

import csv
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from motive.errors import ManifestError
from motive.video.decode import Sampling, decode
from motive.video.table import CAPTION_LIMIT, PATH_LIMIT, Clip, ClipTable

SHARED = Path(__file__).parents[2].parent / "shared" / "clips"

some = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three files to name; the table only hashes them."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.mp4").write_text(f"bytes of {name}")
    return folder


def listed(folder: Path, *rows: dict[str, Any], name: str = "clips.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def only(folder: Path, **row: Any) -> Clip:
    (clip,) = ClipTable.read(listed(folder, row))
    return clip


def ids(table: ClipTable) -> dict[str, str]:
    return {clip.name: clip.id for clip in table}


# What a manifest may look like


ROWS = [{"name": "a.mp4", "text": "a ball, it rolls"}, {"name": "b.mp4", "text": 'b says "stop"'}]


def write_as(kind: str, folder: Path, video: str = "video", caption: str = "prompt") -> Path:
    path = folder / f"clips.{kind}"
    rows = [{video: row["name"], caption: row["text"]} for row in ROWS]
    if kind == "csv":
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            writer = csv.DictWriter(file, [video, caption])
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    elif kind == "json":
        path.write_text(json.dumps(rows))
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "txt":
        path = folder / "videos.txt"
        path.write_text("".join(row["name"] + "\n" for row in ROWS))
        (folder / "prompts.txt").write_text("".join(row["text"] + "\n" for row in ROWS))
    else:
        for row in ROWS:
            (folder / row["name"]).with_suffix(".txt").write_text(row["text"])
        (folder / "c.mp4").unlink()
        path = folder
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json", "parquet", "txt", "folder"])
def test_every_kind_of_manifest_gives_the_same_clips(folder, kind):
    table = ClipTable.read(write_as(kind, folder))
    assert [(clip.name, clip.caption, clip.path, clip.problem) for clip in table] == [
        (row["name"], row["text"], (folder / row["name"]).resolve(), None) for row in ROWS
    ]
    assert [clip.sha256 for clip in table] == [hashlib.sha256(f"bytes of {name}".encode()).hexdigest() for name in "ab"]
    assert ids(table) == ids(ClipTable.read(write_as("jsonl", folder)))
    assert table.duplicates == ()


@pytest.mark.parametrize("video", ["video", "video_path", "file_path", "file_name", "file", "path"])
@pytest.mark.parametrize("caption", ["prompt", "caption", "text"])
def test_the_columns_trainers_use_are_known(folder, video, caption):
    table = ClipTable.read(write_as("csv", folder, video, caption))
    assert [(clip.name, clip.caption, clip.problem, clip.extra) for clip in table] == [
        (row["name"], row["text"], None, {}) for row in ROWS
    ]


def test_of_several_known_columns_the_first_known_one_counts_and_the_rest_is_extra(folder):
    clip = only(folder, path="elsewhere/x.mp4", file="a.mp4", text="long", caption="short", fps=24, tags=["x"])
    assert (clip.name, clip.caption, clip.problem) == ("a.mp4", "short", None)
    assert clip.extra == {"path": "elsewhere/x.mp4", "text": "long", "fps": 24, "tags": ["x"]}


def test_other_columns_can_be_named(folder):
    path = listed(folder, {"clip": "a.mp4", "says": "a ball", "number": 7, "caption": "no"})
    (clip,) = ClipTable.read(path, columns={"video": "clip", "caption": "says", "id": "number"})
    assert (clip.name, clip.caption, clip.id, clip.extra) == ("a.mp4", "a ball", "7", {"caption": "no"})


def test_a_column_that_is_not_there_is_an_error_that_names_those_that_are(folder):
    path = listed(folder, {"clip": "a.mp4", "says": "a ball"})
    with pytest.raises(ManifestError, match="no column 'film' for video; it has clip, says"):
        ClipTable.read(path, columns={"video": "film"})
    with pytest.raises(ManifestError, match="no column of videos; it has clip, says"):
        ClipTable.read(path)


def test_an_unnamed_column_means_nothing(folder):
    """pandas writes its row numbers under an empty name: they are no ids, captions or hashes."""
    (folder / "clips.csv").write_text(",file\n0,a.mp4\n1,b.mp4\n")
    table = ClipTable.read(folder / "clips.csv")
    assert [(clip.problem, clip.caption, clip.extra, len(clip.id)) for clip in table] == [(None, "", {}, 16)] * 2


def test_spaces_around_values_do_not_count(folder):
    clean = only(folder, video="a.mp4", caption="a ball", id="x")
    spaced = only(folder, video=" a.mp4 ", caption="\ta ball\n", id=" x ", sha256=f" {clean.sha256.upper()} ")
    assert (spaced.name, spaced.caption, spaced.id, spaced.key, spaced.problem) == ("a.mp4", "a ball", "x", clean.key, None)


@pytest.mark.parametrize("name", ["clips.csv", "clips.jsonl", "clips.json"])
def test_a_manifest_without_clips_is_an_error(folder, name):
    (folder / name).write_text("[]" if name.endswith("json") else "")
    with pytest.raises(ManifestError, match="holds no clips"):
        ClipTable.read(folder / name)


def test_a_folder_without_videos_is_an_error(tmp_path):
    with pytest.raises(ManifestError, match="holds no clips"):
        ClipTable.read(tmp_path)


# Ids


def test_an_id_is_that_of_the_content_and_survives_renaming_moving_and_reordering(folder, tmp_path):
    before = ids(ClipTable.read(listed(folder, {"video": "a.mp4", "text": "a ball"}, {"video": "b.mp4", "text": "b"})))
    (tmp_path / "moved" / "deep").mkdir(parents=True)
    (folder / "a.mp4").rename(tmp_path / "moved" / "deep" / "renamed.mkv")
    (folder / "b.mp4").rename(tmp_path / "moved" / "b.mp4")
    rows = [{"file": "b.mp4", "prompt": "b", "new": 1}, {"file": "deep/renamed.mkv", "prompt": "a ball", "new": 2}]
    after = ids(ClipTable.read(listed(tmp_path / "moved", *rows, name="other.jsonl")))
    assert after == {"b.mp4": before["b.mp4"], "deep/renamed.mkv": before["a.mp4"]}


def test_an_edited_caption_or_file_is_another_clip(folder):
    first = only(folder, video="a.mp4", text="a ball")
    captioned = only(folder, video="a.mp4", text="a red ball")
    (folder / "a.mp4").write_text("bytes of A")
    edited = only(folder, video="a.mp4", text="a ball")
    assert len({first.id, captioned.id, edited.id}) == 3


def test_under_an_id_of_its_own_an_edited_clip_keeps_the_id_and_changes_the_key(folder):
    first = only(folder, video="a.mp4", text="a ball", id="roll/1")
    edited = only(folder, video="a.mp4", text="a red ball", id="roll/1")
    assert first.id == edited.id == "roll/1"
    assert first.key != edited.key


@pytest.mark.parametrize("bad", ["a\nb", "a\x00b", "\x1b[31mred", "x" * 201, "a\u202eb", "x\u2028y"])
def test_a_hostile_id_is_the_clips_problem_and_is_not_used(folder, bad):
    clip = only(folder, video="a.mp4", id=bad)
    assert "its id" in clip.problem
    assert clip.id == clip.key[:16]


def test_rows_that_say_the_same_are_one_clip_and_are_reported(folder):
    (folder / "copy.mp4").write_bytes((folder / "a.mp4").read_bytes())
    rows = [{"video": name, "text": "a ball"} for name in ("a.mp4", "b.mp4", "a.mp4", "./a.mp4", "copy.mp4")]
    table = ClipTable.read(listed(folder, *rows))
    assert [clip.name for clip in table] == ["a.mp4", "b.mp4"]
    assert len(table) == 2
    assert table.duplicates == tuple(
        f"clips.jsonl line {line} ({name}) repeats clips.jsonl line 1 (a.mp4): left out"
        for line, name in ((3, "a.mp4"), (4, "./a.mp4"), (5, "copy.mp4"))
    )


def test_a_video_under_two_captions_is_two_clips_and_is_reported(folder):
    table = ClipTable.read(listed(folder, {"video": "a.mp4", "text": "a ball"}, {"video": "a.mp4", "text": "it rolls"}))
    assert [clip.problem for clip in table] == [None, None]
    assert len({clip.id for clip in table}) == 2
    assert "line 2 (a.mp4) is the same video as clips.jsonl line 1 (a.mp4): both kept" in table.duplicates[0]


def test_an_id_given_twice_stays_with_the_first_and_is_a_problem_of_the_second(folder):
    table = ClipTable.read(listed(folder, {"video": "a.mp4", "id": "x"}, {"video": "b.mp4", "id": "x"}))
    first, second = table
    assert (first.id, first.name, first.problem) == ("x", "a.mp4", None)
    assert (second.id, second.path) == (second.key[:16], None)
    assert second.problem == "its id 'x' is already that of clips.jsonl line 1, another clip"


def test_ids_are_unique_whatever_the_rows_say(folder):
    content = only(folder, video="b.mp4").id
    rows = [{"video": video, "id": name} for video in ("a.mp4", "b.mp4", "gone.mp4") for name in ("x", content, "", "x")]
    table = ClipTable.read(listed(folder, *rows))
    assert len({clip.id for clip in table}) == len(table)
    assert len(table) + len([line for line in table.duplicates if "left out" in line]) == len(rows)


# What is wrong with a clip is recorded with it


def test_a_file_that_is_not_what_the_manifest_hashed_is_recorded(folder):
    clip = only(folder, video="a.mp4", sha256="0" * 64)
    assert clip.sha256 == hashlib.sha256(b"bytes of a").hexdigest()
    assert f"its sha256 is {clip.sha256[:12]}..., the manifest says 000000000000" in clip.problem
    assert only(folder, video="a.mp4", sha256=clip.sha256).problem is None


def unreachable(folder: Path) -> dict[str, tuple[Any, str]]:
    """What a row may say for its video, and what its clip's problem says then."""
    outside = folder.parent / "outside.mp4"
    outside.write_text("outside")
    (folder / "link.mp4").symlink_to(outside)
    (folder / "up").symlink_to(folder.parent, target_is_directory=True)
    (folder / "loop.mp4").symlink_to(folder / "loop.mp4")
    (folder / "dangling.mp4").symlink_to(folder / "nowhere.mp4")
    (folder / "sub.mp4").mkdir()
    os.mkfifo(folder / "pipe.mp4")
    return {
        "missing": ("gone.mp4", "no such file"),
        "dangling link": ("dangling.mp4", "no such file"),
        "parent": ("../outside.mp4", "leaves the data root"),
        "parent of parent": (f"{'../' * 50}etc/passwd", "leaves the data root"),
        "absolute": (str(outside), "leaves the data root"),
        "device": ("/dev/zero", "leaves the data root"),
        "link": ("link.mp4", "leaves the data root"),
        "through a linked folder": ("up/outside.mp4", "leaves the data root"),
        "loop": ("loop.mp4", "not a usable path"),
        "folder": ("sub.mp4", "not a regular file"),
        "fifo": ("pipe.mp4", "not a regular file"),
        "NUL": ("a\0.mp4", "not a usable path"),
        "below a file": ("a.mp4/b.mp4", "not a usable path"),
        "url": ("https://example.org/a.mp4", "only local files"),
        "file url": (f"file://{folder}/a.mp4", "only local files"),
        "long": ("x" * 300, "not a usable path"),
        "very long": ("x/" * 50_000, "its path has 100,000 characters"),
        "half a surrogate pair": ("\ud83d.mp4", "not valid Unicode"),
        "empty": (" ", "names no video"),
        "null": (None, "names no video"),
        "list": (["a.mp4"], "its video is not text"),
        "object": ({"path": "a.mp4"}, "its video is not text"),
    }


def test_a_video_that_cannot_be_reached_is_the_problem_of_its_clip(folder):
    cases = unreachable(folder)
    table = ClipTable.read(listed(folder, {"video": "a.mp4"}, *({"video": name, "text": "x"} for name, _ in cases.values())))
    good, *bad = table
    assert good.problem is None
    assert len(bad) == len(cases)
    for clip, (case, (_, problem)) in zip(bad, cases.items(), strict=True):
        assert problem in clip.problem, case
        assert (clip.path, clip.sha256) == (None, None), case
        assert len(clip.name) <= PATH_LIMIT
        json.dumps([clip.name, clip.where, clip.problem, clip.caption], ensure_ascii=False).encode()


def test_a_file_that_fails_while_it_is_read_is_recorded(folder):
    """A process's own memory is a regular file on Linux, and nothing lies at its start."""
    (clip,) = ClipTable.read(listed(folder, {"video": "/proc/self/mem"}), root="/")
    assert "cannot be read" in clip.problem


def test_a_file_name_that_is_not_unicode_is_recorded_and_can_be_written_down(folder):
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.mp4")).write_text("x")
    clip = {clip.name: clip for clip in ClipTable.read(folder)}["\\udcff.mp4"]
    assert "not a usable path" in clip.problem
    json.dumps([clip.where, clip.problem], ensure_ascii=False).encode()


def test_a_caption_longer_than_any_encoder_reads_is_recorded_and_cut(folder):
    clip = only(folder, video="a.mp4", text="x" * (CAPTION_LIMIT + 1))
    assert "its caption has 20,001 characters" in clip.problem
    assert len(clip.caption) == CAPTION_LIMIT
    assert only(folder, video="a.mp4", text="x" * CAPTION_LIMIT).problem is None


def test_a_caption_that_is_no_text_is_recorded(folder):
    assert "its caption is not text" in only(folder, video="a.mp4", text=["a", "ball"]).problem


def test_a_row_that_cannot_be_read_is_a_clip_with_that_problem(folder):
    (folder / "clips.jsonl").write_text('{"video": "a.mp4"}\n{broken\n')
    good, bad = ClipTable.read(folder / "clips.jsonl")
    assert good.problem is None
    assert "is not JSON" in bad.problem
    assert bad.where == "clips.jsonl line 2"


# The data root


def test_root_widens_what_paths_may_reach(folder):
    (folder / "lists").mkdir()
    path = listed(folder / "lists", {"video": "../a.mp4"}, {"video": str(folder / "b.mp4")})
    assert ["leaves the data root" in clip.problem for clip in ClipTable.read(path)] == [True, True]
    assert [clip.problem for clip in ClipTable.read(path, root=folder)] == [None, None]
    assert [clip.path for clip in ClipTable.read(path, root=folder)] == [folder / "a.mp4", folder / "b.mp4"]


def test_root_may_narrow_what_paths_may_reach(folder):
    (folder / "in").mkdir()
    (folder / "in" / "d.mp4").write_text("d")
    path = listed(folder, {"video": "a.mp4"}, {"video": "in/d.mp4"})
    assert [clip.problem is None for clip in ClipTable.read(path, root=folder / "in")] == [False, True]


def test_an_absolute_path_inside_the_root_is_fine(folder):
    assert only(folder, video=str(folder / "a.mp4")).problem is None


def test_a_neighbour_whose_name_begins_like_the_root_is_outside(folder):
    neighbour = folder.with_name(folder.name + "2")
    neighbour.mkdir()
    (neighbour / "a.mp4").write_text("x")
    assert "leaves the data root" in only(folder, video=f"../{neighbour.name}/a.mp4").problem


def test_the_root_itself_may_be_reached_through_a_link(folder, tmp_path):
    listed(folder, {"video": "a.mp4"})
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    for table in (
        ClipTable.read(tmp_path / "link" / "clips.jsonl"),
        ClipTable.read(tmp_path / "link"),
        ClipTable.read(folder / "clips.jsonl", root=tmp_path / "link"),
    ):
        assert [clip.problem for clip in table] == [None] * len(table)


def test_progress_steps_once_a_row(folder):
    from contextlib import contextmanager

    class Counting:
        steps_taken = 0

        @contextmanager
        def steps(self, label: str, total: int):
            assert (label, total) == ("reading clips.jsonl", 3)

            def step() -> None:
                self.steps_taken += 1

            yield step

        def say(self, line: str) -> None: ...

    counting = Counting()
    ClipTable.read(listed(folder, {"video": "a.mp4"}, {"video": "a.mp4"}, {"video": "gone"}), progress=counting)
    assert counting.steps_taken == 3


# Anything


VALUE = st.none() | st.booleans() | st.integers() | st.floats() | st.lists(st.text(max_size=3), max_size=2)
TEXT = st.text(max_size=20) | st.text("./\\\0~:é\ud83d", max_size=20)
ROW = st.fixed_dictionaries({}, optional=dict.fromkeys(("video", "text", "id", "sha256", "extra", "", "path"), TEXT | VALUE))


@some
@given(rows=st.lists(ROW, min_size=1, max_size=4))
@example(rows=[{"video": "a.mp4", "": "x"}])
@example(rows=[{"video": 0.0, "id": float("nan"), "text": True}])
def test_whatever_rows_say_the_table_reads_with_unique_ids_or_is_a_manifest_error(folder, rows):
    try:
        table = ClipTable.read(listed(folder, *rows))
    except ManifestError:
        assert all("video" not in row and "path" not in row for row in rows)
        return
    assert len({clip.id for clip in table}) == len(table)
    for clip in table:
        assert (clip.problem is None) <= (clip.path is not None and clip.path.is_relative_to(folder))
        text = [clip.id, clip.name, clip.caption, clip.where, clip.problem, dict(clip.extra)]
        json.dumps(text, ensure_ascii=False).encode()


# Real clips


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared clips are not there")
def test_the_real_clips_read_without_problems_and_decode():
    table = ClipTable.read(SHARED / "clips.csv")
    assert [clip.problem for clip in table] == [None] * 29
    assert table.duplicates == ()
    for clip in table:
        decoded = decode(clip.path, Sampling(25, 16, 120, 208))
        assert decoded.frames.shape == (25, 120, 208, 3)
        assert decoded.codec == clip.extra["codec"]
        assert (decoded.source_width, decoded.source_height) == (int(clip.extra["width"]), int(clip.extra["height"]))
        assert decoded.source_fps == pytest.approx(float(clip.extra["fps"]), rel=0.02)
        assert decoded.frames.std() > 10
