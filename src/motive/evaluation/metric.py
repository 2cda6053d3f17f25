"""What a metric is: a name, a unit, and a number a video."""

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from motive.errors import ConfigError
from motive.video.standardise import Frames

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class Video:
    """A generated video: uint8 RGB [F, H, W, 3], frames a second, what it was generated from, and the motion wanted, if that
    is known."""

    frames: Frames
    fps: float
    prompt: str
    motion: str | None = None
    file: Path | None = None


@dataclass(frozen=True)
class Metric:
    """measure: the video's number, or None where the metric says nothing about such a video.

    unit: "share" for what is 0 or 1 a video. better: which way is better. identity: what the number depends on beside the
    video, such as a version and a hash of weights; with one, numbers are kept and not computed again.
    """

    name: str
    unit: str
    better: Better
    measure: Callable[[Video], float | None]
    identity: str | None = None


def own_metrics(name: str) -> list[Metric]:
    """The metrics at `package.module:attribute`: a Metric, some of them, or a function from a Video to its number."""
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"evaluate.metrics {name!r}: cannot be imported ({error})") from None
    if isinstance(found, Metric):
        return [found]
    several = list(found) if isinstance(found, Iterable) else []
    if several and all(isinstance(metric, Metric) for metric in several):
        return several
    if callable(found):
        return [Metric(attribute, "", "neither", found)]
    raise ConfigError(f"evaluate.metrics {name!r}: is neither a function of a Video, nor a Metric, nor several of them")
