"""The same clips in every form that a pool may come in are the same clips, and each gives its bytes as a local file."""

import hashlib
from pathlib import Path

import pytest

from motive.errors import ClipError
from motive.video.sources import Cell, File, Opener, Sample, Stretch, parse_source
from motive.video.table import ClipTable
from tests.video.packing import folder, manifest, parquet, saved, shard

CLIPS = {name: (f"bytes of {name}".encode() * 1000, f"a ball, {name}") for name in ("one", "two", "sub_three", "four", "five")}

FORMS = [
    "folder",
    "jsonl",
    "tar",
    "tar with json",
    "two tars",
    "pattern",
    "folder of tars",
    "struct",
    "binary",
    "saved",
    "split",
]


def make(form: str, place: Path, clips=CLIPS) -> Path:
    """A pool of the clips, in one of `FORMS`."""
    if form == "folder":
        return folder(place / "clips", clips)
    if form == "jsonl":
        return manifest(folder(place / "clips", clips) / "clips.jsonl", clips)
    if form in ("tar", "tar with json"):
        return shard(place / "clips.tar", clips, "txt" if form == "tar" else "json")
    if form in ("two tars", "pattern", "folder of tars"):
        (place / "shards").mkdir()
        for number in range(2):
            part = dict(list(clips.items())[number * 3 : number * 3 + 3])
            shard(place / "shards" / f"s-{number:03}.tar", part)
        return place / "shards" / {"two tars": "s-{000..001}.tar", "pattern": "*.tar"}.get(form, "")
    if form in ("struct", "binary"):
        return parquet(place / "clips.parquet", clips, form)
    if form == "saved":
        return saved(place / "clips", clips)
    (place / "dict").mkdir()
    (place / "dict" / "dataset_dict.json").write_text('{"splits": ["train"]}')
    saved(place / "dict" / "train", clips)
    return place / "dict"


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_clips_under_the_same_ids(tmp_path, form) -> None:
    table = ClipTable.read(make(form, tmp_path))
    assert [clip.problem for clip in table] == [None] * 5
    expected = {hashlib.sha256(content).hexdigest(): caption for content, caption in CLIPS.values()}
    assert {clip.sha256: clip.caption for clip in table} == expected
    (tmp_path / "other").mkdir()
    assert {clip.key: clip.id for clip in table} == {
        clip.key: clip.id for clip in ClipTable.read(make("folder", tmp_path / "other"))
    }
    assert (table.duplicates, table.notes) == ((), ())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("order", ["forwards", "backwards", "twice"])
def test_every_clip_gives_its_bytes_as_a_local_file_in_whatever_order_it_is_asked_for(tmp_path, form, order) -> None:
    clips = list(ClipTable.read(make(form, tmp_path)))
    opener = Opener()
    turns = {
        "forwards": clips,
        "backwards": clips[::-1],
        "twice": [one for pair in zip(clips, clips, strict=True) for one in pair],
    }
    for clip in turns[order]:
        with opener.local_copy(parse_source(str(clip.source)), clip.sha256) as path:
            assert hashlib.sha256(path.read_bytes()).hexdigest() == clip.sha256
        assert path.exists() == (clip.path is not None)


@pytest.mark.parametrize("form", FORMS)
def test_a_video_under_two_captions_is_two_clips_and_a_repeated_row_is_one(tmp_path, form) -> None:
    content = CLIPS["one"][0]
    clips = {"a": (content, "a ball"), "b": (content, "it rolls"), "c": (content, "a ball")}
    table = ClipTable.read(make(form, tmp_path, clips))
    assert sorted(clip.caption for clip in table) == ["a ball", "it rolls"]
    assert len({clip.id for clip in table}) == 2
    kept, left = (line.split(": ")[-1] for line in table.duplicates)
    assert (kept, left) == ("both kept", "left out")


@pytest.mark.parametrize("form", ["tar", "struct", "saved"])
def test_a_moved_archive_holds_the_same_clips(tmp_path, form) -> None:
    place = make(form, tmp_path)
    before = {clip.id for clip in ClipTable.read(place)}
    (tmp_path / "elsewhere").mkdir()
    moved = place.rename(tmp_path / "elsewhere" / place.name)
    assert {clip.id for clip in ClipTable.read(moved)} == before


@pytest.mark.parametrize("form", ["tar", "struct", "binary", "saved"])
def test_an_archive_that_changed_since_it_was_read_is_its_clips_error(tmp_path, form) -> None:
    place = make(form, tmp_path)
    clip = next(iter(ClipTable.read(place)))
    make(form, tmp_path, {name: (content[::-1], said) for name, (content, said) in CLIPS.items()})
    with pytest.raises(ClipError, match="has changed: its sha256 is"), Opener().local_copy(clip.source, clip.sha256):
        pass
    make(form, tmp_path, {})
    with pytest.raises(ClipError), Opener().local_copy(clip.source, clip.sha256):
        pass


@pytest.mark.parametrize(
    "source",
    [
        File("/data/a b#c?.mp4"),
        File("https://example.org/a.mp4?sign=x%20y&z#f"),
        Stretch("/data/x#y&z=1.tar", 512, 7, "a&b=ü #.mp4"),
        Stretch("s3://bucket/shard 1.tar", 1 << 40, 0, ""),
        Cell("/data/t%20.parquet", 3, "video#1"),
        Sample("hf://datasets/a/b@c?config=d&split=e", 2, 5, "mp4"),
    ],
)
def test_a_source_is_written_and_read_back(source) -> None:
    assert parse_source(str(source)) == source


@pytest.mark.parametrize("text", ["tar:", "tar:x#offset=a&size=1&name=b", "table:x#row=1", "dataset:#shard=1"])
def test_a_source_that_makes_no_sense_is_a_clip_error(text) -> None:
    with pytest.raises(ClipError, match="names no place"):
        parse_source(text)


def test_a_clip_without_a_source_is_a_clip_error() -> None:
    with pytest.raises(ClipError, match="names no video"), Opener().local_copy(None, None):
        pass
