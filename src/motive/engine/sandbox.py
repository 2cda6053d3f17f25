"""Child processes that do tasks within limits, and whose death is a task's failure and nobody else's.

Each child holds one function, built once, and does one task at a time. A thread in the parent feeds it, watches its time and
memory even while the main thread is deep in a computation, kills it at the limit, and starts another. What is told about a
task's end is exact: its own error, the signal that its process died of, or the limit.
"""

import json
import math
import os
import pickle
import queue
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from motive.engine.messages import Packet, TaskError, receive_frame, retold, send_frame, unpack
from motive.errors import EngineError

TICK = 0.02
"""Seconds between two looks at a child's memory and clock; what it can take beyond its limit in between is tens of MiB."""

SLACK = 512
"""MiB beyond twice its memory at which a child's own allocations fail. That is a net below the watch here, which tells the
reason: FFmpeg calls a refused allocation "invalid data", and maps much before it uses any."""

START_SECONDS = 300.0
"""What building the function may take: it may load weights from a slow disk."""

CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from motive.engine.child import serve; serve(int(sys.argv[2]), int(sys.argv[3]))"
)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Limits:
    """seconds: of wall time that a task may take. memory: MiB that its process may hold beyond what it held when it was
    started. tries: how often a task is tried, each time in a fresh process, whose process dies or exceeds a limit."""

    seconds: float = math.inf
    memory: float = math.inf
    tries: int = 1


class Sandbox:
    """Workers (see engine.ahead) in processes, each started when it is first needed.

    builds: one for each child, pickled; gives, in that child, the function from a task to its Packet. threads: for a child's
    numerical libraries. Close it, or use it as a context: that kills the children. They also die with this process, however
    it ends.
    """

    def __init__(
        self, builds: Sequence[Callable[[], Callable[[Any], Packet]]], limits: Limits | None = None, threads: int = 1
    ) -> None:
        self.ahead = 2 * len(builds)
        self._threads, self._limits = threads, limits or Limits()
        self._builds = [pickle.dumps(build) for build in builds]
        self._tasks: queue.SimpleQueue[tuple[bytes, Future[Packet]] | None] = queue.SimpleQueue()
        self._keepers: list[threading.Thread] = []
        self._closing = threading.Event()

    def submit(self, task: Any) -> "Future[Packet]":
        future: Future[Packet] = Future()
        self._tasks.put((pickle.dumps(task), future))
        if len(self._keepers) < len(self._builds):
            build = self._builds[len(self._keepers)]
            self._keepers.append(threading.Thread(target=self._keep, args=(build,), name="keeper", daemon=True))
            self._keepers[-1].start()
        return future

    def close(self) -> None:
        """Kill the children, whatever they do, and cancel all tasks that are not done."""
        self._closing.set()
        for _ in self._keepers:
            self._tasks.put(None)
        for keeper in self._keepers:
            keeper.join()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _keep(self, build: bytes) -> None:
        """What a keeper does: feed one child at a time, and see to it that every future gets its end.

        The system kills a child when the thread that started it ends (see child._guard), so a keeper lives as long as they do.
        """
        keeper = _Keeper(build, self._limits, self._threads, self._closing)
        try:
            while (given := self._tasks.get()) is not None:
                task, future = given
                if self._closing.is_set() or not future.set_running_or_notify_cancel():
                    future.cancel()
                    continue
                try:
                    future.set_result(keeper.do(task))
                except BaseException as error:  # noqa: BLE001, whoever waits for it has to be told
                    future.set_exception(error)
                del task, future, given  # a packet must not be held here until the next one comes
        finally:
            keeper.stop()


def cpus() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _LostError(Exception):
    """A child that is of no more use; the text and `limit` are a TaskError's."""

    def __init__(self, text: str, limit: Literal["seconds", "memory"] | None = None) -> None:
        super().__init__(text)
        self.limit = limit


class _ClosedError(Exception):
    """The sandbox was closed in the middle of a task."""


@dataclass
class _Keeper:
    """Does tasks in a child, and in a fresh one when that is lost."""

    build: bytes
    limits: Limits
    threads: int
    closing: threading.Event
    child: "_Child | None" = None

    def do(self, task: bytes) -> Packet:
        """Raises the project's errors as the child raised them, TaskError, or EngineError if no child can be started."""
        for left in reversed(range(self.limits.tries)):
            child = self._ready()
            try:
                return child.do(task, self.limits)
            except _LostError as lost:
                self.stop()
                if not left:
                    raise TaskError(str(lost), lost.limit) from None
            except TaskError:
                self.stop()  # after an error that nobody foresaw, a device's say, nobody knows what state it is in
                raise
        raise AssertionError("tries is at least 1")

    def stop(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child = None

    def _ready(self) -> "_Child":
        """The child, replaced if it is gone, or has kept so much memory that the next task would be blamed for it."""
        if self.child is not None and (self.child.gone() or self.child.taken() > self.limits.memory / 2):
            self.stop()
        if self.child is None:
            self.child = _Child(self.threads, self.closing)
            try:
                self.child.start(self.build, self.limits)
            except BaseException:
                self.stop()
                raise
        return self.child


class _Child:
    """A process and this side of the connection to it."""

    def __init__(self, threads: int, closing: threading.Event) -> None:
        self.closing, self.held = closing, 0.0
        self.connection, theirs = socket.socketpair()
        arguments = [json.dumps(list(map(str, sys.path))), str(theirs.fileno()), str(os.getpid())]
        try:
            self.process = subprocess.Popen(  # noqa: S603, this interpreter and our own words
                # No folder of the caller's in front of the libraries; its own print goes where it cannot spoil our output.
                [sys.executable, "-P", "-c", CHILD, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=sys.__stderr__,
                pass_fds=[theirs.fileno()],
                process_group=0,
                env=os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads)),
            )
        except OSError as error:
            self.connection.close()
            raise EngineError(f"a worker process cannot be started: {error}") from error
        finally:
            theirs.close()
        self.connection.settimeout(START_SECONDS)  # a child that is stopped takes nothing
        self.poll = select.poll()
        self.poll.register(self.connection, select.POLLIN)

    def start(self, build: bytes, limits: Limits) -> None:
        net = int((2 * limits.memory + SLACK) * 2**20) if math.isfinite(limits.memory) else None
        try:
            self._ask(pickle.dumps((build, net)), Limits(START_SECONDS))
        except (_LostError, TaskError) as error:
            raise EngineError(f"a worker process cannot start: it {error}") from None
        self.held = self._memory()

    def do(self, task: bytes, limits: Limits) -> Packet:
        return self._ask(task, limits)

    def gone(self) -> bool:
        return self._end() is not None

    def taken(self) -> float:
        """MiB that it holds beyond what it held when it had started."""
        return self._memory() - self.held

    def kill(self) -> None:
        """End it and whatever it has started itself, and forget it."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self.connection.close()

    def _ask(self, frame: bytes, limits: Limits) -> Packet:
        deadline = time.monotonic() + limits.seconds
        try:
            send_frame(self.connection, frame)
            answer, memory = receive_frame(self.connection, lambda: self._wait(deadline, limits))
        except (EOFError, OSError):
            raise _LostError(self._death()) from None
        except ValueError as error:
            raise _LostError(f"answered what cannot be read ({error})") from None
        return _packet(answer, memory, limits)

    def _wait(self, deadline: float, limits: Limits) -> None:
        """Return when there is something to read."""
        while not self.poll.poll(TICK * 1000):
            if self.closing.is_set():
                raise _ClosedError
            if time.monotonic() > deadline:
                raise _LostError(f"took longer than {limits.seconds:g} s", "seconds")
            if self.taken() > limits.memory:
                raise _LostError(f"needed more than {limits.memory:,.0f} MiB", "memory")
            if self.gone() and not self.poll.poll(0):  # a process that it started may hold the connection open
                raise EOFError

    def _end(self) -> os.waitid_result | None:
        """How it ended, if it did. It is not reaped: until `kill` has ended its group, nobody else must get its number."""
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)

    def _death(self) -> str:
        """Why it is lost, once its connection is: that closes a moment before the process ends."""
        until = time.monotonic() + 5
        while not (end := self._end()):
            if time.monotonic() > until:
                return "closed its connection"
            time.sleep(TICK / 10)
        if end.si_code == os.CLD_EXITED:
            return f"ended its process (exit code {end.si_status})"
        if end.si_status == signal.SIGKILL:
            return "had its process killed (signal 9, SIGKILL), as the system does when memory runs out"
        return f"crashed its process (signal {end.si_status}, {signal.Signals(end.si_status).name})"

    def _memory(self) -> float:
        """MiB of its own, without what is mapped from files or shared; 0 where the system does not say."""
        try:
            _, resident, shared, *_ = map(int, Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split())
        except (OSError, ValueError):
            return 0.0
        return (resident - shared) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _packet(answer: bytes, memory: int | None, limits: Limits) -> Packet:
    """What an answer says; the errors that it tells are raised. Closes `memory`."""
    try:
        match json.loads(answer):
            case {"facts": dict(facts), "arrays": list(listing)} if memory is not None:
                held, memory = memory, None
                return Packet(facts, unpack(held, listing))
            case {"ready": True}:
                return Packet()
            case {"error": (str() | None) as name, "text": str(text)}:
                raise retold(name, text)
            case {"memory": True}:
                raise _LostError(f"needed more than {limits.memory:,.0f} MiB", "memory")
            case _:
                raise ValueError("no answer")
    except (ValueError, TypeError, RecursionError) as error:
        raise _LostError(f"answered what cannot be read ({error})") from None
    finally:
        if memory is not None:
            os.close(memory)
