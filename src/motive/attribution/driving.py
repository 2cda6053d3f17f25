"""Giving shards to workers until all are made, whatever happens to the workers, and saying how far they are."""

import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from motive.attribution.making import Embed, Make, Task
from motive.attribution.notes import read_notes
from motive.engine.ahead import Workers
from motive.engine.messages import Packet, TaskError
from motive.errors import EngineError
from motive.progress import Progress, Step, duration

POLL = (0.01, 0.5)
"""Seconds between two looks at the workers' notes: at first, and in the end."""


def drive(workers: Workers, tasks: Sequence[Task], tries: int, notes: Path, run: str) -> None:
    """Have `workers` do all tasks, the next as soon as one is free.

    When a worker is lost, its task is given out again, and the clips that it had in hand are from then on attributed one by
    one; a clip in whose hands `tries` workers were lost is given up, recorded as failed, and the run goes on.

    Raises what a worker raises of the project's errors, and EngineError if workers are lost `tries` times over one task
    without a clip to blame.
    """
    todo, waiting = deque(tasks), dict[Future[Packet], Task]()
    blame = Blame(tries, notes, run)
    try:
        while todo or waiting:
            while todo and len(waiting) <= workers.ahead:
                task = todo.popleft()
                waiting[workers.submit(task)] = task
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                task = waiting.pop(future)
                error = future.exception()
                if isinstance(error, TaskError):
                    todo.appendleft(blame.again(task, error))
                elif error is not None:
                    raise error
    finally:
        for future in waiting:
            future.cancel()


class Blame:
    """Which clips workers had in hand when they were lost."""

    def __init__(self, tries: int, notes: Path, run: str) -> None:
        self._tries, self._notes, self._run = tries, notes, run
        self._deaths: Counter[str] = Counter()
        self._idle: Counter[str] = Counter()
        self._seen: set[str] = set()

    def again(self, task: Task, error: TaskError) -> Task:
        """The task to give out instead of one over which a worker was lost."""
        hand = self._hand(task) if isinstance(task, Make) else ()
        if not hand or isinstance(task, Embed):
            return self._without_a_clip(task, error)
        self._deaths.update(hand)
        alone = task.alone | set(hand)
        if len(hand) > 1 or self._deaths[hand[0]] < self._tries:
            return replace(task, alone=alone)
        times = "" if self._tries == 1 else f", {self._deaths[hand[0]]} times"
        reason = f"preparing or attributing it {error}{times}; see engine.tries"
        return replace(task, alone=alone, lost={**task.lost, hand[0]: reason})

    def _hand(self, task: Make) -> tuple[str, ...]:
        """The clips that the lost worker was at: a shard has one worker at a time, so it is the last one that began it."""
        of_shard = [note for note in read_notes(self._notes, self._run) if note.shard == task.shard.name and note.hand]
        if not of_shard or of_shard[-1].worker in self._seen:
            return ()
        self._seen.add(of_shard[-1].worker)
        return of_shard[-1].hand

    def _without_a_clip(self, task: Task, error: TaskError) -> Task:
        key = task.shard.name if isinstance(task, Make) else task.captions[0]
        self._idle[key] += 1
        if self._idle[key] >= self._tries:
            raise EngineError(f"a worker, at no clip in particular, {error}; this happened {self._idle[key]} times")
        return task


@contextmanager
def told(notes: Path, run: str, total: int, progress: Progress) -> Iterator[None]:
    """While this context lasts, `progress` shows how many of `total` clips the workers of `run` have attributed."""
    done = threading.Event()
    with progress.steps("attributing clips", total) as step:
        watcher = threading.Thread(target=_watch, args=(notes, run, total, step, progress.say, done), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()


def _watch(notes: Path, run: str, total: int, step: Step, say: Callable[[str], None], done: threading.Event) -> None:
    told, first, since, pause = 0, 0, 0.0, POLL[0]
    while True:
        last = done.wait(pause)  # what was written before the end is counted once more after it
        with contextlib.suppress(OSError):
            count = min(total, sum(sum(note.done.values()) for note in read_notes(notes, run)))
            for _ in range(count - told):
                step()
            told = max(told, count)
        now, pause = time.monotonic(), min(1.1 * pause, POLL[1])
        if not first and told:  # the first ones also took the loading of the model
            first, since = told, now
        elif since and told > first and told < total:
            each = (now - since) / (told - first)
            say(f"attributing {total} clips takes about {duration(each * total)}, {duration(each)} each")
            since = 0.0
        if last:
            return
