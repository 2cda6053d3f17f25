"""Which clip comes when, with which noise at which level: everything that is random in training.

Each is a function of the seed and of what it is for. In step s a clip meets the same noise at the same level in every arm
of that seed, and clips come in the same order in every arm: arms differ in which clips they hold, and in nothing else.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from motive.seeds import stream
from motive.sigmas import shifted


@dataclass(frozen=True)
class Turn:
    """A clip's place in a step's batch. again: how often the clip has been in this batch before, in arms of few clips."""

    clip: str
    step: int
    again: int


def batch_of(clips: tuple[str, ...], seed: int, step: int, size: int) -> list[Turn]:
    """The turns of `step`, from 0: the next `size` ids of `clips`, which come epoch after epoch, each time in a new order."""
    first, last = step * size, (step + 1) * size
    turns: list[Turn] = []
    met: Counter[str] = Counter()
    for epoch in range(first // len(clips), (last - 1) // len(clips) + 1):
        begun = epoch * len(clips)
        for clip in _order(clips, seed, epoch)[max(first - begun, 0) : last - begun]:
            turns.append(Turn(clip, step, met[clip]))
            met[clip] += 1
    return turns


def noise_of(turn: Turn, seed: int, shape: Sequence[int]) -> Tensor:
    """N(0, I), float32 of a latent's `shape`."""
    draw = stream(seed, "training noise", turn.clip, turn.step, turn.again)
    return torch.from_numpy(draw.standard_normal(tuple(shape), np.float32))


def level_of(turn: Turn, seed: int, shift: float, levels: tuple[float, float] = (0.0, 1.0)) -> float:
    """A noise level, even over that part of a schedule of this shift which lies in `levels`."""
    low, high = (_share(level, shift) for level in levels)
    u = stream(seed, "training level", turn.clip, turn.step, turn.again).uniform(low, high)
    return shifted(u, shift)


def rate_of(step: int, steps: int, rate: float, warmup: int, schedule: str) -> float:
    """The learning rate of `step`, from 0: rising to `rate` in `warmup` steps, then constant or falling to zero in a line."""
    if step < warmup:
        return rate * (step + 1) / warmup
    return rate if schedule == "constant" else rate * (steps - step) / (steps - warmup)


@lru_cache(maxsize=2)
def _order(clips: tuple[str, ...], seed: int, epoch: int) -> list[str]:
    """Each clip has a number of its own in each epoch, whoever else is there, and they come by that."""
    return sorted(clips, key=lambda clip: (stream(seed, "training order", epoch, clip).random(), clip))


def _share(level: float, shift: float) -> float:
    """The inverse of `shifted`: the share of the schedule at which this noise level lies."""
    return level / (shift - (shift - 1) * level)
