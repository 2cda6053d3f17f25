"""Verifying and compacting stores, snapshots, and readers at work meanwhile."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motive.attribution.snapshots import take_snapshot
from motive.attribution.store import Store
from motive.attribution.upkeep import compact, remove_damaged, verify
from motive.errors import StoreError
from motive.files import create_once
from motive.progress import Silent
from tests.attribution.test_writers import DIM, FINGERPRINT, clip, contents, fill, row

SILENT = Silent()


def filled(place: Path | str, count: int = 11, size: int = 2) -> Store:
    store = Store(place, FINGERPRINT, DIM, "float32")
    fill(store, [clip(f"c{n:03d}") for n in range(count)], size)
    return store


def read(store: Store) -> dict[str, tuple[str, float | None, bytes | None]]:
    """Everything by id; fails if a clip comes twice."""
    rows = [entry for table in store.tables() for entry in table.to_pylist()]
    found = {entry["id"]: (entry["status"], entry["loss"], entry["feature"]) for entry in rows}
    assert len(found) == len(rows)
    return found


def expected(count: int) -> dict[str, tuple[str, float | None, bytes | None]]:
    found = {}
    for n in range(count):
        facts, feature = row(f"c{n:03d}")
        found[f"c{n:03d}"] = (facts["status"], facts.get("loss"), None if feature is None else feature.tobytes())
    return found


def test_a_whole_store_is_found_whole(place) -> None:
    store = filled(place)
    found = verify(store, SILENT)
    failed = sum(status == "failed" for status, *_ in expected(11).values())
    assert (found.shards, found.rows, found.clips, found.missing, found.repeated) == (6, 11, 11, 0, 0)
    assert found.statuses == {"ok": 11 - failed, "failed": failed}
    assert found.damaged == {}


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A store with a file of each kind."""
    place = tmp_path_factory.mktemp("sound") / "store"
    store = filled(place, 4)
    take_snapshot(store, "one", SILENT)
    store.plan([clip(f"c{n:03d}") for n in range(5)], 2)
    store.add_row(clip("c004"), *row("c004"))
    return place


@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), which=st.integers(0, 100), torn=st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_flipped_bit_and_every_torn_file_is_found_and_told_by_name(sound, where, bit, which, torn) -> None:
    file = files_of(sound)[which % 6]
    data = bytearray(file.read_bytes())
    place = int(where * len(data))
    if torn:
        found_damaged(sound, file, bytes(data[:place]))
    else:
        data[place] ^= 1 << bit
        found_damaged(sound, file, bytes(data))


def test_a_flipped_bit_in_a_checksum_is_found_whatever_letter_it_makes(sound) -> None:
    for file in files_of(sound):
        digits = re.findall(rb"motive\.sha256\x18\x40([0-9a-f]{64})", file.read_bytes())[-1]
        place = file.read_bytes().rindex(digits) + 9
        for bit in range(8):
            data = bytearray(file.read_bytes())
            data[place] ^= 1 << bit
            found_damaged(sound, file, bytes(data))


def files_of(store: Path) -> list[Path]:
    files = sorted(store.rglob("*.parquet"))
    assert len(files) == 2 + 2 + 1 + 1
    return files


def found_damaged(store: Path, file: Path, damaged: bytes) -> None:
    """Verifying names the file alone while it holds these bytes."""
    whole = file.read_bytes()
    file.write_bytes(damaged)
    try:
        assert set(verify(Store.open(store), SILENT).damaged) - {"plan.json"} == {file.relative_to(store).as_posix()}
    finally:
        file.write_bytes(whole)


def test_what_is_damaged_is_removed_and_made_again_with_the_same_bytes(place) -> None:
    store = filled(place)
    before = contents(place)
    for name, change in (
        (sorted(before)[1], lambda data: data[:-9]),
        (sorted(before)[3], lambda data: data.replace(b"a cap", b"A cap")),
    ):
        store.folder.replace(f"shards/{name}", change(before[name]))
    found = verify(store, SILENT)
    assert set(found.damaged) == {f"shards/{sorted(before)[n]}" for n in (1, 3)}
    assert found.missing == 4 or found.missing == 3
    remove_damaged(store, found.damaged)
    assert verify(store, SILENT).damaged == {}
    fill(store, [clip(f"c{n:03d}") for n in range(11)], 2)
    assert contents(place) == before


def test_a_misplaced_or_foreign_shard_is_found(tmp_path) -> None:
    store = filled(tmp_path / "store", 4)
    first, second = sorted((tmp_path / "store" / "shards").iterdir())
    shutil.copy(first, second)
    foreign = Store(tmp_path / "other", FINGERPRINT | {"seed": 2}, DIM, "float32")
    fill(foreign, [clip("z")], 2)
    (other,) = (tmp_path / "other" / "shards").iterdir()
    shutil.copy(other, tmp_path / "store" / "shards")
    damaged = verify(store, SILENT).damaged
    assert "does not hold the clips" in damaged[f"shards/{second.name}"]
    assert "another fingerprint" in damaged[f"shards/{other.name}"]
    assert len(damaged) == 2


def test_a_damaged_shard_is_neither_compacted_nor_taken_apart(tmp_path) -> None:
    store = filled(tmp_path, 12)
    files = sorted((tmp_path / "shards").iterdir())
    for file in files:
        data = bytearray(file.read_bytes())
        data[len(data) // 3] ^= 4
        file.write_bytes(data)
    with pytest.raises(StoreError, match=r"damaged.*store verify --remove-damaged"):
        compact(store, 100, SILENT)
    with pytest.raises(StoreError, match="damaged"):
        store.reopen_failures()
    assert set(files) <= set((tmp_path / "shards").iterdir())


@given(
    size=st.integers(1, 5),
    rows=st.integers(2, 30),
    removed=st.sets(st.integers(0, 11)),
    again=st.integers(2, 30),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_compacted_store_holds_the_same_in_fewer_shards(size, rows, removed, again, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("os.fsync", lambda handle: None)
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    store = filled(tmp_path / "store", 12, size)
    left = [clip(f"c{n:03d}") for n in range(12) if n not in removed]
    store.plan(left, size)
    before, state = read(store), store.state
    for target in (rows, again):
        done = compact(store, target, SILENT)
        assert done.after <= done.before
        assert read(store) == read(Store.open(tmp_path / "store")) == before
        assert store.state == state
    assert sum(len(group) < again for _, group in store.current().groups) <= 1
    found = verify(store, SILENT)
    assert (found.damaged, found.missing, found.repeated) == ({}, 0, 0)
    assert store.plan(left, size) == []
    # Rows of clips that are no longer current are still there for when they are again.
    assert store.plan([clip(f"c{n:03d}") for n in range(12)], size) == []
    assert read(store) == expected(12)


def test_one_large_shard_has_the_bytes_it_would_have_if_made_at_once(place) -> None:
    store = filled(place, 8, 2)
    assert compact(store, 8, SILENT).after == 1
    other = filled(f"{place}-once" if isinstance(place, str) else place.with_name("once"), 8, 8)
    assert contents(place) == contents(str(other.folder))


def test_a_reader_that_is_overtaken_by_compaction_still_gets_every_row_once(place) -> None:
    store = filled(place, 12, 2)
    reader = Store.open(place)
    tables = reader.tables()
    seen = [next(tables), next(tables)]
    compact(store, 6, SILENT)
    seen.append(next(tables))
    compact(store, 100, SILENT)
    seen += list(tables)
    ids = [name for table in seen for name in table["id"].to_pylist()]
    assert sorted(ids) == sorted(expected(12))
    assert read(reader) == expected(12)


def test_shards_may_be_finished_while_others_are_compacted(place) -> None:
    store = Store(place, FINGERPRINT, DIM, "float32")
    clips = [clip(f"c{n:03d}") for n in range(8)]
    shards = store.plan(clips, 2)
    by_id = {one.id: one for one in clips}
    for n, shard in enumerate(shards):
        for name in shard.ids:
            store.add_row(by_id[name], *row(name))
        store.finish(shard)
        if n in (1, 2):
            compact(Store.open(place), 100, SILENT)
    assert read(Store.open(place)) == expected(8)
    assert Store(place, FINGERPRINT, DIM, "float32").plan(clips, 2) == []


COMPACTOR = """
import sys
from motive.attribution.store import Store
from motive.attribution.upkeep import compact
from motive.progress import Silent
store = Store.open(sys.argv[1])
print("begin", flush=True)
print(compact(store, int(sys.argv[2]), Silent()))
"""


def test_compaction_killed_at_any_moment_loses_nothing_and_goes_on(tmp_path) -> None:
    """kill -9 in the middle, again and again; a reader at work meanwhile sees every row once each time."""
    store = filled(tmp_path, 60, 2)
    whole = expected(60)
    kills = 0
    for target in (7, 23, 100):
        for wait in (0.004, 0.05, 0.12, 0.25):
            command = [sys.executable, "-c", COMPACTOR, str(tmp_path), str(target)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                process.stdout.readline()
                end = time.monotonic() + wait
                while time.monotonic() < end:
                    assert read(store) == whole
                kills += process.poll() is None
                process.kill()
            assert read(Store.open(tmp_path)) == whole
            assert verify(store, SILENT).damaged == {}
    assert kills >= 4
    compact(store, 100, SILENT)
    assert len(contents(tmp_path)) == 1
    assert read(store) == whole


def test_two_that_compact_at_once_lose_nothing(tmp_path) -> None:
    store = filled(tmp_path, 40, 2)
    targets = ("9", "100", "9", "33")
    commands = [[sys.executable, "-c", COMPACTOR, str(tmp_path), target] for target in targets]
    started = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for command in commands]
    for process in started:
        told = process.communicate()[1]
        assert process.returncode == 0 or "another process compacts" in told
    assert read(store) == expected(40)
    compact(store, 100, SILENT)
    assert read(store) == expected(40)
    assert len(contents(tmp_path)) == 1


def test_a_snapshot_is_read_as_it_was_whatever_is_done_to_the_store_afterwards(place) -> None:
    store = filled(place, 10, 2)
    assert take_snapshot(store, "before", SILENT) == 10
    snapshot = Store.open(place, "before")
    whole, state = read(snapshot), snapshot.state
    assert whole == read(store)
    assert state != store.state
    failed = sum(status == "failed" for status, *_ in whole.values())
    assert store.reopen_failures() == failed > 0
    for shard in store.plan([clip(f"c{n:03d}") for n in range(2, 13)], 2):
        for name in shard.ids:
            store.add_row(clip(name), {"status": "ok"}, np.ones(DIM, np.float32))
        store.finish(shard)
    compact(store, 100, SILENT)
    assert len(read(store)) == 11
    assert all(status == "ok" for status, *_ in read(store).values())
    for one in (snapshot, Store.open(place, "before")):
        assert read(one) == whole
        assert one.state == state
        assert one.missing() == 0
    assert verify(store, SILENT).damaged == {}


def test_a_snapshot_never_changes_and_is_refused_where_it_would_mislead(tmp_path) -> None:
    store = filled(tmp_path, 4, 2)
    take_snapshot(store, "one", SILENT)
    with pytest.raises(StoreError, match="snapshots do not change"):
        take_snapshot(store, "one", SILENT)
    for name in ("", "../x", "a/b", ".hidden", "x" * 65, "a b"):
        with pytest.raises(StoreError, match="cannot name a snapshot"):
            take_snapshot(store, name, SILENT)
    with pytest.raises(StoreError, match=r"snapshots/two.parquet: no such file"):
        Store.open(tmp_path, "two").rows()
    store.plan([clip(f"c{n:03d}") for n in range(5)], 2)
    with pytest.raises(StoreError, match="1 clips are not attributed yet"):
        take_snapshot(store, "two", SILENT)


def test_a_snapshot_whose_shard_is_gone_or_another_one_is_refused(tmp_path) -> None:
    store = filled(tmp_path, 4, 2)
    take_snapshot(store, "one", SILENT)
    first, second = sorted((tmp_path / "shards").iterdir())
    whole = first.read_bytes()
    first.unlink()
    with pytest.raises(StoreError, match=f"snapshot one needs shard {first.stem}"):
        Store.open(tmp_path, "one").rows()
    shutil.copy(second, first)
    with pytest.raises(StoreError, match=f"snapshot one needs shard {first.stem}"):
        Store.open(tmp_path, "one").rows()
    first.write_bytes(whole)
    assert len(Store.open(tmp_path, "one").rows()) == 4


def test_shards_kept_for_a_snapshot_go_when_it_is_deleted(tmp_path) -> None:
    store = filled(tmp_path, 8, 2)
    take_snapshot(store, "one", SILENT)
    compact(store, 100, SILENT)
    assert len(contents(tmp_path, "kept")) == 4
    compact(store, 100, SILENT)
    assert len(contents(tmp_path, "kept")) == 4
    (tmp_path / "snapshots" / "one.parquet").unlink()
    compact(store, 100, SILENT)
    assert contents(tmp_path, "kept") == {}


def test_files_that_a_killed_writer_left_half_written_are_no_part_of_a_store(tmp_path) -> None:
    store = filled(tmp_path, 4, 2)
    (tmp_path / "shards" / ".1234.parquet.0123456789abcdef.tmp").write_bytes(b"PAR1")
    assert len(read(store)) == 4
    assert verify(store, SILENT).damaged == {}
    assert create_once(tmp_path / "shards" / "other", b"")
