"""WebDataset tars: what they give, what is refused, and what hostile ones cost."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motive.errors import ManifestError
from motive.video import tars
from motive.video.remote import Limits
from motive.video.sources import Opener
from motive.video.table import Clip, ClipTable
from tests.video.memory import peak
from tests.video.packing import shard, tar

some = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info


def problems(path: Path, **how: Any) -> dict[str, str | None]:
    return {clip.name: clip.problem for clip in ClipTable.read(path, **how)}


def only(path: Path) -> Clip:
    (clip,) = ClipTable.read(path)
    return clip


# What tars give


def test_a_clip_is_a_video_with_the_text_and_values_of_its_name(tmp_path) -> None:
    told = json.dumps({"caption": "of the json", "id": "x/1", "fps": 24, "tags": ["a"]}).encode()
    path = tar(tmp_path / "s.tar", [("a/b.txt", b"\xef\xbb\xbf of the text\n"), ("a/b.mp4", b"video"), ("a/b.json", told)])
    clip = only(path)
    assert (clip.name, clip.caption, clip.id, clip.problem) == ("s.tar/a/b.mp4", "of the text", "x/1", None)
    assert clip.extra == {"caption": "of the json", "fps": 24, "tags": ["a"]}
    assert only(tar(path, [("a.mp4", b"video"), ("a.json", told)])).caption == "of the json"


def test_names_may_hold_dots_spaces_and_any_script_and_start_with_a_dot_and_slash(tmp_path) -> None:
    names = ["clip_1.5_x", "clip_1.7_y", "a b", "été 😀", "x" * 180, "./deep/er/c"]
    path = tar(tmp_path / "s.tar", [entry for n in names for entry in ((f"{n}.mp4", n.encode()), (f"{n}.txt", n.encode()))])
    for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        tar(path, [entry for n in names for entry in ((f"{n}.mp4", n.encode()), (f"{n}.txt", n.encode()))], kind)
        table = ClipTable.read(path)
        assert [(clip.name, clip.caption) for clip in table] == [(f"s.tar/{n.removeprefix('./')}.mp4", n) for n in names]
        for clip in table:
            with Opener().local_copy(clip.source, clip.sha256) as copy:
                assert copy.read_bytes() == clip.caption.encode()


def test_members_of_one_name_need_not_stand_together(tmp_path) -> None:
    path = tar(tmp_path / "s.tar", [("a.mp4", b"a"), ("b.mp4", b"b"), ("b.txt", b"of b"), ("a.txt", b"of a")])
    assert [clip.caption for clip in ClipTable.read(path)] == ["of a", "of b"]


def test_a_caption_that_is_no_text_fails_its_own_clip(tmp_path) -> None:
    bad = {"a.txt": b"\xff\xfe", "b.json": b"{", "c.json": b"[" * 100_000, "d.json": b"[1]", "e.json": b'{"x": "\\ud83d"}'}
    videos = [(name[0] + ".mp4", name.encode()) for name in bad]
    path = tar(tmp_path / "s.tar", [*videos, *bad.items(), ("f.mp4", b"f"), ("f.txt", b"good")])
    found = problems(path)
    assert found.pop("s.tar/f.mp4") is None
    assert all("its member" in problem for problem in found.values())
    assert len(found) == 5


def test_a_member_given_twice_is_its_clips_problem(tmp_path) -> None:
    path = tar(tmp_path / "s.tar", [("a.mp4", b"one"), ("a.mp4", b"two"), ("b.mp4", b"b")])
    assert problems(path) == {"s.tar/a.mp4": "its tar holds two members called 'a.mp4'", "s.tar/b.mp4": None}


def test_a_tar_without_videos_holds_no_clips(tmp_path) -> None:
    with pytest.raises(ManifestError, match="holds no clips"):
        ClipTable.read(tar(tmp_path / "s.tar", [("a.txt", b"caption")]))


# What is refused


def test_links_devices_and_sparse_files_are_refused_and_told(tmp_path) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_text("secret")
    with tarfile.open(tmp_path / "s.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(member("good.mp4", size=4), io.BytesIO(b"good"))
        archive.addfile(member("soft.mp4", tarfile.SYMTYPE, link=str(secret)))
        archive.addfile(member("hard.mp4", tarfile.LNKTYPE, link="../secret.mp4"))
        archive.addfile(member("deaf.mp4", tarfile.FIFOTYPE))
        archive.addfile(member("null.mp4", tarfile.CHRTYPE))
        archive.addfile(member("what.mp4", b"V"))
        archive.addfile(member("folder.mp4", tarfile.DIRTYPE))
        archive.addfile(member("last.mp4", size=4), io.BytesIO(b"last"))
    assert problems(tmp_path / "s.tar") == {
        "s.tar/good.mp4": None,
        "s.tar/last.mp4": None,
        "s.tar/soft.mp4": "is a link in a tar, which is refused",
        "s.tar/hard.mp4": "is a link in a tar, which is refused",
        "s.tar/deaf.mp4": "is a device or pipe in a tar, which is refused",
        "s.tar/null.mp4": "is a device or pipe in a tar, which is refused",
        "s.tar/what.mp4": "is of an unknown kind in a tar, which is refused",
    }
    assert all(clip.source is None or clip.problem is None for clip in ClipTable.read(tmp_path / "s.tar"))


@pytest.mark.parametrize("name", ["../up.mp4", "/etc/cron.d/x.mp4", "a/../../b.mp4", "..\\up.mp4", "a/..", "C:\\x.mp4"])
def test_names_that_lead_out_are_refused_and_nothing_is_written(tmp_path, name) -> None:
    (tmp_path / "in").mkdir()
    path = tar(tmp_path / "in" / "s.tar", [(name, b"x"), ("good.mp4", b"good")])
    found = problems(path)
    assert found.pop("s.tar/good.mp4") is None
    assert list(found.values()) == ["its name leaves the tar, which is refused"]
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["in", "s.tar"]


class Payload:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return open, (str(self.place), "w")


@pytest.mark.parametrize("suffix", ["pkl", "pyd", "pickle", "pth", "pt", "npy", "npz"])
def test_pickles_are_ignored_never_loaded_and_told(tmp_path, suffix) -> None:
    payload = pickle.dumps(Payload(tmp_path / "ran"))
    table = ClipTable.read(tar(tmp_path / "s.tar", [("a.mp4", b"a"), (f"a.{suffix}", payload)]))
    assert [clip.problem for clip in table] == [None]
    assert table.notes == ("s.tar: 1 pickles and arrays are ignored; they are never loaded",)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("name", ["s.tar", "s.tar.gz", "s.tgz"])
def test_a_compressed_tar_is_refused(tmp_path, pack, name) -> None:
    (tmp_path / name).write_bytes(pack(shard(tmp_path / "x.tar", {"a": (b"a", "b")}).read_bytes()))
    with pytest.raises(ManifestError, match=r"is compressed.*unpack it"):
        ClipTable.read(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"x", b"not a tar" * 100, b"x" * 5000, b"\xff" * 512])
def test_what_is_no_tar_is_an_error(tmp_path, content) -> None:
    (tmp_path / "s.tar").write_bytes(content)
    with pytest.raises(ManifestError, match=r"s\.tar: not a tar"):
        ClipTable.read(tmp_path / "s.tar")


def test_in_a_folder_a_tar_that_cannot_be_read_or_lies_elsewhere_fails_alone(tmp_path) -> None:
    place = tmp_path / "pool"
    place.mkdir()
    shard(place / "a.tar", {"x": (b"x", "of x")})
    (place / "b.tar").write_bytes(b"nothing")
    (place / "c.tar").symlink_to(shard(tmp_path / "outside.tar", {"y": (b"y", "of y")}))
    (place / "d.mp4").write_bytes(b"d")
    found = problems(place)
    assert (found["a.tar/x.mp4"], found["d.mp4"]) == (None, None)
    assert "not a tar" in found["b.tar"]
    assert "leaves the data root" in found["c.tar"]
    assert problems(place, root=tmp_path)["c.tar/y.mp4"] is None


# What is damaged


def test_a_tar_that_is_cut_off_gives_the_clips_before_and_tells(tmp_path) -> None:
    path = shard(tmp_path / "s.tar", {name: (name.encode() * 3000, "x") for name in "abc"})
    content = path.read_bytes()
    for place, whole in ((len(content) // 2, ["a"]), (1024 * 12, ["a", "b"])):
        path.write_bytes(content[: place // 512 * 512])
        found = problems(path)
        assert [name for name, problem in found.items() if problem is None][: len(whole)] == [f"s.tar/{n}.mp4" for n in whole]
        assert any(problem and "what follows is not read" in problem for problem in found.values())


def test_a_tar_without_its_end_mark_is_told_to_be_cut_off(tmp_path) -> None:
    path = shard(tmp_path / "s.tar", {"a": (b"a", "x")})
    path.write_bytes(path.read_bytes()[: 4 * 512])
    assert problems(path) == {"s.tar/a.mp4": None, "s.tar": "its tar ends without its end mark: cut off, perhaps; "
                              "what follows is not read"}  # fmt: skip


def test_a_size_that_lies_is_noticed(tmp_path) -> None:
    first = member("a.mp4", size=1).tobuf() + b"a".ljust(512, b"\0")
    for lie in (10**6, 8**11 - 1, 2**62):
        (tmp_path / "s.tar").write_bytes(first + member("b.mp4", size=lie).tobuf(tarfile.GNU_FORMAT) + bytes(1024))
        found = problems(tmp_path / "s.tar")
        assert found["s.tar/a.mp4"] is None
        assert "is cut off" in found["s.tar"]


@pytest.mark.parametrize(
    "fields",
    [
        b"30 path=a.mp4\n",
        b"x path=a.mp4\n",
        b"0 path=a.mp4\n",
        b"99999999999999999999 path=a\n",
        b"\xc2\xb2 path=a\n",
        b"16 size=" + b"9" * 30 + b"\n",
        b"39 size=" + b"9" * 30 + b"\n",
        b"11 size=-1\n",
        b"",
        b"12 a=b\n",
    ],
)
def test_an_extended_header_that_lies_is_an_error_or_harmless(tmp_path, fields) -> None:
    header = member("h", tarfile.XHDTYPE, len(fields)).tobuf() + fields.ljust(-(-len(fields) // 512) * 512, b"\0")
    (tmp_path / "s.tar").write_bytes(header + member("a.mp4", size=1).tobuf() + b"a".ljust(512, b"\0") + bytes(1024))
    try:
        found = problems(tmp_path / "s.tar")
    except ManifestError as error:
        assert "not a tar" in str(error)
    else:
        assert found == {"s.tar/a.mp4": None}


def test_an_extended_sparse_file_and_a_global_size_are_refused(tmp_path) -> None:
    def after(kind: bytes, fields: bytes) -> bytes:
        head = member("h", kind, len(fields)).tobuf() + fields.ljust(512, b"\0")
        return head + member("a.mp4", size=1).tobuf() + b"a".ljust(512, b"\0") + bytes(1024)

    (tmp_path / "s.tar").write_bytes(after(tarfile.XHDTYPE, b"22 GNU.sparse.major=1\n"))
    assert problems(tmp_path / "s.tar") == {"s.tar/a.mp4": "is a sparse file in a tar, which is refused"}
    (tmp_path / "s.tar").write_bytes(after(tarfile.XGLTYPE, b"10 size=0\n"))
    with pytest.raises(ManifestError, match="gives all its members one name or size"):
        ClipTable.read(tmp_path / "s.tar")


def test_a_sparse_file_of_gnu_tar_is_passed_over_with_its_map(tmp_path) -> None:
    head = bytearray(member("hole.mp4", tarfile.GNUTYPE_SPARSE, 512).tobuf(tarfile.GNU_FORMAT))
    head[482] = 1
    head[148:156] = b" " * 8
    head[148:156] = f"{sum(head):06o}\0 ".encode()
    more = bytearray(512)
    more[504] = 1
    good = member("a.mp4", size=1).tobuf() + b"a".ljust(512, b"\0")
    (tmp_path / "s.tar").write_bytes(bytes(head) + bytes(more) + bytes(512) + b"d" * 512 + good + bytes(1024))
    assert problems(tmp_path / "s.tar") == {
        "s.tar/a.mp4": None,
        "s.tar/hole.mp4": "is a sparse file in a tar, which is refused",
    }


# What costs


def test_a_video_above_the_limit_is_refused_without_being_read(tmp_path) -> None:
    path = tmp_path / "s.tar"
    with path.open("wb") as file:
        file.write(member("big.mp4", size=1 << 40).tobuf(tarfile.GNU_FORMAT))
        file.seek(1 << 40, io.SEEK_CUR)
        file.write(member("a.mp4", size=1).tobuf() + b"a".ljust(512, b"\0") + bytes(1024))
    begin = time.monotonic()
    found = problems(path, limits=Limits(max_bytes=1 << 30))
    assert time.monotonic() - begin < 5
    assert found["s.tar/a.mp4"] is None
    assert "the limit is fetch.max_bytes = 1,073,741,824" in found["s.tar/big.mp4"]


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_name_of_a_gigabyte_is_not_read(tmp_path, kind) -> None:
    path = tmp_path / "s.tar"
    with path.open("wb") as file:
        file.write(member("a.mp4", size=1).tobuf() + b"a".ljust(512, b"\0") + member("h", kind, 1 << 30).tobuf())
        file.truncate(1 << 31)
    with peak() as grown:
        assert "has a header of 1,073,741,824 bytes" in problems(path)["s.tar"]
    assert grown() < 50


def test_a_text_of_a_gigabyte_is_not_read(tmp_path) -> None:
    path = tmp_path / "s.tar"
    with path.open("wb") as file:
        file.write(member("a.mp4", size=1).tobuf() + b"a".ljust(512, b"\0") + member("a.txt", size=1 << 30).tobuf())
        file.seek(1 << 30, io.SEEK_CUR)
        file.write(bytes(1024))
    assert problems(path) == {"s.tar/a.mp4": "its member 'a.txt' has 1,073,741,824 bytes"}


def test_a_tar_of_too_many_members_is_told_and_given_up(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tars, "MEMBER_LIMIT", 100)
    tar(tmp_path / "s.tar", ((f"{n}.mp4", str(n).encode()) for n in range(500)))
    found = problems(tmp_path / "s.tar")
    assert len(found) == 101
    assert "has more than 100 members" in found["s.tar"]


# Anything


@some
@given(data=st.binary(max_size=3000))
def test_any_bytes_are_clips_or_a_manifest_error(tmp_path, data) -> None:
    (tmp_path / "s.tar").write_bytes(data)
    try:
        ClipTable.read(tmp_path / "s.tar")
    except ManifestError as error:
        assert "s.tar" in str(error)


@some
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), count=st.integers(1, 40))
def test_a_damaged_tar_gives_clips_or_a_manifest_error_and_right_bytes(tmp_path, place, value, count) -> None:
    path = shard(tmp_path / "s.tar", {name: (name.encode() * 700, f"of {name}") for name in ("one", "two")})
    content = bytearray(path.read_bytes())
    begin = int(place * len(content))
    content[begin : begin + count] = bytes([value]) * len(content[begin : begin + count])
    path.write_bytes(content)
    try:
        table = ClipTable.read(path)
    except ManifestError:
        return
    for clip in table:
        if clip.problem is None:
            with Opener().local_copy(clip.source, clip.sha256) as copy:
                assert copy.stat().st_size == clip.source.size


HEADER = st.builds(
    member,
    name=st.text(max_size=20) | st.sampled_from(["a.mp4", "a.txt", "a.json", "../a.mp4"]),
    kind=st.binary(min_size=1, max_size=1) | st.sampled_from([b"0", b"x", b"g", b"L", b"K", b"S", b"2", b"5"]),
    size=st.integers(0, 600) | st.integers(0, 2**63),
)


@some
@given(headers=st.lists(st.tuples(HEADER, st.binary(max_size=600)), max_size=6), ended=st.booleans())
def test_any_headers_are_clips_or_a_manifest_error(tmp_path, headers, ended) -> None:
    content = b""
    for header, data in headers:
        try:
            content += header.tobuf(tarfile.GNU_FORMAT, errors="surrogateescape")
        except (ValueError, UnicodeError):
            continue
        content += data.ljust(-(-len(data) // 512) * 512, b"\0")
    (tmp_path / "s.tar").write_bytes(content + bytes(1024) * ended)
    try:
        table = ClipTable.read(tmp_path / "s.tar")
    except ManifestError:
        return
    for clip in table:
        json.dumps([clip.id, clip.name, clip.caption, clip.where, clip.problem], ensure_ascii=False).encode()
