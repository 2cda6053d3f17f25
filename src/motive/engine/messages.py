"""What crosses between a process and its child: frames of bytes, arrays in anonymous shared memory, errors in words.

A frame is a length and as many bytes; with the length may travel one file descriptor, of memory that has no name. It is gone
with the last process that holds it, so no kill leaves anything behind, and no size of /dev/shm limits it.

Nothing that comes from a child is unpickled or trusted: it has read untrusted files, so what it says is checked like them.
"""

import fcntl
import math
import mmap
import os
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from motive import errors
from motive.errors import MotiveError

LENGTH_BYTES = 8
MAX_FRAME = 1 << 24
"""Bytes; what is larger and no array is a mistake."""

ALIGNMENT = 64
"""Bytes between the places at which arrays may begin."""

Arrays = Mapping[str, NDArray[Any]]
Listing = Sequence[tuple[str, str, Sequence[int]]]
"""Name, dtype and shape of each array in a piece of memory, in order."""


@dataclass(frozen=True)
class Packet:
    """What a task gives: facts that JSON can say, and arrays of numbers by name."""

    facts: dict[str, Any] = field(default_factory=dict)
    arrays: Arrays = field(default_factory=dict)


class TaskError(Exception):
    """A task gives nothing: it raised an error that is not the project's, or its process had to be given up.

    The text says why, to follow "it": "took longer than 60 s". limit: the limit that it exceeded, "seconds" or "memory".
    """

    def __init__(self, text: str, limit: Literal["seconds", "memory"] | None = None) -> None:
        super().__init__(text)
        self.limit = limit


def send_frame(connection: socket.socket, payload: bytes, memory: int | None = None) -> None:
    """Send `payload`, and with it the descriptor `memory`."""
    length = len(payload).to_bytes(LENGTH_BYTES, "big")
    if memory is None:
        connection.sendall(length)
    else:
        socket.send_fds(connection, [length], [memory])
    connection.sendall(payload)


def receive_frame(connection: socket.socket, wait: Callable[[], None] = lambda: None) -> tuple[bytes, int | None]:
    """A payload and the descriptor that came with it. `wait` is called before each read, and lets it happen by returning.

    Raises EOFError if the other side is gone, ValueError if it sends no frame.
    """
    data, needed, held = bytearray(), LENGTH_BYTES, list[int]()
    try:
        while len(data) < needed:
            wait()
            part, descriptors, _, _ = socket.recv_fds(connection, min(needed - len(data), 1 << 20), 1)
            held += descriptors
            data += part
            if not part:
                raise EOFError
            if len(data) == needed == LENGTH_BYTES:
                needed += int.from_bytes(data, "big")
            if needed > MAX_FRAME or len(held) > 1:
                raise ValueError(f"no message: {needed:,} bytes, {len(held)} descriptors")
    except BaseException:
        for memory in held:
            os.close(memory)
        raise
    return bytes(data[LENGTH_BYTES:]), held[0] if held else None


def pack(arrays: Arrays) -> tuple[int, Listing]:
    """A descriptor of new anonymous memory that holds `arrays`, and what is in it. The caller closes the descriptor."""
    memory = _anonymous()
    try:
        for array in arrays.values():
            # Written, not mapped: filling pages within one call costs half of faulting them in, and lets them be sealed.
            left = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
            while left:
                left = left[os.write(memory, left) :]
            os.lseek(memory, -os.lseek(memory, 0, os.SEEK_CUR) % ALIGNMENT, os.SEEK_CUR)
        os.ftruncate(memory, os.lseek(memory, 0, os.SEEK_CUR))  # an empty array may begin at the very end
    except BaseException:
        os.close(memory)
        raise
    return memory, [(name, array.dtype.str, array.shape) for name, array in arrays.items()]


def unpack(memory: int, listing: Listing) -> dict[str, NDArray[Any]]:
    """The arrays of `memory`, without copying them; it is freed with the last of them, and the descriptor closed here.

    Raises ValueError unless the memory holds what `listing` says: arrays of numbers, end to end.
    """
    try:
        kinds = [np.dtype(kind) for _, kind, _ in listing]
        if any(kind.kind not in "biuf" for kind in kinds) or any(length < 0 for *_, shape in listing for length in shape):
            raise ValueError(f"no arrays of numbers: {listing}")
        places, end = [], 0
        for kind, (_, _, shape) in zip(kinds, listing, strict=True):
            begin = -(-end // ALIGNMENT) * ALIGNMENT
            end = begin + kind.itemsize * math.prod(shape)
            places.append(begin)
        # A file that the other side could still make shorter would kill this process when it reads there.
        with suppress(AttributeError, OSError):
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
        if not end:
            return {name: np.empty(shape, kind) for kind, (name, _, shape) in zip(kinds, listing, strict=True)}
        if os.fstat(memory).st_size < end:
            raise ValueError(f"{os.fstat(memory).st_size:,} bytes for {listing}")
        # Private and writable, since torch takes no other arrays: what is written is copied, and nothing is.
        mapped = mmap.mmap(memory, end, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    finally:
        os.close(memory)
    return {
        name: np.frombuffer(mapped, kind, math.prod(shape), place).reshape(shape)
        for place, kind, (name, _, shape) in zip(places, kinds, listing, strict=True)
    }


def told(error: BaseException) -> tuple[str | None, str]:
    """An error as the name of its class in motive.errors and its text, or None and words for what it was and where."""
    text = str(error).encode(errors="backslashreplace").decode()  # file names in it need not be Unicode
    if isinstance(error, MotiveError):
        return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == MotiveError.__module__), text
    return None, f"raised {type(error).__name__}{': ' if text else ''}{text}{_where(error.__traceback__)}"


def retold(name: str | None, text: str) -> Exception:
    """The error that was told so, without a traceback, whose frames would hold on to the task's frames and arrays.

    Raises ValueError if `name` is no error of the project.
    """
    if name is None:
        return TaskError(text)
    kind = getattr(errors, name, None)
    if not (isinstance(kind, type) and issubclass(kind, MotiveError)):
        raise ValueError(f"no error of ours: {name}")
    return kind(text)


def _where(traceback: TracebackType | None) -> str:
    """The line that raised, without the folders that lead to its file."""
    if traceback is None:
        return ""
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return f" ({Path(traceback.tb_frame.f_code.co_filename).name}, line {traceback.tb_lineno})"


def _anonymous() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("motive", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
