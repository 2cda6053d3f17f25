"""Many writers of one store: whoever makes a shard, in whatever order, however often killed, the bytes are the same."""

import hashlib
import io
import random
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motive.attribution.shards import describe_rows, encode
from motive.attribution.store import Shard, Store
from motive.attribution.upkeep import verify
from motive.errors import StoreError
from motive.folders import open_folder
from motive.progress import Silent
from motive.video.table import Clip

FINGERPRINT = {"gradients": {"projector": "fastfood"}, "model": {"trained": False}}
DIM = 5


def clip(name: str, key: str = "") -> Clip:
    return Clip(name, key or f"key-{name}", f"{name}.mp4", "a caption", None, "0" * 64, f"row {name}", extra={"tag": name})


def row(name: str) -> tuple[dict[str, object], np.ndarray | None]:
    """What attribution would find: some clips fail, and each has a feature of its own."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
    if number % 5 == 0:
        return {"status": "failed", "reason": f"broken {number}"}, None
    return {"status": "ok", "loss": number / 7}, np.random.default_rng(number).normal(size=DIM).astype(np.float32)


def contents(place: Path | str, below: str = "shards") -> dict[str, bytes]:
    folder = open_folder(place)
    names = folder.names(below)
    return dict(zip(names, folder.read([f"{below}/{name}" for name in names]), strict=True))


def fill(store: Store, clips: list[Clip], size: int) -> None:
    by_id = {one.id: one for one in clips}
    for shard in store.plan(clips, size):
        for name in shard.ids:
            store.add_row(by_id[name], *row(name))
        store.finish(shard)


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)


@pytest.fixture
def unsynced(monkeypatch) -> None:
    """Without waiting for the disk, where only bytes matter."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


@given(
    ids=st.sets(names, min_size=1, max_size=14), size=st.integers(1, 6), seed=st.integers(0, 2**32), workers=st.integers(1, 3)
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_interleaving_of_workers_and_restarts_ends_with_the_bytes_of_one_undisturbed_run(
    ids, size, seed, workers, tmp_path, unsynced
) -> None:
    draw = random.Random(seed)  # noqa: S311, order alone
    one, many = tmp_path / f"one-{draw.random()}", tmp_path / f"many-{draw.random()}"
    clips = [clip(name) for name in ids]
    by_id = {one.id: one for one in clips}
    fill(Store(one, FINGERPRINT, DIM, "float16"), clips, size)

    def worker():
        """Makes every shard that its plan lacks, pausing anywhere; all workers share the work in no way."""
        store = Store(many, FINGERPRINT, DIM, "float16")
        shards = store.plan(draw.sample(clips, len(clips)), size)
        for shard in draw.sample(shards, len(shards)):
            for name in draw.sample(shard.ids, len(shard.ids)):
                if draw.random() < 0.5 or not store.has_row(by_id[name]):
                    store.add_row(by_id[name], *row(name))
                    yield
            store.finish(shard)
            yield

    running = [worker() for _ in range(workers)]
    while running:
        active = draw.choice(running)
        if draw.random() < 0.1 or next(active, "done") == "done":
            running.remove(active)
            if draw.random() < 0.4:
                running.append(worker())
    for _ in worker():
        pass
    assert contents(many) == contents(one)
    assert contents(many, "plans") == contents(one, "plans")
    assert open_folder(many).names("rows") == []
    assert sorted(found["id"] for found in Store.open(many).rows()) == sorted(ids)
    shutil.rmtree(one)
    shutil.rmtree(many)


@given(ids=st.sets(names, min_size=1, max_size=9), precision=st.sampled_from(["float32", "float16", "int8"]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_shard_written_at_once_has_the_bytes_of_one_finished_from_rows(ids, precision, tmp_path, unsynced) -> None:
    clips = [clip(name) for name in sorted(ids)]
    for way in ("rows", "once"):
        shutil.rmtree(tmp_path / way, ignore_errors=True)
    store = Store(tmp_path / "rows", FINGERPRINT, DIM, precision)
    fill(store, clips, 100)
    store = Store(tmp_path / "once", FINGERPRINT, DIM, precision)
    (shard,) = store.plan(clips, 100)
    facts, features = zip(*(row(one.id) for one in clips), strict=True)
    usable = np.array([feature for feature in features if feature is not None], np.float32).reshape(-1, DIM)
    store.write_shard(shard, describe_rows(clips, facts), usable)
    assert contents(tmp_path / "once") == contents(tmp_path / "rows")


def test_rows_that_do_not_fit_a_shard_are_refused(tmp_path) -> None:
    store = Store(tmp_path, FINGERPRINT, DIM, "float32")
    (shard,) = store.plan([clip("a"), clip("b")], 2)
    good = [{"status": "ok"}] * 2
    two = np.ones((2, DIM), np.float32)
    for clips, features, why in (
        ([clip("b"), clip("a")], two, "in their order"),
        ([clip("a"), clip("b")], two[:1], "2 rows are ok, and there are 1 features"),
        ([clip("a"), clip("b")], np.ones((2, DIM + 1), np.float32), "features of 24 bytes"),
        ([clip("a"), clip("b")], two * np.nan, "not finite"),
    ):
        with pytest.raises(StoreError, match=why):
            store.write_shard(shard, describe_rows(clips, good), features)
    with pytest.raises(StoreError, match="lacks a row"):
        store.finish(shard)
    assert contents(tmp_path) == {}


def test_a_shard_that_is_there_stays_and_a_damaged_one_is_made_again(place) -> None:
    store = Store(place, FINGERPRINT, DIM, "float32")
    clips = [clip("a"), clip("b")]
    (shard,) = store.plan(clips, 2)
    rows = describe_rows(clips, [{"status": "ok", "loss": 1.0}] * 2)
    store.write_shard(shard, rows, np.ones((2, DIM), np.float32))
    first = contents(place)
    store.write_shard(shard, rows, np.ones((2, DIM), np.float32) * 2)  # another device's rounding, say
    assert contents(place) == first
    ((name, data),) = first.items()
    store.folder.replace(f"shards/{name}", data[:-30])
    store.write_shard(shard, rows, np.ones((2, DIM), np.float32))
    assert contents(place) == first


WORKER = """
import sys
from motive.attribution.store import Store
from tests.attribution.test_writers import DIM, FINGERPRINT, clip, row

store = Store(sys.argv[1], FINGERPRINT, DIM, "float32")
clips = [clip(f"c{n:02d}") for n in range(int(sys.argv[2]))]
by_id = {one.id: one for one in clips}
for shard in store.plan(clips[::-1], 4):
    for name in shard.ids:
        if not store.has_row(by_id[name]):
            store.add_row(by_id[name], *row(name))
            print(name, flush=True)
    store.finish(shard)
"""


def start(place: Path | str, clips: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WORKER, str(place), str(clips)], stdout=subprocess.PIPE, text=True)


def test_processes_that_make_the_same_shards_at_once_and_are_killed_end_with_the_same_bytes(place, tmp_path) -> None:
    """kill -9 one of three at a time, each after a row or a few more, while the others go on; then let one end."""
    whole = tmp_path / "whole"
    fill(Store(whole, FINGERPRINT, DIM, "float32"), [clip(f"c{n:02d}") for n in range(22)], 4)
    with ExitStack() as stack:
        for wait in (0.0, 0.01, 0.03):
            some = [stack.enter_context(start(place, 22)) for _ in range(3)]
            some[0].stdout.readline()
            time.sleep(wait)
            for process in some:
                process.kill()
    with ExitStack() as stack:
        together = [stack.enter_context(start(place, 22)) for _ in range(2)]
        assert [process.wait() for process in together if process.communicate()] == [0, 0]
    with start(place, 22) as last:
        last.communicate()
        assert last.returncode == 0
    assert contents(place) == contents(whole)
    assert open_folder(place).names("rows") == []
    found = verify(Store.open(place), Silent())
    assert (found.missing, found.repeated, found.damaged) == (0, 0, {})


def test_a_plan_is_the_same_for_whoever_plans_the_same_clips_and_keeps_its_numbers(tmp_path) -> None:
    clips = [clip(f"c{n}") for n in range(9)]
    early, late = (Store(tmp_path, FINGERPRINT, DIM, "float32") for _ in range(2))
    shards = early.plan(clips, 2)
    written = contents(tmp_path, "plans")
    assert late.plan(clips[::-1], 7) == shards
    for name in shards[1].ids:
        early.add_row(clip(name), *row(name))
    early.finish(shards[1])
    left = Store(tmp_path, FINGERPRINT, DIM, "float32").plan(clips, 2)
    assert left == [shards[0], *shards[2:]]
    assert [shard.number for shard in left] == [0, 2, 3, 4]
    assert contents(tmp_path, "plans") == written


def test_of_two_that_plan_different_clips_the_last_is_current_and_the_work_of_both_stays(place) -> None:
    few, many = [clip("a"), clip("b")], [clip("b"), clip("c"), clip("d")]
    first, second = (Store(place, FINGERPRINT, DIM, "float32") for _ in range(2))
    (begun,) = first.plan(few, 4)
    later = second.plan(many, 4)
    assert (first.superseded, second.superseded) == (True, False)
    for name in begun.ids:
        first.add_row(clip(name), *row(name))
    first.finish(begun)
    assert [found["id"] for found in Store.open(place).rows()] == ["b"]
    for shard in later:
        for name in shard.ids:
            second.add_row(clip(name), *row(name))
        second.finish(shard)
    assert [found["id"] for found in Store.open(place).rows()] == ["b", "c", "d"]
    assert first.plan(few, 4) == []
    assert [found["id"] for found in Store.open(place).rows()] == ["a", "b"]


def test_who_began_with_other_settings_on_an_empty_store_is_refused_at_the_next_row(place) -> None:
    first = Store(place, FINGERPRINT, DIM, "float32")
    (shard,) = first.plan([clip("a")], 4)
    second = Store(place, FINGERPRINT | {"seed": 1}, DIM, "float32")
    second.plan([clip("a")], 4)
    with pytest.raises(StoreError, match="another run began here with other settings"):
        first.add_row(clip("a"), *row("a"))
    with pytest.raises(StoreError, match="another run began here with other settings"):
        first.write_shard(shard, describe_rows([clip("a")], [{"status": "failed"}]), np.empty((0, DIM), np.float32))
    second.add_row(clip("a"), *row("a"))
    with pytest.raises(StoreError, match="seed: stored 1, now None"):
        Store(place, FINGERPRINT, DIM, "float32")


def test_a_grown_pool_keeps_the_shards_that_are_begun(tmp_path) -> None:
    store = Store(tmp_path, FINGERPRINT, DIM, "float32")
    shards = store.plan([clip(f"c{n}") for n in range(0, 12, 2)], 3)
    grown = store.plan([clip(f"c{n}") for n in range(12)], 3)
    assert {shard.clips for shard in shards} <= {shard.clips for shard in grown}
    fewer = store.plan([clip(f"c{n}") for n in range(1, 12)], 3)
    assert {shard.clips for shard in grown} - {shard.clips for shard in fewer} == {shards[0].clips}


def test_rows_that_a_killed_worker_left_beside_its_shard_go_with_the_next_plan(tmp_path) -> None:
    store = Store(tmp_path, FINGERPRINT, DIM, "float32")
    clips = [clip("a"), clip("b")]
    fill(store, clips, 2)
    store.add_row(clip("b"), *row("b"))
    store.add_row(clip("z"), *row("z"))  # of no current clip: it may be wanted again
    assert store.plan(clips, 2) == []
    assert [store.has_row(clip(name)) for name in ("b", "z")] == [False, True]


def test_a_plan_that_is_lost_is_made_again_from_the_shards(tmp_path) -> None:
    clips = [clip(f"c{n}") for n in range(7)]
    store = Store(tmp_path, FINGERPRINT, DIM, "float32")
    fill(store, clips[:5], 2)
    shutil.rmtree(tmp_path / "plans")
    assert [shard.ids for shard in store.plan(clips, 3)] == [("c5", "c6")]
    (tmp_path / "plan.json").unlink()
    assert [shard.ids for shard in Store(tmp_path, FINGERPRINT, DIM, "float32").plan(clips, 3)] == [("c5", "c6")]
    assert [found["id"] for found in store.rows()] == ["c0", "c1", "c2", "c3", "c4"]


@given(rows=st.lists(st.tuples(names, st.floats(allow_nan=False)), max_size=20), cut=st.integers(0, 20))
@settings(max_examples=50, deadline=None)
def test_the_same_rows_are_the_same_bytes_however_they_lie_in_memory(rows, cut) -> None:
    import pyarrow as pa

    whole = pa.table({"id": [name for name, _ in rows], "x": pa.array([x for _, x in rows], pa.float64())})
    parts = pa.concat_tables([whole.slice(0, cut), whole.slice(min(cut, len(whole)))])
    padded = pa.concat_tables([whole, whole]).slice(len(whole))
    files = [io.BytesIO() for _ in range(3)]
    for table, file in zip((whole, parts, padded), files, strict=True):
        encode(table)(file)
    assert files[0].getvalue() == files[1].getvalue() == files[2].getvalue()


def test_a_planned_shard_knows_its_clips() -> None:
    shard = Shard((("a", "1"), ("b", "2")), 3)
    assert (shard.ids, shard.number) == (("a", "b"), 3)
    assert shard.name != Shard((("a", "1"), ("b", "3"))).name
