"""Looking at processes, through /proc."""

import time
from collections.abc import Iterable
from pathlib import Path


def children(pid: int) -> set[int]:
    """The processes whose parent is `pid`."""
    found = set()
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = place.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[1]) == pid and words[0] != "Z":
            found.add(int(place.parent.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def left_after(pids: Iterable[int], seconds: float) -> set[int]:
    """Those of `pids` that are still alive after so long; returns as soon as there are none."""
    until = time.monotonic() + seconds
    left = {pid for pid in pids if alive(pid)}
    while left and time.monotonic() < until:
        time.sleep(0.01)
        left = {pid for pid in left if alive(pid)}
    return left


def mapped_memory() -> int:
    """How many pieces of the memory that children give are mapped into this process."""
    return Path("/proc/self/maps").read_text().count("memfd:motive")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
