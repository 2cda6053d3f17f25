"""From a tracker's name to the tracker. A new one is a function and a line here; anyone's own is its import path."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from motive.errors import ConfigError
from motive.motion.trackers import TRACKERS, Tracker

if TYPE_CHECKING:
    import torch

    from motive.motion.alltracker import Tracks, Trust

ALLTRACKERS = ("alltracker", "alltracker-tiny")
RAFTS = ("raft", "raft-small")
LEARNED = ALLTRACKERS + RAFTS
"""Trackers that need weights."""


def make_tracker(
    name: str,
    weights: Path | None = None,
    sha256: str | None = None,
    tracks: "Tracks" = "pairs",
    trust: "Trust" = "all",
    rounds: int | None = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
    device: "torch.device | str" = "cpu",
) -> Tracker:
    """The tracker called `name`, or the callable at `package.module:function`, which then is a Tracker itself.

    weights, sha256, rounds, device: see `alltracker`, `raft`; tracks, trust, dtype: see `alltracker`; others take none.
    Raises ConfigError if there is no such tracker, or what it needs is missing.
    """
    if name not in ALLTRACKERS and (tracks, trust, dtype) != ("pairs", "all", "float32"):
        raise ConfigError(f"motion.tracks, trust and dtype are for {' and '.join(ALLTRACKERS)}, not for {name}")
    if name not in LEARNED and (weights, sha256, rounds) != (None, None, None):
        raise ConfigError(f"motion.weights, motion.sha256 and motion.rounds are for {', '.join(LEARNED)}, not for {name}")
    if name in TRACKERS:
        return TRACKERS[name]
    if ":" in name:
        return _imported(name)
    if name not in LEARNED:
        raise ConfigError(
            f"motion.tracker {name!r} is unknown; there are {', '.join((*TRACKERS, *LEARNED))}, "
            "or your own as package.module:function"
        )
    # Here, and not above: processes that decode make the other trackers without loading torch.
    import torch

    from motive.motion import alltracker, raft

    if name in RAFTS:
        raft.torchvision_raft(name == "raft-small")  # told before what else is missing
    if weights is None:
        raise ConfigError(f"motion.tracker {name} needs motion.weights, a checkpoint file; see docs/how-to.md")
    if name in RAFTS:
        return raft.raft(weights, sha256, name == "raft-small", rounds or raft.ROUNDS, device)
    tiny = name == "alltracker-tiny"
    return alltracker.alltracker(
        weights, sha256, tiny, tracks, trust, rounds or alltracker.ROUNDS, device, getattr(torch, dtype)
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
