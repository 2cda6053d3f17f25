"""What the children of these tests do: a task is a word and a value."""

import contextlib
import ctypes
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from motive.engine.messages import Packet
from motive.errors import ClipError, ConfigError, LeftOutError

Task = tuple[str, Any]
kept: list[np.ndarray] = []


def build():
    return do


def refuse():
    raise ConfigError("this cannot be built")


def fail():
    raise ValueError("nor can this")


def crash():
    os.abort()


def do(task: Task) -> Packet:
    word, value = task
    return globals()[word](value)


def say(value: Any) -> Packet:
    return Packet({"said": value})


def pid(_: Any) -> Packet:
    return Packet({"pid": os.getpid()})


def square(n: int) -> Packet:
    return Packet({"n": n}, {"whole": np.full((3, 4), n * n, np.int64), "half": np.arange(n, dtype=np.float32) / 2})


def threads(_: Any) -> Packet:
    return Packet({"OMP_NUM_THREADS": os.environ["OMP_NUM_THREADS"]})


def core(_: Any) -> Packet:
    import resource

    return Packet({"core": resource.getrlimit(resource.RLIMIT_CORE)[0]})


def speak(words: str) -> Packet:
    print(words, flush=True)
    return Packet()


def wait_for(file: str) -> Packet:
    while not Path(file).exists():
        time.sleep(0.01)
    return Packet()


def segfault(_: Any) -> Packet:
    ctypes.string_at(0)
    raise AssertionError("alive")


def leave(code: int) -> Packet:
    os._exit(code)


def leave_politely(code: int) -> Packet:
    sys.exit(code)


def be_killed(_: Any) -> Packet:
    os.kill(os.getpid(), 9)
    raise AssertionError("alive")


def hang(_: Any) -> Packet:
    while True:
        time.sleep(1)


def hang_in_c(_: Any) -> Packet:
    """A regular expression that takes for ever, in C, with the interpreter's lock held."""
    re.match(r"(a|a)*$", "a" * 60 + "b")
    raise AssertionError("matched")


def eat(_: Any) -> Packet:
    while True:
        kept.append(np.ones(1 << 20, np.uint8))


def leak(mib: int) -> Packet:
    kept.append(np.ones(mib << 20, np.uint8))
    return pid(None)


def raise_error(words: str) -> Packet:
    raise ValueError(words)


def raise_clip_error(words: str) -> Packet:
    raise ClipError(words)


def raise_private_error(words: str) -> Packet:
    class PrivateError(ClipError):
        pass

    raise PrivateError(words)


def raise_left_out(words: str) -> Packet:
    raise LeftOutError(words)


def give_object(_: Any) -> Packet:
    return Packet({"object": object()})


def give_objects(_: Any) -> Packet:
    return Packet({}, {"objects": np.array([object()])})


def give_nothing(_: Any) -> Any:
    return None


def crash_until(given: tuple[str, int]) -> Packet:
    """Crash in the first tries; each try leaves its process's number in a file."""
    file, tries = Path(given[0]), given[1]
    with file.open("a") as out:
        out.write(f"{os.getpid()}\n")
    if len(file.read_text().split()) < tries:
        segfault(None)
    return Packet({"tries": tries})


def start_another(file: str) -> Packet:
    """Start a process that outlives this one if nobody ends it, and crash."""
    other = subprocess.Popen(["sleep", "1000"])
    Path(file).write_text(str(other.pid))
    return segfault(None)


def close_connection(_: Any) -> Packet:
    for descriptor in range(3, 100):
        with contextlib.suppress(OSError):
            os.close(descriptor)
    return hang(None)


def answer_nonsense(words: str) -> Packet:
    """Write to the connection what is no answer, as a process might that a hostile file has taken over."""
    for descriptor in range(3, 100):
        with contextlib.suppress(OSError):
            os.write(descriptor, words.encode("latin-1"))
    return hang(None)
