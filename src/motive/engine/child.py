"""A child process: it builds its function once, then does tasks for its parent, and dies with it.

It imports nothing that the function does not need.
"""

import contextlib
import ctypes
import json
import os
import pickle
import resource
import signal
import socket
from pathlib import Path
from typing import Any

from motive.engine.messages import Packet, pack, receive_frame, send_frame, told

PR_SET_PDEATHSIG = 1
MAX_TEXT = 4_000
"""Characters of an error's message that are passed on."""


def serve(descriptor: int, parent: int) -> None:
    """What a child runs: `descriptor` is its end of a socket to the process `parent`.

    The first frame is pickled: bytes that unpickle to a function without arguments, which returns the one for tasks; and the
    bytes that may be mapped beside what that takes, or None. Every further frame is a pickled task.
    """
    _guard(parent)
    connection = socket.socket(fileno=descriptor)
    # EOFError: the parent needs this child no more, or is gone. OSError: it went while it was being told something.
    with contextlib.suppress(EOFError, OSError):
        setup, _ = receive_frame(connection)
        try:
            build, memory = pickle.loads(setup)  # noqa: S301, the parent's
            work = pickle.loads(build)()  # noqa: S301
        except Exception as error:  # noqa: BLE001, told to the parent, whatever it is
            _send(connection, _told(error))
            return
        if memory is not None:
            _limit_memory(memory)
        _send(connection, {"ready": True})
        while True:
            _do(connection, work, receive_frame(connection)[0])


def _do(connection: socket.socket, work: Any, task: bytes) -> None:
    try:
        packet: Packet = work(pickle.loads(task))  # noqa: S301, the parent's
        memory, listing = pack(packet.arrays)
    except (Exception, SystemExit) as error:  # noqa: BLE001, told to the parent, whatever it is
        _send(connection, _told(error))
        return
    try:
        facts = packet.facts
        del packet  # before the parent looks what this process holds between two tasks
        _send(connection, {"facts": facts, "arrays": listing}, memory)
    except (TypeError, ValueError) as error:
        _send(connection, _told(error))
    finally:
        os.close(memory)


def _send(connection: socket.socket, message: dict[str, Any], memory: int | None = None) -> None:
    send_frame(connection, json.dumps(message).encode(), memory)


def _told(error: BaseException) -> dict[str, Any]:
    if isinstance(error, MemoryError):
        return {"memory": True}
    kind, text = told(error)
    return {"error": kind, "text": text[:MAX_TEXT]}


def _guard(parent: int) -> None:
    """Leave Ctrl-C to the parent and die with it; dump no core; be the first to go when the system runs out of memory."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # 0 would still start a core handler behind a pipe; 1 is what the kernel itself takes for "none at all".
    with contextlib.suppress(ValueError):  # it is 0 already, and cannot be raised
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # gone before it could be followed
        os._exit(1)


def _limit_memory(memory: int) -> None:
    """Let allocations fail beyond `memory` more bytes than are mapped now, a net below the parent's own watch."""
    with contextlib.suppress(OSError):
        data = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_DATA, (data + memory, resource.getrlimit(resource.RLIMIT_DATA)[1]))
