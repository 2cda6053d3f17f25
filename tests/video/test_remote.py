"""Clips behind addresses: the same clips as on a disk, read as often as needed, and bounded whatever the server does."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from motive.errors import ClipError, ManifestError
from motive.progress import Silent
from motive.video import remote, sources
from motive.video.remote import Limits
from motive.video.sources import File, Opener
from motive.video.table import ClipTable
from tests.video import servers
from tests.video.memory import peak
from tests.video.packing import folder, manifest, parquet, shard
from tests.video.servers import serving

CLIPS = {name: (f"bytes of {name}".encode() * 3000, f"a ball, {name}") for name in ("one", "two", "three", "four")}
SMALL = Limits(max_bytes=1 << 20, seconds=1.5)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sources, "WAITS", (0.0, 0.0))


@pytest.fixture
def site(tmp_path):
    place = tmp_path / "site"
    folder(place / "clips", CLIPS)
    manifest(place / "clips" / "clips.jsonl", CLIPS)
    shard(place / "shard-0.tar", dict(list(CLIPS.items())[:2]))
    shard(place / "shard-1.tar", dict(list(CLIPS.items())[2:]))
    parquet(place / "clips.parquet", CLIPS)
    with serving(place) as server:
        yield server


def local(tmp_path: Path) -> dict[str, str]:
    return {clip.key: clip.caption for clip in ClipTable.read(folder(tmp_path / "local", CLIPS))}


@pytest.mark.parametrize("name", ["clips/clips.jsonl", "shard-{0..1}.tar", "clips.parquet"])
@pytest.mark.parametrize("ranges", [True, False])
def test_clips_on_a_web_server_are_those_on_the_disk(site, tmp_path, name, ranges) -> None:
    site.ranges = ranges
    table = ClipTable.read(f"{site.address}/{name}")
    assert {clip.key: clip.caption for clip in table} == local(tmp_path)
    assert [clip.problem for clip in table] == [None] * 4
    opener = Opener()
    for clip in (*table, *reversed(list(table))):
        with opener.local_copy(clip.source, clip.sha256) as path:
            assert path.stat().st_size == len(CLIPS["one"][0]) or clip.sha256
        assert not path.exists()


def test_of_a_tar_on_a_web_server_only_the_clips_own_bytes_are_read_again(site) -> None:
    clip = list(ClipTable.read(f"{site.address}/shard-0.tar"))[1]
    site.asked.clear()
    with Opener().local_copy(clip.source, clip.sha256):
        pass
    assert [method for method, *_ in site.asked] == ["GET"]
    first, last = map(int, site.asked[0][2].removeprefix("bytes=").split("-"))
    assert last - first + 1 == len(CLIPS["two"][0])


@pytest.mark.parametrize("name", ["clips/clips.jsonl", "shard-0.tar", "clips.parquet"])
def test_what_was_hashed_is_remembered_as_long_as_the_server_says_the_same_of_it(site, name) -> None:
    def fetched() -> list[str]:
        """What is read of videos or archives in one reading of the table."""
        site.asked.clear()
        table = ClipTable.read(f"{site.address}/{name}")
        assert {clip.problem for clip in table} == {None}
        return sorted(path for method, path, _ in site.asked if method == "GET" and not path.endswith(".jsonl"))

    first = fetched()
    assert len(first) == (4 if name.endswith("jsonl") else 1)
    assert fetched() == []
    changed = site.folder / ("clips/two.mp4" if name.endswith("jsonl") else name)
    content = changed.read_bytes()
    changed.write_bytes(content)
    assert fetched() == [f"/{changed.relative_to(site.folder)}"]
    site.tagged = False
    assert fetched() == first
    assert fetched() == first


def test_a_hash_in_the_manifest_saves_reading_the_clip_and_must_hold_later(site) -> None:
    import hashlib

    right, wrong = hashlib.sha256(CLIPS["one"][0]).hexdigest(), "0" * 64
    rows = [{"video": "one.mp4", "sha256": right}, {"video": "two.mp4", "sha256": wrong}]
    (site.folder / "clips" / "hashed.jsonl").write_text("\n".join(map(json.dumps, rows)))
    first, second = ClipTable.read(f"{site.address}/clips/hashed.jsonl")
    assert not any(path.endswith(".mp4") for _, path, _ in site.asked)
    assert (first.problem, second.problem) == (None, None)
    with Opener().local_copy(first.source, first.sha256) as path:
        assert path.read_bytes() == CLIPS["one"][0]
    with pytest.raises(ClipError, match="has changed"), Opener().local_copy(second.source, second.sha256):
        pass


def test_how_much_will_be_read_over_the_network_is_said_before_it_is(site, tmp_path) -> None:
    class Heard(Silent):
        lines: list[str] = []  # noqa: RUF012, of this one test

        def say(self, line: str) -> None:
            self.lines.append(line)

    ClipTable.read(f"{site.address}/clips/clips.jsonl", progress=Heard())
    ClipTable.read(folder(tmp_path / "here", CLIPS), progress=Heard())
    (line,) = Heard.lines
    assert line.startswith("4 videos lie behind addresses")


def test_a_missing_clip_is_recorded_and_a_missing_manifest_is_an_error(site) -> None:
    manifest(site.folder / "clips" / "more.jsonl", CLIPS | {"gone": (b"", "")})
    problems = [clip.problem for clip in ClipTable.read(f"{site.address}/clips/more.jsonl")]
    assert problems[:4] == [None] * 4
    assert "cannot be fetched: it is not there" in problems[4]
    with pytest.raises(ManifestError, match=r"none\.jsonl: cannot be fetched: it is not there"):
        ClipTable.read(f"{site.address}/none.jsonl")


# Which addresses may be read


def test_a_local_manifest_names_addresses_only_where_root_allows_it(site, tmp_path) -> None:
    path = manifest(tmp_path / "clips.jsonl", CLIPS, f"{site.address}/clips/")
    assert ["only local files" in clip.problem for clip in ClipTable.read(path)] == [True] * 4
    for root in (site.address, f"{site.address}/clips/", f"{site.address}/clips", "http://"):
        assert [clip.problem for clip in ClipTable.read(path, root=root)] == [None] * 4, root
    for root in (f"{site.address}/clip", f"{site.address}/clips/one", "https://", "s3://bucket", f"{site.address}1"):
        assert ["leaves the data root" in clip.problem for clip in ClipTable.read(path, root=root)] == [True] * 4, root


def test_a_local_manifest_may_name_clips_relative_to_an_address(site, tmp_path) -> None:
    path = manifest(tmp_path / "clips.jsonl", CLIPS)
    assert [clip.problem for clip in ClipTable.read(path, root=f"{site.address}/clips")] == [None] * 4


def test_a_manifest_behind_an_address_may_name_clips_on_the_disk_below_root(site, tmp_path) -> None:
    here = folder(tmp_path / "here", CLIPS)
    table = ClipTable.read(f"{site.address}/clips/clips.jsonl", root=here)
    assert [clip.path for clip in table] == [here / f"{name}.mp4" for name in CLIPS]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("/etc/passwd", "leaves the data root"),
        ("../shard-0.tar", "leaves the data root"),
        ("a/../../shard-0.tar", "leaves the data root"),
        ("%2e%2e/shard-0.tar", "leaves its folder"),
        ("..%2fshard-0.tar", "leaves its folder"),
        ("file:///etc/passwd", "is an address of a kind that is not read"),
        ("local:///etc/passwd", "is an address of a kind that is not read"),
        ("zip://x::http://127.0.0.1/a.zip", "is an address of a kind that is not read"),
        ("http://127.0.0.1::/a", "is an address of a kind that is not read"),
        ("memory://x", "is an address of a kind that is not read"),
        ("http://user@127.0.0.1/a.mp4", "not a usable address"),
        ("http://[/a.mp4", "not a usable address"),
        ("http:///a.mp4", "not a usable address"),
        ("https://elsewhere.example/a.mp4", "leaves the data root"),
        ("a\x1b[31m.mp4", "not a usable address"),
    ],
)
def test_a_manifest_behind_an_address_cannot_lead_away_from_its_folder(site, name, why) -> None:
    (site.folder / "clips" / "bad.jsonl").write_text(json.dumps({"video": name}))
    (clip,) = ClipTable.read(f"{site.address}/clips/bad.jsonl")
    assert why in clip.problem
    assert clip.source is None


def test_an_address_of_another_kind_is_no_manifest() -> None:
    for address in ("file:///etc/x.csv", "ftp://x/y.csv", "zip://a.csv::http://x/y.zip"):
        with pytest.raises(ManifestError, match="of a kind that is not read"):
            ClipTable.read(address)


def test_a_web_server_has_no_listing(site) -> None:
    for place in ("", "/clips/", "/*.tar"):
        with pytest.raises(ManifestError, match="tells no list of its files"):
            ClipTable.read(site.address + place)


# Servers that mean ill


TRICKS: dict[str, tuple[Any, str]] = {
    "endless": (servers.endless, "is more than 1,048,576 bytes"),
    "dripping": (servers.dripping, "was not fetched within fetch.seconds = 1.5"),
    "silent": (servers.silent, "was not fetched within fetch.seconds = 1.5"),
    "headers without end": (servers.headers_without_end, "cannot be fetched"),
    "continue for ever": (servers.continue_for_ever, "was not fetched within fetch.seconds"),
    "cut off": (servers.cut_off, "cannot be fetched"),
    "redirects in a circle": (servers.sending_to("/x"), "TooManyRedirects"),
    "redirect to a file": (servers.sending_to("file:///etc/passwd"), "cannot be fetched"),
    "redirect to another kind": (servers.sending_to("ftp://example.org/x"), "cannot be fetched"),
    "redirect into a private network": (servers.sending_to("http://10.0.0.1/x"), "is redirected to 10.0.0.1, which is private"),
    "redirect to this machine": (servers.sending_to("http://localhost:1/x"), "is redirected to localhost, which is private"),
    "redirect to the cloud's secrets": (servers.sending_to("http://169.254.169.254/x"), "which is private"),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_a_server_that_means_ill_costs_bounded_time_and_bytes_and_is_told(site, trick) -> None:
    behaviour, why = TRICKS[trick]
    site.tricks["/x"] = behaviour
    begin = time.monotonic()
    with pytest.raises(ClipError, match=why), Opener(SMALL).local_copy(File(f"{site.address}/x"), None):
        pass
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize("behaviour", [servers.endless, servers.endless_part])
def test_a_part_of_a_file_is_never_more_than_was_asked_for(site, behaviour) -> None:
    site.tricks["/x"] = behaviour
    got = b"".join(remote.read(f"{site.address}/x", SMALL, 10, 3 << 18))
    assert len(got) == 3 << 18
    assert b"".join(remote.read(f"{site.address}/x", SMALL, 10, 0)) == b""


def test_a_compressed_answer_is_not_unpacked(site) -> None:
    """A megabyte of it would be a gigabyte."""
    site.tricks["/x"] = servers.zipped
    with peak() as grown:
        got = b"".join(remote.read(f"{site.address}/x", Limits(max_bytes=4 << 20, seconds=30)))
    assert got[:2] == b"\x1f\x8b"
    assert len(got) < 2 << 20
    assert grown() < 64


def test_a_redirect_within_reason_is_followed(site) -> None:
    site.tricks["/x"] = servers.sending_to("/clips/one.mp4")
    with Opener().local_copy(File(f"{site.address}/x"), None) as path:
        assert path.read_bytes() == CLIPS["one"][0]


def test_a_server_that_is_ill_for_a_while_is_asked_again(site) -> None:
    site.tricks["/x"] = servers.failing(2, b"well again")
    with Opener().local_copy(File(f"{site.address}/x"), None) as path:
        assert path.read_bytes() == b"well again"
    site.tricks["/x"] = servers.failing(9, b"")
    with pytest.raises(ClipError, match="503"), Opener().local_copy(File(f"{site.address}/x"), None):
        pass


def test_a_clip_larger_than_the_limit_is_recorded_without_being_read(site) -> None:
    (clip, *_) = ClipTable.read(f"{site.address}/clips/clips.jsonl", limits=Limits(max_bytes=1000))
    assert f"has {len(CLIPS['one'][0]):,} bytes; the limit is fetch.max_bytes = 1,000" in clip.problem
    assert not any(path.endswith(".mp4") and method == "GET" for method, path, _ in site.asked)


def test_what_is_fetched_is_deleted_also_when_it_fails(site, tmp_path, monkeypatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    table = ClipTable.read(f"{site.address}/clips.parquet")
    opener = Opener(SMALL)
    for clip in table:
        with opener.local_copy(clip.source, clip.sha256):
            pass
    site.tricks["/x"] = servers.endless
    with pytest.raises(ClipError), opener.local_copy(File(f"{site.address}/x"), None):
        pass
    assert list((tmp_path / "tmp").iterdir()) == []
