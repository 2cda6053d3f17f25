"""Datasets of a hub, streamed, by the real library from a hub on loopback: the same clips as on the disk, and no code runs."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from motive.video.table import ClipTable
from tests.video.hub_server import COMMIT, hub
from tests.video.packing import folder, parquet, shard, tar

CLIPS = {name: (f"bytes of {name}".encode() * 300, f"a ball, {name}") for name in ("one", "two", "three", "four")}

READ = """
import json, sys
from motive.errors import MotiveError
from motive.video.sources import Opener, parse_source
from motive.video.table import ClipTable
try:
    table = ClipTable.read(sys.argv[1])
except MotiveError as error:
    print(json.dumps({"error": str(error)}))
    sys.exit()
opener, copied = Opener(), 0
for clip in [*table, *reversed(list(table))]:
    if clip.problem is None:
        with opener.local_copy(parse_source(str(clip.source)), clip.sha256):
            copied += 1
clips = [[clip.key, clip.caption, clip.problem, str(clip.source)] for clip in table]
print(json.dumps({"clips": clips, "copied": copied, "notes": table.notes}))
"""


@pytest.fixture
def served(tmp_path):
    (tmp_path / "hub" / "us" / "clips").mkdir(parents=True)
    with hub(tmp_path / "hub") as server:
        server.clips = tmp_path / "hub" / "us" / "clips"
        server.home = tmp_path / "home"
        yield server


def read(server: Any, address: str = "hf://datasets/us/clips") -> dict[str, Any]:
    """The table as a process of its own reads it: the hub's client takes its settings when it is imported."""
    own = {
        "HF_ENDPOINT": server.address,
        "HF_HOME": str(server.home),
        "XDG_CACHE_HOME": str(server.home / "cache"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", READ, address], capture_output=True, text=True, timeout=120, env=os.environ | own
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def halves() -> list[dict[str, tuple[bytes, str]]]:
    items = list(CLIPS.items())
    return [dict(items[:2]), dict(items[2:])]


def lay_out(kind: str, place: Path) -> None:
    (place / "data").mkdir()
    for number, half in enumerate(halves()):
        if kind == "parquet":
            parquet(place / "data" / f"train-0000{number}-of-00002.parquet", half)
        elif kind == "tars":
            shard(place / "data" / f"train-{number}.tar", half)
        else:
            folder(place / "train", half)
    if kind == "videos":
        rows = [{"file_name": f"{name}.mp4", "caption": said} for name, (_, said) in CLIPS.items()]
        (place / "train" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))


@pytest.mark.parametrize("kind", ["parquet", "tars", "videos"])
def test_a_streamed_dataset_gives_the_clips_that_are_on_the_disk(served, tmp_path, kind) -> None:
    lay_out(kind, served.clips)
    if kind == "videos":
        for text in (served.clips / "train").glob("*.txt"):
            text.unlink()
    found = read(served)
    here = {clip.key: clip.caption for clip in ClipTable.read(folder(tmp_path / "here", CLIPS))}
    assert {key: caption for key, caption, *_ in found["clips"]} == here
    assert {problem for *_, problem, _ in found["clips"]} == {None}
    assert found["copied"] == 8
    assert all(f"us/clips@{COMMIT}" in source for *_, source in found["clips"])


def test_what_a_commit_holds_is_streamed_once_to_be_hashed(served) -> None:
    lay_out("parquet", served.clips)

    def data_read(address: str) -> int:
        served.asked.clear()
        assert "clips" in read(served, address)
        return sum(method == "GET" and path.endswith(".parquet") for method, path in served.asked)

    first, second = data_read("hf://datasets/us/clips"), data_read("hf://datasets/us/clips?split=train")
    assert second < first


def test_a_script_in_a_dataset_is_refused_and_never_run(served, tmp_path) -> None:
    (served.clips / "clips.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    assert "scripts are no longer supported" in read(served)["error"]
    assert not (tmp_path / "ran").exists()


class Payload:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return open, (str(self.place), "w")


@pytest.mark.parametrize("suffix", ["pkl", "pickle", "pyd", "pth"])
def test_pickles_in_a_datasets_tars_are_never_loaded(served, tmp_path, suffix) -> None:
    content, said = CLIPS["one"]
    payload = pickle.dumps(Payload(tmp_path / "ran"))
    tar(served.clips / "train.tar", [("a.mp4", content), ("a.txt", said.encode()), (f"a.{suffix}", payload)])
    found = read(served)
    assert "error" in found or [said for _, said, *_ in found["clips"]] == [said]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("hf://datasets/us/none", "the hub gives no such dataset"),
        ("hf://datasets/us/clips?split=val", "has no split 'val'; it has train"),
        ("hf://datasets/us/clips?splits=val", "splits means nothing here"),
        ("hf://datasets/us/clips?config=other", "cannot be opened"),
    ],
)
def test_a_dataset_that_is_not_there_is_an_error_in_words(served, address, why) -> None:
    lay_out("parquet", served.clips)
    assert why in read(served, address)["error"]
