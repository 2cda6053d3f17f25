"""Processes that share the lab's work, one core each."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from motive.engine.sandbox import THREAD_VARIABLES


@contextmanager
def processes(
    workers: int | None = None, start: Callable[..., None] | None = None, given: tuple[Any, ...] = ()
) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh processes, by default one a core, each of which has called `start(*given)`.

    Their numerical libraries get one thread each. With more, numpy's waits for its own threads by spinning, and where other
    processes want the cores too, one dot product was seen to take minutes.
    """
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))  # read when a process starts, which is at any submission
    try:
        with ProcessPoolExecutor(workers, get_context("spawn"), start, given) as pool:
            yield pool
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
