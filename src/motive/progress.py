"""What long work says while it runs: a bar on a terminal, plain lines elsewhere, nothing in a library call."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Step = Callable[[], None]


class Progress(Protocol):
    """How a verb reports. `steps` is a context that gives a function to call after each of `total` steps."""

    def steps(self, label: str, total: int) -> AbstractContextManager[Step]: ...

    def say(self, line: str) -> None: ...


class Silent:
    """Reports nothing; the default of every library function."""

    @contextmanager
    def steps(self, label: str, total: int) -> Iterator[Step]:
        yield lambda: None

    def say(self, line: str) -> None:
        pass


class Lines:
    """Plain lines on standard error: every `every` seconds, and when the work is done."""

    def __init__(self, every: float = 10.0) -> None:
        self.every = every

    @contextmanager
    def steps(self, label: str, total: int) -> Iterator[Step]:
        begin = last = time.monotonic()
        done = 0

        def step() -> None:
            nonlocal done, last
            done += 1
            now = time.monotonic()
            if done == total:
                self.say(f"{label}: {total}/{total}, {duration(now - begin)}")
            elif now - last >= self.every:
                last = now
                self.say(f"{label}: {done}/{total}, {duration((now - begin) / done * (total - done))} left")

        yield step

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


class Bars:
    """A rich progress bar on standard error."""

    @contextmanager
    def steps(self, label: str, total: int) -> Iterator[Step]:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with RichProgress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(escape(label), total=total)
            yield lambda: bar.advance(task)

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


def for_terminal() -> Progress:
    """Bars when standard error is a terminal, plain lines otherwise."""
    return Bars() if sys.stderr.isatty() else Lines()


def duration(seconds: float) -> str:
    """`3.2 s`, `12 min`, `5.0 h`: a duration with the unit that suits it."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
