"""The arms of the experiment, how much is measured of them, and what is seen of each."""

from dataclasses import dataclass

from motive.lab.motions import PHYSICAL

SHARED, OWN = ("base", "full", "random", "magnitude"), ("latents", "nomask", "motive", "bottom")
"""Arms that are the same whatever motion is wanted, and those that its queries choose."""


@dataclass(frozen=True)
class Effort:
    """How much is measured. motions: those that are wanted, in turn. seeds: of training, and of the random tenths. steps: of
    `batch` clips. prompts: of which each arm generates one video, in `sampling` steps."""

    motions: tuple[str, ...] = tuple(PHYSICAL)
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 200
    batch: int = 12
    rate: float = 5e-4
    prompts: int = 12
    sampling: int = 30


@dataclass(frozen=True)
class Seen:
    """What the videos of a job show, in the order of the prompts: a motion each, and whether it moves at all by DIS; and the
    motion-weighted loss of each motion's queries."""

    motions: list[str]
    moving: list[float]
    losses: dict[str, float]
