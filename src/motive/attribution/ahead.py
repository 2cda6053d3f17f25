"""Clips read ahead of whoever uses them, in processes that a broken one cannot take along."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from motive.attribution.reading import Read
from motive.config import Config
from motive.engine.ahead import Here, Workers, as_they_come, in_order
from motive.engine.messages import Packet, TaskError
from motive.engine.sandbox import Limits, Sandbox, cpus
from motive.errors import ClipError
from motive.video.decode import Sampling
from motive.video.table import Clip

MAX_DECODERS = 4
"""Processes that read clips, unless told otherwise; two or three keep up with the fastest GPU at the paper's size."""


Made = TypeVar("Made")


@dataclass(frozen=True)
class ClipPreparer(Generic[Made]):
    """Makes clips' inputs from their videos: `workers` read them ahead (see engine.ahead), `finish` does the model's part."""

    workers: Workers
    finish: Callable[[Clip, Packet], Made]

    def in_order(self, clips: Iterable[Clip]) -> Iterator[Made | ClipError]:
        for clip, future in in_order(self.workers, clips):
            prepared = self._prepared(clip, future)
            del future  # its frames, while the clip is attributed
            yield prepared

    def as_they_come(self, clips: Iterable[Clip]) -> Iterator[tuple[Clip, Made | ClipError]]:
        for clip, future in as_they_come(self.workers, clips):
            yield clip, self._prepared(clip, future)

    def _prepared(self, clip: Clip, future: "Future[Packet]") -> Made | ClipError:
        lost = future.exception()
        if isinstance(lost, TaskError):
            limits = {"seconds": ", see engine.clip_seconds", "memory": ", see engine.clip_memory"}
            return ClipError(f"preparing it {lost}{limits.get(lost.limit or '', '')}")
        if isinstance(lost, ClipError):
            return lost
        try:
            return self.finish(clip, future.result())
        except ClipError as error:
            return error.with_traceback(None)  # it would hold the frames


@contextmanager
def clip_workers(config: Config, build: Callable[[int | None], Callable[[], Read]]) -> Iterator[Workers]:
    """Who reads clips ahead, as `engine` says. build: from OpenCV's threads of each, if not its default, to the reader."""
    engine = config.engine
    decoders = min(cpus(), MAX_DECODERS) if engine.decoders is None else engine.decoders
    threads = max(1, cpus() // decoders) if decoders else None
    if not decoders:
        yield Here(build(None))
        return
    limits = Limits(engine.clip_seconds, engine.clip_memory, engine.tries)
    with Sandbox([build(threads)] * decoders, limits, threads or 1) as sandbox:
        yield sandbox


def clip_sampling(config: Config) -> Sampling:
    """The shape that `video` brings every clip to."""
    video = config.video
    return Sampling(video.frames, video.fps, video.height, video.width, video.place, video.max_pixels)
