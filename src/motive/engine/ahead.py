"""Tasks given to workers ahead of their consumer, but no further than the workers say, which bounds what waits in memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, Protocol, TypeVar

from motive.engine.messages import Packet, retold, told

Task = TypeVar("Task")


class Workers(Protocol):
    """Where tasks are done. ahead: how many may be under way or done, and not yet taken, beside the one that is taken."""

    ahead: int

    def submit(self, task: Any) -> "Future[Packet]":
        """The task's packet, once there is one. As errors it holds the project's own as they were raised, and TaskError."""
        ...


class Here:
    """Workers that are none: each task is done when it is given, in this process and without limits."""

    ahead = 0

    def __init__(self, build: Callable[[], Callable[[Any], Packet]]) -> None:
        self._work = build()

    def submit(self, task: Any) -> "Future[Packet]":
        future: Future[Packet] = Future()
        try:
            future.set_result(self._work(task))
        except Exception as error:  # noqa: BLE001, as in a process of its own
            future.set_exception(retold(*told(error)))
        return future


def in_order(workers: Workers, tasks: Iterable[Task]) -> Iterator[tuple[Task, "Future[Packet]"]]:
    """Each task and its future, which need not be done yet, in the order of `tasks`."""
    waiting: deque[tuple[Task, Future[Packet]]] = deque()
    try:
        for task in tasks:
            waiting.append((task, workers.submit(task)))
            if len(waiting) > workers.ahead:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        _cancel(future for _, future in waiting)


def as_they_come(workers: Workers, tasks: Iterable[Task]) -> Iterator[tuple[Task, "Future[Packet]"]]:
    """Each task and its future, done, in whatever order they are done: a slow one holds no other up."""
    waiting: dict[Future[Packet], Task] = {}
    try:
        for task in tasks:
            waiting[workers.submit(task)] = task
            if len(waiting) > workers.ahead:
                yield _first_done(waiting)
        while waiting:
            yield _first_done(waiting)
    finally:
        _cancel(waiting)


def _first_done(waiting: dict["Future[Packet]", Task]) -> tuple[Task, "Future[Packet]"]:
    done = wait(waiting, return_when=FIRST_COMPLETED).done
    future = next(future for future in waiting if future in done)
    return waiting.pop(future), future


def _cancel(futures: Iterable["Future[Packet]"]) -> None:
    for future in futures:
        future.cancel()
