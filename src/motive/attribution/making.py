"""What a worker does: planned shards of the feature stores, one after the other, with one model, until there are none left.

The same in the process that runs a verb, in a child process for each device, and in an actor on a cluster. Making a shard is
idempotent and goes on from its finished rows, so whoever is lost is replaced by giving its task out again.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from motive.attribution.ahead import ClipPreparer
from motive.attribution.features import Attribute, clip_attributor
from motive.attribution.notes import Notebook
from motive.attribution.prepare import (
    Prepared,
    PreparedFolder,
    clip_preparer,
    embed_captions,
)
from motive.attribution.run_stores import WHICH, store_place
from motive.attribution.store import Row, Shard, Store
from motive.config import Config
from motive.engine.messages import Packet
from motive.errors import ClipError, EngineError, LeftOutError
from motive.gradients.capture import Gradient
from motive.models.registry import load_model
from motive.video.table import Clip


@dataclass(frozen=True)
class Setup:
    """What a worker starts from; it travels pickled.

    config: the run's, with this worker's own device and its share of the machine. run: which call of a verb it works for.
    prepared_in: the folder of prepared inputs, made with the fingerprint `made_with`.
    """

    config: Config
    run: str
    prepared_in: Path
    made_with: dict[str, object]


@dataclass(frozen=True)
class Embed:
    """A task: embed captions, which the clips' inputs need."""

    captions: tuple[str, ...]


@dataclass(frozen=True)
class Make:
    """A task: make a shard of the store `which`. clips: its clips, in its order.

    lost: ids of clips that are given up, with the reason. alone: ids of clips that are attributed one by one, since a worker
    was lost while it had them in hand.
    """

    which: str
    shard: Shard
    clips: tuple[Clip, ...]
    lost: Mapping[str, str] = field(default_factory=dict)
    alone: frozenset[str] = frozenset()


Task = Embed | Make


def worker(setup: Setup) -> Callable[[Task], Packet]:
    """What a worker process builds once: a function that does tasks. Of the file system's errors it makes an EngineError,
    since trying the same again elsewhere does not help."""
    maker = Maker(setup)

    def work(task: Task) -> Packet:
        try:
            maker.do(task)
        except OSError as error:
            raise EngineError(f"{error}; what is finished is kept, and the same command goes on from there") from error
        return Packet()

    return work


class Maker:
    """The model and the open stores of one worker. Parts are loaded when they are first needed."""

    def __init__(self, setup: Setup) -> None:
        config = setup.config
        if config.engine.threads is not None:
            torch.set_num_threads(config.engine.threads)
        source = config.model
        self._config = config
        self._model = load_model(source.path, config.gradients.sigmas, source.device, source.dtype, source.revision)
        self._prepared = PreparedFolder(setup.prepared_in, setup.made_with)
        self._stores = {which: Store.open(store_place(config, which)) for which in WHICH}
        self._attribute: dict[str, Attribute] = {}
        self._notes = Notebook(config.out / "workers", setup.run, str(self._model.device))
        self._closing = ExitStack()

    def do(self, task: Task) -> None:
        match task:
            case Embed(captions):
                self._notes.begin("embedding captions")
                embed_captions(captions, self._model, self._prepared)
            case Make():
                self._make(task)

    def close(self) -> None:
        self._closing.close()
        self._notes.end()
        self._model.free()

    def _make(self, task: Make) -> None:
        store, which = self._stores[task.which], task.which
        if which not in self._attribute:
            self._attribute[which] = clip_attributor(self._config, self._model, which)
        attribute = self._attribute[which]
        batches = _batches(task, self._config.gradients.batch, store)
        inputs = self._inputs([clip for some in batches for clip in some if clip.id not in task.lost])
        for some in batches:
            self._notes.begin(f"attributing {which}", task.shard.name, [clip.id for clip in some])
            with self._notes.timed("inputs"):
                given = [_given_up(task, clip) or next(inputs) for clip in some]
            with self._notes.timed("attributing"):
                rows = _attributed(given, attribute)
            with self._notes.timed("writing"):
                for clip, (row, feature) in zip(some, rows, strict=True):
                    store.add_row(clip, row, feature)
            self._notes.count(which, len(some), sum(feature is None for _, feature in rows))
        self._notes.begin(f"finishing {which}", task.shard.name)
        store.finish(task.shard)

    def _inputs(self, clips: Sequence[Clip]) -> Iterator[Prepared | ClipError]:
        """Each clip's inputs: from disk where they are, else made while earlier clips are attributed, and kept if so set."""
        keep = self._config.store.cache
        fresh = {clip.id for clip in clips if not (keep and self._prepared.has(clip))}
        made = self._preparer.in_order(clip for clip in clips if clip.id in fresh) if fresh else iter(())
        for clip in clips:
            if clip.id not in fresh:
                yield self._prepared.read(clip)
                continue
            prepared = next(made)
            _check_there(clip, prepared)
            if keep:
                self._prepared.keep(clip, prepared)
            yield prepared

    @cached_property
    def _preparer(self) -> ClipPreparer[Prepared]:
        return self._closing.enter_context(clip_preparer(self._config, self._model, self._prepared))


def _batches(task: Make, size: int, store: Store) -> list[Sequence[Clip]]:
    """The clips still to be attributed, as they share passes through the model.

    Batches are cut from a shard's plan alone, and made whole even if some of their rows are there: so an interrupted run
    ends with the same bytes.
    """
    waiting = {clip.id for clip in store.without_row(task.clips)}
    cut = [task.clips[first : first + size] for first in range(0, len(task.clips), size)]
    wanted = [some for some in cut if any(clip.id in waiting for clip in some)]
    apart = [[(clip,) for clip in some] if task.alone.intersection(clip.id for clip in some) else [some] for some in wanted]
    return list(itertools.chain.from_iterable(apart))


def _given_up(task: Make, clip: Clip) -> ClipError | None:
    return ClipError(task.lost[clip.id]) if clip.id in task.lost else None


def _check_there(clip: Clip, prepared: Prepared | ClipError) -> None:
    """Raise EngineError if a clip fails because its whole folder has gone since the manifest was read, a disk unmounted, say:
    then all others would fail as well, for no fault of theirs."""
    path = clip.path
    if isinstance(prepared, ClipError) and path is not None and not clip.problem and not path.parent.exists():
        raise EngineError(f"{path.parent}: this folder was there and is gone; bring it back and run the same command again")


def _attributed(given: Sequence[Prepared | ClipError], attribute: Attribute) -> list[tuple[Row, NDArray[np.float32] | None]]:
    """Each clip's row and feature."""
    usable = [prepared for prepared in given if isinstance(prepared, Prepared)]
    found = iter(attribute(usable) if usable else [])
    return [_row(prepared, next(found) if isinstance(prepared, Prepared) else prepared) for prepared in given]


def _row(prepared: Prepared | ClipError, found: Gradient | ClipError) -> tuple[Row, NDArray[np.float32] | None]:
    facts: Row = asdict(prepared.facts) if isinstance(prepared, Prepared) else {}
    if isinstance(found, ClipError):
        status = "left-out" if isinstance(found, LeftOutError) else "failed"
        return facts | {"status": status, "reason": str(found)}, None
    measured = {"loss": found.loss, "gradient_norm": found.norm, "projected_norm": found.projected_norm}
    return facts | measured | {"status": "ok", "reason": None}, found.feature.numpy()
