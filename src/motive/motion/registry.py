"""From a tracker's name to the tracker. A new one is a function and a line here; anyone's own is its import path."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from motive.errors import ConfigError
from motive.motion.trackers import TRACKERS, Tracker

if TYPE_CHECKING:
    import torch

    from motive.motion.alltracker import Tracks, Trust

LEARNED = ("alltracker", "alltracker-tiny")
"""Trackers that need weights."""


def make_tracker(
    name: str,
    weights: Path | None = None,
    sha256: str | None = None,
    tracks: "Tracks" = "pairs",
    trust: "Trust" = "all",
    device: "torch.device | str" = "cpu",
) -> Tracker:
    """The tracker called `name`, or the callable at `package.module:function`, which then is a Tracker itself.

    weights, sha256, tracks, trust, device: see `alltracker`; the others take none of them. Raises ConfigError if there is no
    such tracker, or what it needs is missing.
    """
    if name in LEARNED:
        if weights is None:
            raise ConfigError(f"motion.tracker {name} needs motion.weights, a checkpoint file; see docs/how-to.md")
        # Here, and not above: processes that decode make the other trackers without loading torch.
        from motive.motion.alltracker import alltracker

        return alltracker(weights, sha256, name == "alltracker-tiny", tracks, trust, device)
    if weights is not None or (tracks, trust) != ("pairs", "all"):
        raise ConfigError(f"motion.weights, motion.tracks and motion.trust are for {' and '.join(LEARNED)}, not for {name}")
    if name in TRACKERS:
        return TRACKERS[name]
    if ":" in name:
        return _imported(name)
    raise ConfigError(
        f"motion.tracker {name!r} is unknown; there are {', '.join((*TRACKERS, *LEARNED))}, "
        "or your own as package.module:function"
    )


def _imported(name: str) -> Tracker:
    module, _, function = name.partition(":")
    try:
        tracker = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"motion.tracker {name!r}: cannot be imported ({error})") from None
    if not callable(tracker):
        raise ConfigError(f"motion.tracker {name!r}: is not callable")
    return tracker
