"""Tables that hold videos, Parquet and saved datasets: what they give, and what hostile ones cost."""

import io
import json
import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motive.errors import ClipError, ManifestError
from motive.video import columnar, isolated, rows
from motive.video.remote import Limits
from motive.video.rows import Row
from motive.video.sources import Opener
from motive.video.table import Clip, ClipTable
from motive.video.table_rows import parquet_rows, saved_rows
from tests.video.memory import peak
from tests.video.packing import MEDIA, parquet, saved, table

some = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

CLIPS = {name: (f"bytes of {name}".encode() * 100, f"a ball, {name}") for name in ("one", "two", "three")}


def written(path: Path, columns: dict[str, Any], **how: Any) -> Path:
    pq.write_table(pa.table(columns), path, **how)
    return path


def only(path: Path, **how: Any) -> Clip:
    (clip,) = ClipTable.read(path, **how)
    return clip


def told(line: str) -> None: ...


def rows_of(path: Path) -> list[Row]:
    """The rows of a Parquet file, read in this process, whose memory and limits are looked at."""
    return list(parquet_rows(path, ["video"], told))


# What tables give


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()])
def test_a_column_of_bytes_of_any_kind_holds_videos(tmp_path, kind) -> None:
    clip = only(written(tmp_path / "clips.parquet", {"video": pa.array([b"abcd"]).cast(kind), "text": ["x"]}))
    assert (clip.problem, clip.name, clip.caption) == (None, "clips.parquet row 1", "x")
    with Opener().local_copy(clip.source, clip.sha256) as path:
        assert path.read_bytes() == b"abcd"


def test_a_row_with_a_path_alone_is_a_file_below_the_root(tmp_path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"a")
    cells = [
        {"bytes": None, "path": "a.mp4"},
        {"bytes": None, "path": "/etc/passwd"},
        {"bytes": b"x", "path": "/etc/passwd"},
        None,
    ]
    path = written(tmp_path / "clips.parquet", {"video": pa.array(cells, MEDIA)})
    file, outside, held, nothing = ClipTable.read(path)
    assert (file.path, file.problem) == (tmp_path / "a.mp4", None)
    assert "leaves the data root" in outside.problem
    assert (held.problem, held.name, held.path) == (None, "/etc/passwd", None)
    assert nothing.problem == "names no video"


def test_the_column_of_videos_may_have_any_name_and_other_files_are_not_carried_along(tmp_path) -> None:
    columns = {"clip": pa.array([b"video"]), "thumb": pa.array([b"x"]), "tags": [["a"]], "n": [7], "text": ["x"]}
    path = written(tmp_path / "clips.parquet", columns)
    found = ClipTable.read(path, columns={"video": "clip"})
    assert [(clip.problem, clip.extra) for clip in found] == [(None, {"n": 7})]
    assert found.notes == ("clips.parquet: neither text nor numbers, and not carried along: tags, thumb",)


def test_several_captions_in_one_cell_are_no_text(tmp_path) -> None:
    assert "its caption is not text" in only(written(tmp_path / "c.parquet", {"video": ["a"], "caption": [["a", "b"]]})).problem


def test_a_promised_hash_is_checked_for_bytes_in_tables_too(tmp_path) -> None:
    clip = only(written(tmp_path / "c.parquet", {"video": pa.array([b"x"]), "sha256": ["0" * 64]}))
    assert "the file was changed or damaged" in clip.problem


def test_a_video_above_the_limit_is_refused_when_it_is_asked_for(tmp_path) -> None:
    clip = only(written(tmp_path / "c.parquet", {"video": pa.array([b"x" * 2000])}))
    small = Opener(Limits(max_bytes=1000))
    with pytest.raises(ClipError, match=r"the limit is fetch\.max_bytes"), small.local_copy(clip.source, clip.sha256):
        pass


@pytest.mark.parametrize("kind", ["parquet", "saved"])
def test_a_table_that_became_another_is_its_clips_error(tmp_path, kind) -> None:
    place = parquet(tmp_path / "c.parquet", CLIPS) if kind == "parquet" else saved(tmp_path / "set", CLIPS)
    clip = next(iter(ClipTable.read(place)))
    file = place if kind == "parquet" else place / "data-00000-of-00001.arrow"
    others = (
        {"video": [1, 2, 3]},
        {"video": ["a", "b", "c"]},
        {"other": pa.array([b"x"] * 3)},
        {"video": pa.array([], pa.binary())},
    )
    for columns in others:
        if kind == "parquet":
            written(file, columns)
        else:
            with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, pa.table(columns).schema) as stream:
                stream.write_table(pa.table(columns))
        with pytest.raises(ClipError), Opener().local_copy(clip.source, clip.sha256):
            pass
    file.write_bytes(b"nothing")
    with pytest.raises(ClipError, match="not readable as"), Opener().local_copy(clip.source, clip.sha256):
        pass
    file.unlink()
    with pytest.raises(ClipError), Opener().local_copy(clip.source, clip.sha256):
        pass


# Saved datasets


def test_a_dataset_of_several_splits_is_its_train_split_and_says_so(tmp_path) -> None:
    (tmp_path / "dataset_dict.json").write_text("{}")
    saved(tmp_path / "train", CLIPS)
    saved(tmp_path / "test", {"x": (b"x", "x")})
    found = ClipTable.read(tmp_path)
    assert len(found) == 3
    assert found.notes == (f"{tmp_path}: of its splits test, train the one read is train",)
    (tmp_path / "train").rename(tmp_path / "other")
    with pytest.raises(ManifestError, match="give the folder of one of them: other, test"):
        ClipTable.read(tmp_path)


@pytest.mark.parametrize(
    "state",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        json.dumps({"_data_files": [{"filename": "../secret.arrow"}]}),
        json.dumps({"_data_files": [{"filename": "/etc/passwd"}]}),
        json.dumps({"_data_files": [{"filename": "link.arrow"}]}),
        json.dumps({"_data_files": [{"filename": "gone.arrow"}]}),
        json.dumps({"_data_files": [{"filename": 7}]}),
        json.dumps({"_data_files": [{"filename": "state.json"}]}),
        json.dumps({"_data_files": [{"filename": ".."}]}),
    ],
)
def test_a_saved_dataset_that_names_other_files_or_makes_no_sense_is_an_error(tmp_path, state) -> None:
    place = saved(tmp_path / "set", CLIPS)
    (place / "data-00000-of-00001.arrow").rename(tmp_path / "secret.arrow")
    (place / "link.arrow").symlink_to(tmp_path / "secret.arrow")
    (place / "state.json").write_text(state)
    with pytest.raises(ManifestError, match=r"state\.json"):
        ClipTable.read(place)


@some
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), count=st.integers(1, 8))
def test_a_damaged_arrow_file_gives_clips_or_an_error(tmp_path, place, value, count) -> None:
    file = saved(tmp_path / "set", CLIPS) / "data-00000-of-00001.arrow"
    content = bytearray(file.read_bytes())
    begin = int(place * len(content))
    content[begin : begin + count] = bytes([value]) * len(content[begin : begin + count])
    file.write_bytes(content)
    read_all(tmp_path / "set")


def read_all(place: Path) -> None:
    """Read a table and every clip's bytes; nothing but MotiveErrors may come of it."""
    try:
        found = ClipTable.read(place)
    except ManifestError:
        return
    opener = Opener()
    for clip in found:
        json.dumps([clip.id, clip.name, clip.caption, clip.problem, clip.where], ensure_ascii=False).encode()
        if clip.problem is None:
            with opener.local_copy(clip.source, clip.sha256) as path:
                assert path.is_file()


# What is damaged, and what costs


@some
@given(
    place=st.floats(0, 1, exclude_max=True),
    value=st.integers(0, 255),
    count=st.integers(1, 8),
    kind=st.sampled_from(["struct", "binary"]),
)
def test_damaged_parquet_with_videos_gives_clips_or_an_error(tmp_path, place, value, count, kind) -> None:
    content = bytearray(parquet(tmp_path / "clips.parquet", CLIPS, kind).read_bytes())
    begin = int(place * len(content))
    content[begin : begin + count] = bytes([value]) * len(content[begin : begin + count])
    (tmp_path / "clips.parquet").write_bytes(content)
    try:
        found = ClipTable.read(tmp_path / "clips.parquet")
    except ManifestError:
        return
    opener = Opener()
    for clip in found:
        if clip.problem is None:
            with opener.local_copy(clip.source, clip.sha256) as path:
                assert path.is_file()


def test_a_text_that_stands_in_a_million_rows_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch) -> None:
    """Less than a megabyte on the disk that would be ten gigabytes in memory."""
    monkeypatch.setattr("motive.video.table_rows.TEXT_LIMIT", 1 << 28)
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 1_000_000, pa.int32()), ["x" * 10_000])
    path = written(tmp_path / "c.parquet", {"video": long, "n": [0] * 1_000_000})
    assert path.stat().st_size < 1 << 20
    with peak() as grown, pytest.raises(ManifestError, match="its text is more than"):
        rows_of(path)
    assert grown() < 1000


def test_a_cell_longer_than_any_caption_is_its_rows_problem(tmp_path) -> None:
    path = written(tmp_path / "c.parquet", {"video": ["a.mp4", "b.mp4"], "text": ["x" * (rows.CELL_LIMIT + 1), "y"]})
    assert "its text has more than 16,777,216 characters" in next(iter(ClipTable.read(path))).problem


def test_a_column_that_unpacks_to_gigabytes_is_refused_before_it_is_unpacked(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(columnar, "CHUNK_LIMIT", 1 << 26)
    columns = {"video": ["a"] * 8, "text": [" " * (1 << 24)] * 8}
    path = written(tmp_path / "c.parquet", columns, compression="zstd", use_dictionary=False, write_statistics=False)
    assert path.stat().st_size < 1 << 20
    with peak() as grown, pytest.raises(ManifestError, match=r"column 'text' takes .* bytes in one row group"):
        rows_of(path)
    assert grown() < 32


def test_more_rows_or_columns_than_anyone_has_are_refused(tmp_path, monkeypatch) -> None:
    path = written(tmp_path / "c.parquet", {f"c{n}": [1] for n in range(columnar.COLUMN_LIMIT + 1)})
    with pytest.raises(ManifestError, match="has 1,001 columns"):
        rows_of(path)
    monkeypatch.setattr("motive.video.table_rows.ROW_LIMIT", 10)
    with pytest.raises(ManifestError, match="declares 11 rows"):
        rows_of(written(path, {"video": ["a"] * 11}))
    place = saved(tmp_path / "set", {str(n): (b"x", str(n)) for n in range(11)})
    with pytest.raises(ManifestError, match="has more than 10 rows"):
        list(saved_rows(place, ["video"], told))


def test_a_footer_that_lies_about_its_length_is_an_error(tmp_path) -> None:
    content = parquet(tmp_path / "c.parquet", CLIPS).read_bytes()
    for length in (0, 1, len(content), 2**31 - 1, 2**32 - 1):
        (tmp_path / "c.parquet").write_bytes(content[:-8] + struct.pack("<I", length) + b"PAR1")
        with pytest.raises(ManifestError, match="Parquet"):
            ClipTable.read(tmp_path / "c.parquet")


def test_a_table_that_kills_its_reader_is_an_error_and_the_next_one_is_read(tmp_path, monkeypatch) -> None:
    """As pyarrow 26 dies of a Parquet file whose statistics do not fit its columns; the fuzzer found one."""
    parquet(tmp_path / "c.parquet", CLIPS)
    isolated.stop()
    monkeypatch.setattr(isolated, "CHILD", "import os, sys; sys.stdin.readline(); os.abort()")
    with pytest.raises(ManifestError, match=r"c\.parquet: damaged or hostile: the process that read it died of it \(SIGABRT\)"):
        ClipTable.read(tmp_path / "c.parquet")
    monkeypatch.undo()
    assert len(ClipTable.read(tmp_path / "c.parquet")) == 3


def test_a_table_on_which_its_reader_stands_still_is_given_up(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(isolated, "PATIENCE", 0.05)
    isolated.stop()  # the next one has to be started, which takes longer
    with pytest.raises(ManifestError, match=r"made no progress in 0\.05 s"):
        ClipTable.read(parquet(tmp_path / "c.parquet", CLIPS))
    monkeypatch.undo()
    assert len(ClipTable.read(tmp_path / "c.parquet")) == 3


def test_two_columns_of_one_name_are_an_error(tmp_path) -> None:
    pq.write_table(pa.table([pa.array(["a"]), pa.array(["b"])], names=["video", "video"]), tmp_path / "c.parquet")
    with pytest.raises(ManifestError, match="two columns of one name"):
        ClipTable.read(tmp_path / "c.parquet")


def test_an_encrypted_or_nested_beyond_sense_table_is_an_error(tmp_path) -> None:
    kind: pa.DataType = pa.string()
    for _ in range(200):
        kind = pa.struct([("a", kind)])
    sink = io.BytesIO()
    pq.write_table(pa.table({"video": pa.array([None], kind)}), sink)
    (tmp_path / "c.parquet").write_bytes(sink.getvalue())
    with pytest.raises(ManifestError):
        ClipTable.read(tmp_path / "c.parquet")


COLUMN = st.one_of(
    st.lists(st.none() | st.binary(max_size=20), min_size=3, max_size=3).map(lambda v: pa.array(v, pa.binary())),
    st.lists(st.none() | st.text(max_size=10), min_size=3, max_size=3).map(lambda v: pa.array(v, pa.string())),
    st.lists(st.none() | st.floats(), min_size=3, max_size=3).map(lambda v: pa.array(v, pa.float64())),
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=3).map(
        lambda v: pa.array(v, pa.timestamp("us"))
    ),
    st.lists(
        st.none()
        | st.fixed_dictionaries({"bytes": st.none() | st.binary(max_size=20), "path": st.none() | st.text(max_size=10)}),
        min_size=3,
        max_size=3,
    ).map(lambda v: pa.array(v, MEDIA)),
    st.lists(st.lists(st.text(max_size=3), max_size=2), min_size=3, max_size=3).map(
        lambda v: pa.array(v, pa.list_(pa.string()))
    ),
)


@some
@given(
    columns=st.dictionaries(
        st.sampled_from(["video", "caption", "id", "sha256", "extra", "path", "mp4", ""]), COLUMN, min_size=1
    )
)
def test_whatever_columns_hold_the_table_reads_or_is_a_manifest_error(tmp_path, columns) -> None:
    pq.write_table(pa.table(columns), tmp_path / "c.parquet")
    read_all(tmp_path / "c.parquet")


def test_the_tests_tables_are_what_the_library_writes(tmp_path) -> None:
    """Of a struct of bytes and path, as `datasets.Video(decode=False)` is stored."""
    datasets = pytest.importorskip("datasets")
    kinds = datasets.Features({"video": datasets.Video(decode=False), "caption": datasets.Value("string")})
    rows_ = [{"video": {"bytes": content, "path": f"{name}.mp4"}, "caption": said} for name, (content, said) in CLIPS.items()]
    theirs = datasets.Dataset.from_list(rows_, features=kinds)
    assert theirs.data.table.schema.field("video").type == table(CLIPS).schema.field("video").type
    theirs.save_to_disk(tmp_path / "theirs")
    datasets.DatasetDict({"train": theirs}).save_to_disk(tmp_path / "split")
    theirs.to_parquet(tmp_path / "theirs.parquet")
    expected = [(clip.key, clip.caption) for clip in ClipTable.read(saved(tmp_path / "ours", CLIPS))]
    for name in ("theirs", "split", "theirs.parquet"):
        assert [(clip.key, clip.caption) for clip in ClipTable.read(tmp_path / name)] == expected
