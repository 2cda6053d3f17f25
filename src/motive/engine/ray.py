"""Workers on a Ray cluster: actors, each with a function built once, whose death is told like that of a process here.

Ray Core, not Ray Data: tasks are large, few, and idempotent, and what they make lies in files. Ray is an extra, imported when
this engine is asked for.
"""

import os
import pickle
import queue
import re
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import Any

from motive.engine.messages import Packet, TaskError, retold, told
from motive.errors import EngineError
from motive.text import printable

COLOUR = re.compile(r"\x1b\[[0-9;]*m")

PATIENCE = 10.0
"""Seconds in which a cluster's head has to answer when it is joined."""

OBJECTS = 100 << 20
"""Bytes of shared memory that a cluster started here sets aside; nothing large travels."""


class RayWorkers:
    """Workers (see engine.ahead) that are actors on the cluster at `address`, or on one started here without an address.

    cpus, gpus: what the cluster has. Use it as a context: that ends the actors, and the cluster if it was started here.
    Raises EngineError if Ray is not installed or there is no such cluster.
    """

    def __init__(self, address: str | None = None) -> None:
        self._ray = _import_ray()
        self._joined = not self._ray.is_initialized()
        if self._joined:
            _join(self._ray, address)
        resources = self._ray.cluster_resources()
        self.cpus, self.gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
        self.ahead = 0
        self._tasks: queue.SimpleQueue[tuple[bytes, Future[Packet]] | None] = queue.SimpleQueue()
        self._keepers: list[threading.Thread] = []
        self._closing = threading.Event()

    def start(self, build: Callable[[], Callable[[Any], Packet]], count: int, cpus: float, gpus: float) -> None:
        """Have `count` actors, each of which takes `cpus` and `gpus` of its node and calls `build`, which travels pickled.

        Raises EngineError if the cluster has not that much.
        """
        if count < 1 or count * cpus > self.cpus or count * gpus > self.gpus:
            raise EngineError(
                f"the Ray cluster has {self.cpus} CPUs and {self.gpus} GPUs, which is not enough for {count} workers with "
                f"{cpus:g} CPUs and {gpus:g} GPUs each; see engine.workers and engine.threads"
            )
        # Ray itself must not retry: it does not know that a task which kills its actor twice is poison.
        actor = self._ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0, max_task_retries=0)(Actor)
        self.ahead = count
        for _ in range(count):
            keeper = threading.Thread(target=self._keep, args=(actor, pickle.dumps(build)), name="ray keeper", daemon=True)
            self._keepers.append(keeper)
            keeper.start()

    def submit(self, task: Any) -> "Future[Packet]":
        future: Future[Packet] = Future()
        self._tasks.put((pickle.dumps(task), future))
        return future

    def close(self) -> None:
        """End the actors, whatever they do, and leave the cluster."""
        self._closing.set()
        for _ in self._keepers:
            self._tasks.put(None)
        for keeper in self._keepers:
            keeper.join()
        if self._joined:
            self._ray.shutdown()

    def __enter__(self) -> "RayWorkers":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _keep(self, kind: Any, build: bytes) -> None:
        """What a keeper does: feed one actor at a time, and see to it that every future gets its end."""
        actor = None
        while (given := self._tasks.get()) is not None:
            task, future = given
            if self._closing.is_set() or not future.set_running_or_notify_cancel():
                future.cancel()
                continue
            try:
                actor = kind.remote(build) if actor is None else actor
                future.set_result(self._answer(actor.do.remote(task)))
            except TaskError as error:
                self._end(actor)
                actor = None
                future.set_exception(error)
            except BaseException as error:  # noqa: BLE001, whoever waits for it has to be told
                future.set_exception(error)
        self._end(actor)

    def _answer(self, promised: Any) -> Packet:
        """Wait for a task's end. Raises the project's errors as the actor raised them, TaskError if it was lost, EngineError if
        the cluster was."""
        try:
            while not self._ray.wait([promised], timeout=0.5)[0]:
                if self._closing.is_set():
                    raise TaskError("was stopped")
            answer = self._ray.get(promised)
        except self._ray.exceptions.RayActorError as error:
            raise TaskError(f"ended its process ({_first_line(error)})") from None
        except self._ray.exceptions.RayError as error:
            raise EngineError(f"Ray: {_first_line(error)}; what is finished is kept, run the same command again") from None
        if "error" in answer:
            raise retold(*answer["error"])
        return Packet(answer["facts"], answer["arrays"])

    def _end(self, actor: Any) -> None:
        if actor is not None:
            with suppress(Exception):  # the cluster may be gone
                self._ray.kill(actor)


class Actor:
    """What runs in an actor. Errors go back as data: their classes may mean nothing to Ray."""

    def __init__(self, build: bytes) -> None:
        try:
            self._work = pickle.loads(build)()  # noqa: S301, the driver's
            self._failure: tuple[str | None, str] | None = None
        except Exception as error:  # noqa: BLE001, told with every task
            self._failure = told(error)

    def do(self, task: bytes) -> dict[str, Any]:
        if self._failure is not None:
            return {"error": self._failure}
        try:
            packet: Packet = self._work(pickle.loads(task))  # noqa: S301, the driver's
        except Exception as error:  # noqa: BLE001, told to the driver, whatever it is
            return {"error": told(error)}
        return {"facts": packet.facts, "arrays": dict(packet.arrays)}


def _import_ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise EngineError('engine.kind ray needs Ray: pip install "motive[ray]"') from None
    return ray


def _join(ray: Any, address: str | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # "local": without an address a cluster of one's own, even where RAY_ADDRESS names another.
    own = {} if address else {"include_dashboard": False, "object_store_memory": OBJECTS}
    try:
        if address:
            _knock(address)
        ray.init(address=address or "local", log_to_driver=False, logging_level="error", **own)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = f"at {address}" if address else "on this machine"
        raise EngineError(f"Ray: no cluster {where}: {_first_line(error)}") from None


def _knock(address: str) -> None:
    """Raise OSError unless something listens there: Ray itself would try for twenty minutes, without a word."""
    if "://" in address:
        return
    from ray._private.services import canonicalize_bootstrap_address

    found = canonicalize_bootstrap_address(address)
    if found is None:
        raise ConnectionError("none has been started here, and RAY_ADDRESS names none")
    host, _, port = found.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()


def _first_line(error: BaseException) -> str:
    return printable(next(iter(COLOUR.sub("", str(error)).strip().splitlines()), type(error).__name__))
