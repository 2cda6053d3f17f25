"""Manifests to rows: what each kind of file may look like, and what is an error of one row or of the whole."""

import contextlib
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from motive.errors import ManifestError
from motive.video.manifests import CAPTION_FILE_LIMIT, CELL_LIMIT, Row, read_rows

some = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def manifest(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def values(rows: list[Row]) -> list[dict[str, object]]:
    assert [row.problem for row in rows] == [None] * len(rows)
    return [row.values for row in rows]


# Folders


def test_a_folder_gives_every_video_below_it_in_order_of_name_with_the_caption_beside_it(tmp_path):
    for name in ("b.mp4", "a.MKV", "deep/er/c.webm", "notes.txt", "cover.jpg", "d.mp4/e.avi"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    manifest(tmp_path, "b.txt", "\ufeff a ball\nrolls \n")
    manifest(tmp_path, "deep/er/c.txt", "une balle qui roule, là")
    assert values(read_rows(tmp_path)) == [
        {"video": "a.MKV"},
        {"video": "b.mp4", "caption": "a ball\nrolls"},
        {"video": "d.mp4/e.avi"},
        {"video": "deep/er/c.webm", "caption": "une balle qui roule, là"},
    ]


def test_a_caption_file_that_is_not_text_fails_only_its_own_clip(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    manifest(tmp_path, "a.txt", b"\xff\xfe\x00")
    first, second = read_rows(tmp_path)
    assert "a.txt cannot be read" in first.problem
    assert second.problem is None


def test_a_caption_file_too_large_to_be_a_caption_is_not_read(tmp_path):
    (tmp_path / "a.mp4").touch()
    with (tmp_path / "a.txt").open("wb") as file:
        file.truncate(CAPTION_FILE_LIMIT + 1)
    (row,) = read_rows(tmp_path)
    assert "1,048,577 bytes" in row.problem
    assert "caption" not in row.values


def test_a_caption_file_may_not_be_a_link_out_of_the_root(tmp_path):
    manifest(tmp_path, "secret", "a key")
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "a.mp4").touch()
    (folder / "a.txt").symlink_to(tmp_path / "secret")
    (row,) = read_rows(folder)
    assert "leaves the data root" in row.problem
    assert "caption" not in row.values
    (row,) = read_rows(folder, root=tmp_path)
    assert (row.problem, row.values["caption"]) == (None, "a key")


def test_an_empty_folder_has_no_rows(tmp_path):
    assert read_rows(tmp_path) == []


# CSV


def test_csv_may_have_a_byte_order_mark_quoted_commas_quotes_newlines_and_windows_line_ends(tmp_path):
    text = '\ufefffile,caption\r\na.mp4,"left, then ""right"""\r\nb.mp4,"two\r\nlines"\r\n\r\nc.mp4,\r\n'
    assert values(read_rows(manifest(tmp_path, "clips.csv", text))) == [
        {"file": "a.mp4", "caption": 'left, then "right"'},
        {"file": "b.mp4", "caption": "two\r\nlines"},
        {"file": "c.mp4", "caption": ""},
    ]


def test_a_csv_row_with_too_many_cells_fails_alone_and_keeps_what_it_says(tmp_path):
    rows = read_rows(manifest(tmp_path, "clips.csv", "file,caption\na.mp4,red, blue\nb.mp4,green\n"))
    assert "more cells than the header's 2" in rows[0].problem
    assert rows[0].values == {"file": "a.mp4", "caption": "red"}
    assert rows[1] == Row("clips.csv row 2", {"file": "b.mp4", "caption": "green"})


def test_a_csv_row_with_too_few_cells_lacks_those_values(tmp_path):
    assert values(read_rows(manifest(tmp_path, "clips.csv", "file,caption,id\na.mp4,red\n"))) == [
        {"file": "a.mp4", "caption": "red"}
    ]


def test_a_csv_column_without_a_name_is_a_column_like_others(tmp_path):
    """pandas writes its index so."""
    text = ",file,caption\n0,a.mp4,red\n1,b.mp4,blue\n"
    assert [row["file"] for row in values(read_rows(manifest(tmp_path, "clips.csv", text)))] == ["a.mp4", "b.mp4"]


def test_a_csv_cell_may_be_larger_than_the_standard_librarys_limit(tmp_path):
    (row,) = values(read_rows(manifest(tmp_path, "clips.csv", f"file,caption\na.mp4,{'x' * 200_000}\n")))
    assert len(row["caption"]) == 200_000


def test_a_csv_cell_beyond_every_use_is_an_error_with_its_line(tmp_path):
    with pytest.raises(ManifestError, match=r"clips\.csv after line 1: not CSV"):
        read_rows(manifest(tmp_path, "clips.csv", f"file\n{'x' * (CELL_LIMIT + 1)}\n"))


def test_a_csv_quote_left_open_is_an_error(tmp_path):
    with pytest.raises(ManifestError, match="not CSV"):
        read_rows(manifest(tmp_path, "clips.csv", 'file,caption\na.mp4,"red\nb.mp4,blue\n'))


def test_a_csv_file_of_another_encoding_is_an_error(tmp_path):
    with pytest.raises(ManifestError, match="UTF-8"):
        read_rows(manifest(tmp_path, "clips.csv", "file\na.mp4\n".encode("utf-16")))


def test_a_csv_header_alone_and_an_empty_csv_have_no_rows(tmp_path):
    assert read_rows(manifest(tmp_path, "header.csv", "file,caption\n")) == []
    assert read_rows(manifest(tmp_path, "empty.csv", "")) == []


# JSON lines, JSON


def test_a_bad_line_of_jsonl_fails_only_itself(tmp_path):
    lines = ['{"video": "a.mp4"}', '{"video": ', "", "[1]", '"text"', "[" * 100_000, '{"video": "b.mp4"}', "1" * 5000]
    rows = read_rows(manifest(tmp_path, "clips.jsonl", "\r\n".join(lines)))
    assert [(row.where, row.values.get("video"), bool(row.problem)) for row in rows] == [
        ("clips.jsonl line 1", "a.mp4", False),
        ("clips.jsonl line 2", None, True),
        ("clips.jsonl line 4", None, True),
        ("clips.jsonl line 5", None, True),
        ("clips.jsonl line 6", None, True),
        ("clips.jsonl line 7", "b.mp4", False),
        ("clips.jsonl line 8", None, True),
    ]


def test_a_jsonl_value_may_hold_characters_that_end_lines_elsewhere(tmp_path):
    line = json.dumps({"video": "a.mp4", "caption": "one\u2028two\x85three"}, ensure_ascii=False)
    assert values(read_rows(manifest(tmp_path, "clips.jsonl", line)))[0]["caption"] == "one\u2028two\x85three"


def test_half_a_surrogate_pair_fails_its_row_and_becomes_writable_text(tmp_path):
    broken, whole = read_rows(manifest(tmp_path, "clips.jsonl", '{"caption": "\\ud83d"}\n{"caption": "\\ud83d\\ude00"}'))
    assert "not valid Unicode" in broken.problem
    assert broken.values == {"caption": "?"}
    assert whole == Row("clips.jsonl line 2", {"caption": "😀"})


def test_json_is_a_list_of_objects(tmp_path):
    path = manifest(tmp_path, "metadata.json", '[{"file_path": "a.mp4", "text": "red", "fps": 24}, 7]')
    first, second = read_rows(path)
    assert first == Row("metadata.json entry 1", {"file_path": "a.mp4", "text": "red", "fps": 24})
    assert "not a JSON object" in second.problem


@pytest.mark.parametrize("text", ['{"video": "a.mp4"}', "", "[", "null", "[" * 100_000, "1" * 5000])
def test_json_that_is_no_list_is_an_error(tmp_path, text):
    with pytest.raises(ManifestError):
        read_rows(manifest(tmp_path, "metadata.json", text))


# Parquet


def test_parquet_rows_leave_out_what_is_null(tmp_path):
    pq.write_table(pa.table({"video": ["a.mp4", "b.mp4"], "caption": ["red", None], "n": [1, 2]}), tmp_path / "clips.parquet")
    assert values(read_rows(tmp_path / "clips.parquet")) == [
        {"video": "a.mp4", "caption": "red", "n": 1},
        {"video": "b.mp4", "n": 2},
    ]


def test_a_cut_off_parquet_file_is_an_error(tmp_path):
    pq.write_table(pa.table({"video": [f"{n}.mp4" for n in range(100)]}), tmp_path / "clips.parquet")
    data = (tmp_path / "clips.parquet").read_bytes()
    with pytest.raises(ManifestError, match="Parquet"):
        read_rows(manifest(tmp_path, "clips.parquet", data[: len(data) // 2]))


@some
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_damaged_parquet_either_reads_or_is_an_error(tmp_path, place, value):
    pq.write_table(pa.table({"video": [f"{n}é.mp4" for n in range(20)]}), tmp_path / "clips.parquet")
    data = bytearray((tmp_path / "clips.parquet").read_bytes())
    data[int(place * len(data))] = value
    with contextlib.suppress(ManifestError):
        read_rows(manifest(tmp_path, "clips.parquet", bytes(data)))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([2**62], pa.timestamp("ms")),
        pa.array([2**62 + 1], pa.timestamp("ns")),
        pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")]),
    ],
    ids=["year 146 million", "nanoseconds", "no Unicode"],
)
def test_parquet_values_that_python_cannot_hold_are_an_error(tmp_path, column):
    pq.write_table(pa.table({"made": column}), tmp_path / "clips.parquet")
    with pytest.raises(ManifestError, match="Parquet"):
        read_rows(tmp_path / "clips.parquet")


# Two lists


def test_videos_txt_goes_line_by_line_with_prompts_txt(tmp_path):
    manifest(tmp_path, "prompts.txt", "\ufeffred\n\nblue\x85and\u2028green\x0cthen\n")
    assert values(read_rows(manifest(tmp_path, "videos.txt", "a.mp4\r\nb.mp4\r\nc.mp4"))) == [
        {"video": "a.mp4", "caption": "red"},
        {"video": "b.mp4", "caption": ""},
        {"video": "c.mp4", "caption": "blue\x85and\u2028green\x0cthen"},
    ]


def test_two_lists_of_different_lengths_are_an_error(tmp_path):
    manifest(tmp_path, "prompts.txt", "red\n")
    with pytest.raises(ManifestError, match=r"2 videos but 1 lines in prompts\.txt"):
        read_rows(manifest(tmp_path, "videos.txt", "a.mp4\nb.mp4\n"))


def test_a_list_without_prompts_beside_it_is_an_error(tmp_path):
    with pytest.raises(ManifestError, match=r"prompts\.txt"):
        read_rows(manifest(tmp_path, "videos.txt", "a.mp4\n"))
    with pytest.raises(ManifestError, match=r"videos\.txt"):
        read_rows(manifest(tmp_path, "prompts.txt", "red\n"))


# Anything


def test_a_source_that_is_missing_or_of_another_kind_is_an_error(tmp_path):
    with pytest.raises(ManifestError, match="no such file or folder"):
        read_rows(tmp_path / "missing.csv")
    with pytest.raises(ManifestError, match=r"not a manifest.*\.csv, \.json, \.jsonl, \.parquet, \.txt"):
        read_rows(manifest(tmp_path, "clips.xlsx", "x"))
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(ManifestError, match="no such file or folder"):
        read_rows(tmp_path / "pipe.csv")


TABLE_LIKE = st.text(st.sampled_from('ab,"\n\r\x00;{}[]:\\u\ud7ff\ufeff😀 1.'), max_size=60).map(str.encode)


@some
@given(
    suffix=st.sampled_from([".csv", ".jsonl", ".json", ".parquet", ".txt"]),
    data=st.binary(max_size=200) | st.text(max_size=60).map(str.encode) | TABLE_LIKE,
)
@example(suffix=".csv", data=b'a"b,"c"d\n1')
@example(suffix=".csv", data=b"a\rb\n\x00,\n")
@example(suffix=".json", data=b"[NaN, 1e999, -0]")
def test_any_bytes_either_read_or_raise_manifest_error(tmp_path, suffix, data):
    manifest(tmp_path, "prompts.txt", "red\n")
    path = manifest(tmp_path, f"videos{suffix}", data)
    try:
        rows = read_rows(path)
    except ManifestError as error:
        assert str(path) in str(error)
    else:
        assert all(isinstance(row, Row) and all(isinstance(name, str) for name in row.values) for row in rows)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@some
@given(entries=st.lists(JSON, max_size=5))
def test_jsonl_and_json_with_the_same_entries_give_the_same_rows(tmp_path, entries):
    lines = read_rows(manifest(tmp_path, "clips.jsonl", "\n".join(map(json.dumps, entries))))
    whole = read_rows(manifest(tmp_path, "clips.json", json.dumps(entries)))
    assert [(repr(row.values), row.problem) for row in lines] == [(repr(row.values), row.problem) for row in whole]
    assert [row.problem is None for row in whole] == [isinstance(entry, dict) for entry in entries]
