"""What crosses between processes arrives as it was, or is refused."""

import fcntl
import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from motive.engine.messages import LENGTH_BYTES, MAX_FRAME, TaskError, pack, receive_frame, retold, send_frame, told, unpack
from motive.errors import ClipError, ConfigError, LeftOutError
from tests.engine.processes import mapped_memory, open_files

NUMBERS = st.one_of(npst.integer_dtypes(), npst.unsigned_integer_dtypes(), npst.floating_dtypes(), npst.boolean_dtypes())
ARRAYS = npst.arrays(NUMBERS, npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))


@given(st.dictionaries(st.text(max_size=5), ARRAYS, max_size=4))
def test_arrays_come_back_as_they_were(arrays) -> None:
    before = open_files()
    memory, listing = pack(arrays)
    found = unpack(memory, json.loads(json.dumps(listing)))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()
        assert found[name].flags.writeable
    found.clear()
    assert open_files() == before


def test_arrays_that_are_views_come_back_whole() -> None:
    whole = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    views = {"turned": whole.transpose(2, 0, 1), "part": whole[:, ::2], "upside down": whole[::-1]}
    for name, array in unpack(*pack(views)).items():
        assert np.array_equal(array, views[name])


def test_without_anonymous_memory_a_file_without_a_name_serves(monkeypatch, tmp_path) -> None:
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = unpack(*pack({"numbers": np.arange(1000)}))
    assert np.array_equal(found["numbers"], np.arange(1000))
    assert list(tmp_path.iterdir()) == []


def test_memory_is_gone_with_its_last_array() -> None:
    before = mapped_memory()
    found = unpack(*pack({"a": np.zeros(1000), "b": np.zeros(1000)}))
    assert mapped_memory() == before + 1
    part = found.pop("b")[3:]
    found.clear()
    assert mapped_memory() == before + 1
    del part
    assert mapped_memory() == before


def test_whoever_made_the_memory_can_no_longer_change_it() -> None:
    """Shorter memory would kill its reader with a bus error."""
    memory, listing = pack({"a": np.ones(10_000)})
    mine = os.dup(memory)
    found = unpack(memory, listing)
    with pytest.raises(OSError):
        os.ftruncate(mine, 0)
    with pytest.raises(OSError):
        os.pwrite(mine, b"x", 0)
    assert fcntl.fcntl(mine, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK
    os.close(mine)
    found["a"][0] = 2
    assert found["a"].sum() == 10_001


@pytest.mark.parametrize(
    "listing",
    [
        [["a", "|O", [1]]],
        [["a", "<f8", [17]]],
        [["a", "<f8", [10]], ["b", "<f8", [1]]],
        [["a", "<f8", [-2, -5]]],
        [["a", "<f8", [1 << 60]]],
        [["a", "no such", [1]]],
        [["a", "V8", [1]]],
        [["a", "<f8"]],
        ["a"],
        [["a", "<f8", ["x"]]],
    ],
)
def test_a_listing_that_does_not_fit_its_memory_is_refused(listing) -> None:
    before = open_files(), mapped_memory()
    memory, _ = pack({"a": np.zeros(10)})
    with pytest.raises((ValueError, TypeError)):
        unpack(memory, listing)
    assert (open_files(), mapped_memory()) == before


@given(st.lists(st.binary(max_size=200_000), max_size=4))
def test_frames_arrive_whole_and_in_order(payloads) -> None:
    here, there = socket.socketpair()
    with here, there, ThreadPoolExecutor(1) as pool:
        sending = pool.submit(lambda: [send_frame(here, payload) for payload in payloads])
        assert [receive_frame(there) for _ in payloads] == [(payload, None) for payload in payloads]
        sending.result()
        here.close()
        with pytest.raises(EOFError):
            receive_frame(there)


def test_memory_travels_with_a_frame() -> None:
    before = open_files()
    here, there = socket.socketpair()
    with here, there:
        memory, listing = pack({"a": np.arange(5)})
        send_frame(here, b"five", memory)
        os.close(memory)
        payload, received = receive_frame(there)
        assert payload == b"five"
        assert received is not None
        assert unpack(received, listing)["a"].tolist() == [0, 1, 2, 3, 4]
    assert open_files() == before


def test_what_is_no_frame_is_refused_and_leaves_nothing_open() -> None:
    before = open_files()
    for size in (MAX_FRAME, (1 << 64) - 1):
        here, there = socket.socketpair()
        with here, there:
            memory, _ = pack({"a": np.arange(5)})
            socket.send_fds(here, [size.to_bytes(LENGTH_BYTES, "big")], [memory])
            os.close(memory)
            with pytest.raises(ValueError, match="no message"):
                receive_frame(there)
    assert open_files() == before


def test_an_error_is_told_by_class_and_text_or_by_what_it_was_and_where() -> None:
    class PrivateError(LeftOutError):
        pass

    assert told(ClipError("damaged")) == ("ClipError", "damaged")
    assert told(PrivateError("static")) == ("LeftOutError", "static")
    assert told(KeyError()) == (None, "raised KeyError")
    try:
        [].pop()
    except IndexError as error:
        name, text = told(error)
    assert name is None
    assert text.startswith("raised IndexError: pop from empty list (test_messages.py, line ")
    assert told(ValueError("file \udcff.mp4"))[1] == "raised ValueError: file \\udcff.mp4"


def test_a_told_error_is_the_projects_own_again_or_a_tasks() -> None:
    for error in (ClipError("damaged"), LeftOutError("static"), ConfigError("wrong")):
        again = retold(*told(error))
        assert (type(again), str(again)) == (type(error), str(error))
    assert isinstance(retold(*told(KeyError("x"))), TaskError)
    for name in ("open", "MotiveErrors", "__name__", "__builtins__", ""):
        with pytest.raises(ValueError, match="no error of ours"):
            retold(name, "x")
