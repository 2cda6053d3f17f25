"""A folder that many write at once, on a disk and in a bucket of a real object server: the same rules in both."""

import errno
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motive.errors import ConfigError, StoreError
from motive.files import create_once, write_atomic
from motive.folders import open_folder
from tests.object_server import environment, free_ports


def test_what_is_written_is_read_listed_and_removed(place) -> None:
    folder = open_folder(place)
    assert folder.names("some") == []
    assert not folder.exists("some/a")
    folder.replace("some/a", b"one")
    folder.replace("some/a", b"two")
    folder.replace("some/b", b"")
    folder.replace("c", b"three")
    assert folder.names("some") == ["a", "b"]
    assert folder.read(["c", "some/a", "some/b"]) == [b"three", b"two", b""]
    assert folder.exists("some/a")
    assert not folder.exists("some")
    folder.remove(["some/a", "c", "never-there"])
    assert folder.names("some") == ["b"]
    assert not folder.exists("c")
    assert (folder.name, str(folder)) == ("there", str(place))


def test_a_file_that_is_not_there_is_told_as_such(place) -> None:
    folder = open_folder(place)
    folder.replace("some/a", b"one")
    for read in (lambda: folder.read(["some/b"]), lambda: folder.read(["some/a", "some/b"]), lambda: folder.open("some/b")):
        with pytest.raises(FileNotFoundError):
            read()


def test_a_file_is_made_once_and_then_stays(place) -> None:
    folder = open_folder(place)
    assert folder.create("some/a", b"first")
    assert not folder.create("some/a", b"second")
    assert folder.read(["some/a"]) == [b"first"]


def test_a_large_file_is_made_once_too(bucket) -> None:
    """Over 100 MB, a bucket gets it in parts."""
    folder, data = open_folder(f"{bucket}/{os.urandom(8).hex()}"), os.urandom(105 << 20)
    assert folder.create("large", data)
    assert not folder.create("large", data[::-1])
    assert folder.read(["large"]) == [data]


RACER = """
import sys, time
from motive.folders import open_folder
folder, me = open_folder(sys.argv[1]), sys.argv[2]
folder.exists("warm-up")
print("ready", flush=True)
begin = float(sys.stdin.readline())
for n in range(20):
    time.sleep(max(0.0, begin + 0.05 * n - time.time()))
    print(int(folder.create(f"some/{n}", f"writer {me} ".encode() * 10_000)), flush=True)
"""


def test_of_several_processes_exactly_one_makes_a_file_and_it_is_whole(place) -> None:
    command = [sys.executable, "-c", RACER, str(place)]
    with ExitStack() as stack:
        racers = [stack.enter_context(subprocess.Popen([*command, str(n)], stdin=-1, stdout=-1, text=True)) for n in range(4)]
        assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 4
        begin = time.time() + 0.1
        for racer in racers:
            racer.stdin.write(f"{begin}\n")
            racer.stdin.flush()
        made = [list(map(int, racer.communicate()[0].split())) for racer in racers]
    assert [sum(flags) for flags in zip(*made, strict=True)] == [1] * 20
    for n, flags in enumerate(zip(*made, strict=True)):
        assert open_folder(place).read([f"some/{n}"]) == [f"writer {flags.index(1)} ".encode() * 10_000]


def test_only_the_parts_of_a_file_that_are_asked_for_are_fetched(place, monkeypatch) -> None:
    folder = open_folder(place)
    sink = pa.BufferOutputStream()
    table = pa.table({"id": [f"c{n}" for n in range(2000)], "feature": [os.urandom(2048) for _ in range(2000)]})
    pq.write_table(table, sink, compression="none", use_dictionary=False)
    folder.replace("some/rows", sink.getvalue().to_pybytes())
    fetched = []
    if isinstance(place, str):
        part = type(folder).part
        monkeypatch.setattr(type(folder), "part", lambda *given: fetched.append(part(*given)) or fetched[-1])
    with folder.open("some/rows") as file:
        assert pq.ParquetFile(file).read(["id"], use_threads=False).equals(table.select(["id"]))
    assert sum(map(len, fetched)) < 1_000_000
    with folder.open("some/rows", whole=True) as file:
        assert pq.ParquetFile(file).read(use_threads=False).equals(table)


@given(data=st.binary(max_size=300), cuts=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), max_size=4))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_parts_are_those_of_the_whole_file(place, data, cuts) -> None:
    folder = open_folder(place)
    folder.replace("a", data)
    with folder.open("a") as file:
        for start, size in cuts:
            file.seek(min(start, len(data)))
            assert file.read(size) == data[start : start + size]


@pytest.mark.parametrize("place", ["s3://", "s3:///x", "gs://bucket/x", "file:///tmp/x", "s3://bucket/*", "http://a/b"])
def test_any_other_address_is_refused(place) -> None:
    with pytest.raises(ConfigError, match="in a folder or at s3://"):
        open_folder(place)


def test_a_bucket_with_wrong_keys_or_without_a_server_is_told_in_words(bucket) -> None:
    folder = open_folder(f"{bucket}/some")
    asked = [lambda: folder.names("a"), lambda: folder.exists("a"), lambda: folder.read(["a"]), lambda: folder.create("a", b"")]
    with environment({"AWS_SECRET_ACCESS_KEY": "wrong"}):
        for ask in asked:
            with pytest.raises(StoreError, match=f"{bucket}/some: PermissionError"):
                ask()
    (port,) = free_ports(1)
    with environment({"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}), pytest.raises(StoreError, match="connect"):
        folder.read(["a"])


def test_the_s3_client_is_asked_for_by_name_where_it_is_missing(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(StoreError, match=r"pip install 'motive\[s3\]'"):
        open_folder("s3://bucket/some").exists("a")


def test_of_many_threads_that_replace_one_file_none_leaves_a_mixture(place) -> None:
    folder = open_folder(place)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: folder.replace("a", b"%d" % n * 50_000), range(40)))
    (data,) = folder.read(["a"])
    assert len(set(data.decode())) <= 2
    assert len(data) in (50_000, 100_000)
    assert folder.names("") == (["a"] if isinstance(place, Path) else folder.names(""))


def test_without_hard_links_a_file_is_still_made_whole_and_not_twice(tmp_path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert create_once(tmp_path / "a", b"first")
    assert not create_once(tmp_path / "a", b"second")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"first"


def test_new_folders_are_as_durable_as_the_files_in_them(tmp_path, monkeypatch) -> None:
    synced = []
    monkeypatch.setattr("motive.files.sync_folder", synced.append)
    write_atomic(tmp_path / "x" / "y" / "a", b"")
    assert synced == [tmp_path, tmp_path / "x", tmp_path / "x" / "y"]


def test_a_writer_killed_at_any_moment_leaves_the_old_file_or_the_new_one(tmp_path) -> None:
    code = (
        "import sys; from pathlib import Path; from motive.files import write_atomic, create_once\n"
        "n = int(sys.argv[2])\n"
        "while True:\n"
        "    write_atomic(Path(sys.argv[1]) / 'a', b'%06d' % n * 100_000)\n"
        "    create_once(Path(sys.argv[1]) / f'once-{n}', b'%06d' % n * 100_000)\n"
        "    n += 1; print(n, flush=True)\n"
    )
    done = 0
    for wait in (0.0, 0.002, 0.005, 0.011, 0.003, 0.007, 0.001, 0.004):
        with subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(done)], stdout=subprocess.PIPE) as process:
            for _ in range(3):
                done = int(process.stdout.readline())
            time.sleep(wait)
            process.kill()
            done = max([done, *map(int, process.stdout.read().split())])
        for file in (tmp_path / "a", *(tmp_path / f"once-{n}" for n in range(done))):
            data = file.read_bytes()
            assert len(data) == 600_000
            assert data == data[:6] * 100_000
        assert int((tmp_path / "a").read_bytes()[:6]) >= done - 1
