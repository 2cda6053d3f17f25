"""Where numbers go while training runs: a file of JSON lines that a restart continues, and a logger of one's choice."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from motive.errors import ConfigError
from motive.files import write_jsonl

Log = Callable[[int, Mapping[str, float]], None]
"""Takes a step and its numbers by name."""


class Lines:
    """A JSON line for each measured step, in order, from step 0; a line is there for readers as soon as it is added."""

    def __init__(self, file: Path, done: int) -> None:
        """Go on after `done` steps: lines of later ones, which a killed run may have left, are dropped."""
        self.file = file
        self.kept = [entry for entry in _whole_lines(file) if entry["step"] < done]
        write_jsonl(file, self.kept)

    def add(self, entry: Mapping[str, Any]) -> None:
        with self.file.open("ab") as file:
            file.write((json.dumps(entry, ensure_ascii=False) + "\n").encode())


@contextmanager
def open_curves(folder: Path, kind: str, name: str, settings: Mapping[str, Any], done: int, first: bool) -> Iterator[Log]:
    """Where an arm's numbers go, after `done` steps: loss.jsonl in its folder, and the logger of `train.log`; nowhere if this
    is not the first process. Raises ConfigError if the logger is not installed."""
    if not first:
        yield lambda step, values: None
        return
    with _logger(kind, folder / "log", name, settings, done) as log:
        lines = Lines(folder / "loss.jsonl", done)

        def add(step: int, values: Mapping[str, float]) -> None:
            lines.add({"step": step} | dict(values))
            log(step, values)

        yield add


@contextmanager
def _logger(kind: str, folder: Path, name: str, settings: Mapping[str, Any], done: int) -> Iterator[Log]:
    if kind == "tensorboard":
        from tensorboardX import SummaryWriter

        # What a killed run has logged of later steps is not shown.
        with SummaryWriter(str(folder), purge_step=done or None) as writer:

            def add(step: int, values: Mapping[str, float]) -> None:
                for key, value in values.items():
                    writer.add_scalar(key, value, step)

            yield add
    elif kind == "none":
        yield lambda step, values: None
    else:
        tracker = _tracker(kind)
        tracker.init(project="motive", name=name, config=dict(settings))
        try:
            yield lambda step, values: tracker.log(dict(values), step=step)
        finally:
            tracker.finish()


def _tracker(kind: str) -> Any:
    import importlib

    try:
        return importlib.import_module(kind)
    except ImportError as error:
        raise ConfigError(f"train.log is {kind}, which is not installed here ({error}); pip install {kind}") from None


def _whole_lines(file: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file up to the first that a kill has cut off."""
    if not file.exists():
        return
    with file.open("rb") as lines:
        for line in lines:
            try:
                yield json.loads(line)
            except ValueError:
                return
