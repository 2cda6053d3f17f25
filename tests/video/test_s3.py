"""Clips in an S3-compatible store, against a real server of its protocol on loopback."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from motive.errors import ManifestError
from motive.video import remote
from motive.video.sources import Opener
from motive.video.table import ClipTable
from tests.video.packing import folder, manifest, parquet, shard

CLIPS = {name: (f"bytes of {name}".encode() * 3000, f"a ball, {name}") for name in ("one", "two", "three", "four")}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint, tmp_path, monkeypatch) -> Iterator[Any]:
    """A filesystem on the server, with a bucket called pool."""
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    remote._filesystem_of.cache_clear()
    system = remote._filesystem("s3://pool", remote.LIMITS)
    system.mkdir("pool")
    yield system
    system.rm("pool", recursive=True)
    remote._filesystem_of.cache_clear()


def upload(system: Any, place: Path, prefix: str) -> None:
    for path in place.rglob("*") if place.is_dir() else [place]:
        if path.is_file():
            name = path.relative_to(place).as_posix() if place.is_dir() else path.name
            system.pipe(f"pool/{prefix}{name}", path.read_bytes())


@pytest.mark.parametrize(
    "place", ["clips/clips.jsonl", "clips/", "clips", "shards/", "shards/s-{0..1}.tar", "shards/*.tar", "clips.parquet"]
)
def test_clips_in_a_bucket_are_those_on_the_disk(bucket, tmp_path, place) -> None:
    here = folder(tmp_path / "here", CLIPS)
    if place.startswith("clips/") or place == "clips":
        upload(bucket, here, "clips/")
        upload(bucket, manifest(tmp_path / "clips.jsonl", CLIPS), "clips/")
    elif place.startswith("shards"):
        for number in range(2):
            upload(bucket, shard(tmp_path / f"s-{number}.tar", dict(list(CLIPS.items())[number * 2 :][:2])), "shards/")
    else:
        upload(bucket, parquet(tmp_path / "clips.parquet", CLIPS), "")
    table = ClipTable.read(f"s3://pool/{place}")
    assert [clip.problem for clip in table] == [None] * 4
    assert {clip.key: clip.caption for clip in table} == {clip.key: clip.caption for clip in ClipTable.read(here)}
    opener = Opener()
    for clip in table:
        with opener.local_copy(clip.source, clip.sha256) as path:
            assert path.read_bytes() in {content for content, _ in CLIPS.values()}


def test_a_local_manifest_may_name_objects_below_root(bucket, tmp_path) -> None:
    upload(bucket, folder(tmp_path / "here", CLIPS), "clips/")
    relative, whole = manifest(tmp_path / "a.jsonl", CLIPS), manifest(tmp_path / "b.jsonl", CLIPS, "s3://pool/clips/")
    for path in (relative, whole):
        assert [clip.problem for clip in ClipTable.read(path, root="s3://pool/clips")] == [None] * 4
    assert all("only local files" in clip.problem for clip in ClipTable.read(whole))
    assert all("leaves the data root" in clip.problem for clip in ClipTable.read(whole, root="s3://pool/clip"))


def test_an_object_that_is_not_there_is_its_clips_problem_and_a_manifest_an_error(bucket, tmp_path) -> None:
    upload(bucket, manifest(tmp_path / "clips.jsonl", {"gone": (b"", "")}), "")
    (clip,) = ClipTable.read("s3://pool/clips.jsonl")
    assert clip.problem == "cannot be fetched: it is not there"
    with pytest.raises(ManifestError, match="it is not there"):
        ClipTable.read("s3://pool/none.jsonl")
    with pytest.raises(ManifestError, match=r"holds no clips|fits this pattern"):
        ClipTable.read("s3://pool/none/*.tar")


def test_a_limit_holds_for_objects_before_they_are_read(bucket, tmp_path) -> None:
    upload(bucket, folder(tmp_path / "here", CLIPS), "clips/")
    table = ClipTable.read("s3://pool/clips", limits=remote.Limits(max_bytes=2000))
    assert all("the limit is fetch.max_bytes = 2,000" in clip.problem for clip in table)
