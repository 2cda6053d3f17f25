import dataclasses
import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from motive.attribution.store import Store
from motive.config import load_config
from motive.errors import StoreError
from motive.verbs import score
from motive.video.sources import File
from motive.video.table import Clip
from tests.conftest import settings

FINGERPRINT = {"gradients": {"projector": "fastfood", "sigmas": [0.75]}, "model": {"trained": False}}


def clip(name: str, key: str = "") -> Clip:
    return Clip(name, key or f"key-{name}", f"{name}.mp4", "a caption", None, "0" * 64, f"row {name}", extra={"tag": name})


def fill(store: Store, clips: list[Clip], shard_size: int = 4, failed: tuple[str, ...] = ()) -> None:
    by_id = {c.id: c for c in clips}
    for shard in store.plan(clips, shard_size):
        for name in shard.ids:
            row = {"status": "failed", "reason": "broken"} if name in failed else {"status": "ok", "loss": 1.5}
            feature = None if name in failed else np.full(store.dim, ord(name[-1]), np.float32)
            store.add_row(by_id[name], row, feature)
        store.finish(shard)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((folder / "shards").iterdir())}


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_every_clip_has_a_row_and_every_feature_comes_back(tmp_path, precision) -> None:
    store = Store(tmp_path, FINGERPRINT, 8, precision)
    clips = [clip(f"c{n}") for n in range(10)]
    fill(store, clips, failed=("c3",))
    rows = store.rows()
    assert [row["id"] for row in rows] == [c.id for c in clips]
    assert {row["id"]: row["reason"] for row in rows if row["status"] == "failed"} == {"c3": "broken"}
    for table in store.tables():
        usable = table.filter(table["status"].to_numpy(zero_copy_only=False) == "ok")
        for name, feature in zip(usable["id"].to_pylist(), store.unpack(usable), strict=True):
            assert feature == pytest.approx(np.full(8, ord(name[-1])), rel=1e-6)


def test_a_shard_is_plain_parquet_with_a_fixed_length_vector(tmp_path) -> None:
    store = Store(tmp_path, FINGERPRINT, 8, "float32")
    fill(store, [clip("a")])
    (file,) = (tmp_path / "shards").iterdir()
    column = pq.ParquetFile(file).schema.column(len(store.schema) - 1)
    assert (column.name, column.physical_type, column.length) == ("feature", "FIXED_LEN_BYTE_ARRAY", 32)


def test_shards_do_not_depend_on_the_order_of_clips_and_are_the_same_bytes_anywhere(tmp_path) -> None:
    clips = [clip(f"c{n}") for n in range(9)]
    for name, order in (("a", clips), ("b", clips[::-1])):
        fill(Store(tmp_path / name, FINGERPRINT, 8, "float32"), order)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert len(contents(tmp_path / "a")) == 3


def test_shards_made_elsewhere_are_merged_by_copying(tmp_path) -> None:
    clips = [clip(f"c{n}") for n in range(8)]
    here, there = (Store(tmp_path / name, FINGERPRINT, 8, "float32") for name in ("here", "there"))
    fill(there, clips)
    here.plan(clips, 4)
    (tmp_path / "here" / "shards").mkdir()
    for file in (tmp_path / "there" / "shards").iterdir():
        shutil.copy(file, tmp_path / "here" / "shards")
    assert here.plan(clips, 4) == []
    assert [row["id"] for row in here.rows()] == [c.id for c in clips]


def test_a_shard_with_another_fingerprint_is_refused(tmp_path) -> None:
    clips = [clip("a")]
    here = Store(tmp_path / "here", FINGERPRINT, 8, "float32")
    there = Store(tmp_path / "there", FINGERPRINT | {"seed": 1}, 8, "float32")
    fill(there, clips)
    shutil.copytree(tmp_path / "there" / "shards", tmp_path / "here" / "shards")
    with pytest.raises(StoreError, match="another fingerprint"):
        here.plan(clips, 4)


def test_other_settings_are_refused_with_every_difference(tmp_path) -> None:
    fill(Store(tmp_path, FINGERPRINT, 8, "float32"), [clip("a")])
    changed = {"gradients": {"projector": "gaussian", "sigmas": [0.5]}, "model": {"trained": False}}
    with pytest.raises(StoreError) as caught:
        Store(tmp_path, changed, 16, "float32")
    for line in (
        "dim: stored 8, now 16",
        "gradients.projector: stored 'fastfood', now 'gaussian'",
        "gradients.sigmas: stored [0.75], now [0.5]",
    ):
        assert line in str(caught.value)


def test_a_store_that_holds_nothing_yet_takes_other_settings(tmp_path) -> None:
    Store(tmp_path, FINGERPRINT, 8, "float32")
    assert Store(tmp_path, FINGERPRINT | {"seed": 1}, 16, "float32").dim == 16


def test_a_moved_clip_is_found_where_it_is_now(tmp_path) -> None:
    store = Store(tmp_path, FINGERPRINT, 8, "float32")
    fill(store, [clip("a"), clip("b")])
    moved = dataclasses.replace(clip("a"), source=File("/new/a.mp4"), name="new/a.mp4", extra={"tag": "new"})
    assert store.plan([moved, clip("b")], 4) == []
    row = store.rows()[0]
    assert (row["path"], row["name"], row["extra"]) == ("/new/a.mp4", "new/a.mp4", '{"tag": "new"}')


def test_a_grown_pool_adds_shards_and_leaves_the_old_ones(tmp_path) -> None:
    store = Store(tmp_path, FINGERPRINT, 8, "float32")
    fill(store, [clip(f"c{n}") for n in range(4)])
    before = contents(tmp_path)
    grown = [clip(f"c{n}") for n in range(7)]
    assert [shard.ids for shard in store.plan(grown, 4)] == [("c4", "c5", "c6")]
    fill(store, grown)
    assert before.items() <= contents(tmp_path).items()
    assert len(store.rows()) == 7


def test_clips_taken_out_of_the_pool_are_no_longer_read(tmp_path) -> None:
    store = Store(tmp_path, FINGERPRINT, 8, "float32")
    clips = [clip(f"c{n}") for n in range(6)]
    fill(store, clips)
    fill(store, clips[:2])
    assert [row["id"] for row in store.rows()] == ["c0", "c1"]


def test_a_changed_clip_under_the_same_id_is_made_again(tmp_path) -> None:
    store = Store(tmp_path, FINGERPRINT, 8, "float32")
    fill(store, [clip("a"), clip("b")])
    changed = [clip("a"), clip("b", key="other")]
    assert [shard.clips for shard in store.plan(changed, 4)] == [(("b", "other"),)]
    fill(store, changed)
    assert {row["id"]: row["key"] for row in store.rows()} == {"a": "key-a", "b": "other"}


def test_failures_are_tried_again_only_when_asked(tmp_path) -> None:
    store = Store(tmp_path, FINGERPRINT, 8, "float32")
    clips = [clip(f"c{n}") for n in range(4)]
    fill(store, clips, failed=("c2",))
    assert store.plan(clips, 4) == []
    assert store.reopen_failures() == 1
    (shard,) = store.plan(clips, 4)
    assert shard.ids == ("c2",)
    assert len(store.rows()) == 3
    store.add_row(clips[2], {"status": "ok"}, np.ones(8, np.float32))
    store.finish(shard)
    assert {row["status"] for row in store.rows()} == {"ok"}


def test_a_damaged_shard_is_named(tmp_path) -> None:
    store = Store(tmp_path, FINGERPRINT, 8, "float32")
    fill(store, [clip("a")])
    (file,) = (tmp_path / "shards").iterdir()
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(StoreError, match=f"{file.name}.*damaged"):
        store.rows()


def test_a_run_killed_at_any_moment_goes_on_and_ends_with_the_same_bytes(pool_folder, query_folder, tiny_wan, tmp_path) -> None:
    """kill -9 the real command again and again, each time a little later, until one run ends by itself."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"

    def command(out: Path) -> list[str]:
        overrides = settings(pool_folder, query_folder, tiny_wan, out, "store.shard_size=2")
        return [sys.executable, "-m", "motive", "index", *(word for s in overrides for word in ("--set", s))]

    subprocess.run(command(whole), check=True, capture_output=True)
    kills, seen, wait = 0, 0, 0.0
    while kills < 12:
        with subprocess.Popen(command(killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            # Wait until something new is on disk, then a little longer, so that kills fall between and inside of writes.
            while process.poll() is None and files(killed) <= seen:
                time.sleep(0.001)
            time.sleep(wait)
            seen, wait = files(killed), (wait + 0.004) % 0.02
            if process.poll() is not None:
                break
            process.kill()
        kills += 1
    assert kills >= 3
    subprocess.run(command(killed), check=True, capture_output=True)
    for which in ("pool", "queries"):
        assert contents(killed / which) == contents(whole / which)
        assert not list((killed / which / "rows").glob("*.parquet"))
    assert np.array_equal(score(load_config(killed)).influence, score(load_config(whole)).influence)


def files(folder: Path) -> int:
    return sum(1 for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
