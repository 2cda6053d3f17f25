"""Which motion a clip shows, as far as displacement tells: a judge of generated clips.

Multinomial logistic regression on how a few numbers change over time (lab.traces). It ships fitted (lab.fit_judge). It knows
the ten motions, the cartoon ones, a still scene and a moving camera, so that a clip is right only if it also is none of the
wrong ones. Mirrored clips are the same clip to it. It is made for clips of about a second, as the lab's are.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from motive.errors import ConfigError
from motive.files import write_atomic
from motive.lab import world
from motive.lab.motions import CARTOON, PHYSICAL
from motive.lab.shipped import shipped_judge
from motive.lab.traces import Floats, Traces, traces

KINDS: tuple[tuple[str, str | None], ...] = (
    *((motion, None) for motion in (*PHYSICAL, *CARTOON, "static")),
    *(("static", camera) for camera in world.CAMERAS),
)
"""What it tells apart: motions, and what the camera alone does."""

NAMES = tuple(camera or motion for motion, camera in KINDS)
WAVES = 8
"""Cosines over time that stand for the course of each number."""


@dataclass(frozen=True)
class Judge:
    """weights [D + 1, kinds], the last row without a feature; mean, deviation [D] of the features it was fitted on."""

    weights: Floats
    mean: Floats
    deviation: Floats

    def chances(self, features: Floats) -> Floats:
        """Probabilities [N, kinds] of features [N, D]."""
        scores = (features - self.mean) / self.deviation @ self.weights[:-1] + self.weights[-1]
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(scores / scores.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Judged:
    """Of each of N clips. seen: the likeliest of NAMES. chance: of the wanted motion. right: whether the two are the same."""

    seen: tuple[str, ...]
    chance: Floats
    right: NDArray[np.bool_]


def judge(videos: Sequence[NDArray[np.uint8]], wanted: Sequence[str], fps: float = world.FPS) -> Judged:
    """Whether each of N videos uint8 [F, H, W, 3] shows its wanted motion, one of NAMES. Raises ConfigError for another."""
    if unknown := sorted(set(wanted) - set(NAMES)):
        raise ConfigError(f"the lab knows no motion {', '.join(unknown)}; there are {', '.join(NAMES)}")
    chances = load_judge().chances(np.stack([features(traces(video, fps)) for video in videos]))
    best = chances.argmax(axis=1)
    places = np.array([NAMES.index(name) for name in wanted])
    return Judged(tuple(NAMES[k] for k in best), chances[np.arange(len(best)), places], best == places)


@cache
def load_judge(file: Path | None = None) -> Judge:
    """The judge that ships, or another one that `save_judge` wrote."""
    with safe_open(file or shipped_judge(), framework="np") as held:
        if tuple(json.loads(held.metadata()["names"])) != NAMES:
            raise ConfigError(f"{file or shipped_judge()}: knows other motions; make it again with `motive lab judge-motion`")
        return Judge(*(held.get_tensor(name).astype(np.float64) for name in ("weights", "mean", "deviation")))


def save_judge(made: Judge, file: Path) -> None:
    tensors = {name: getattr(made, name).astype(np.float32) for name in ("weights", "mean", "deviation")}
    write_atomic(file, save(tensors, {"names": json.dumps(NAMES)}))


def features(seen: Traces) -> Floats:
    """How each number of a clip changes over time, [D]: cosines of it. Large values are compressed, so that a fast clip and a
    slow one of a motion lie close together; a clip and its mirror image have the same."""
    vx, vy = seen.velocity[:, 0], seen.velocity[:, 1]
    side = 1.0 if vx.sum() >= 0 else -1.0
    vx = vx * side
    grown = np.trace(seen.gradient, axis1=1, axis2=2)
    turned = (seen.gradient[:, 1, 0] - seen.gradient[:, 0, 1]) * side
    sheared = np.hypot(seen.gradient[:, 0, 0] - seen.gradient[:, 1, 1], seen.gradient[:, 0, 1] + seen.gradient[:, 1, 0])
    step = seen.time[1] - seen.time[0] if len(seen.time) > 1 else 1.0
    x, y = (np.cumsum(v) * step for v in (vx, vy))
    energy = np.maximum(seen.energy, 1e-12)
    courses = [
        np.arcsinh(vx / 0.3), np.arcsinh(vy / 0.3), np.arcsinh(np.abs(vx) / 0.3), np.arcsinh(np.abs(vy) / 0.3),
        np.arcsinh((x - x.mean()) / 0.1), np.arcsinh((y - y.mean()) / 0.1),
        np.arcsinh(grown / 0.3), np.arcsinh(turned), np.arcsinh(np.abs(turned)), np.arcsinh(sheared / 0.3),
        np.arcsinh(np.sqrt(seen.rest) / 0.08), np.arcsinh(np.sqrt(energy) / 0.15), np.arcsinh(np.sqrt(seen.affine) / 0.15),
        seen.rest / energy, seen.affine / energy, np.sqrt(seen.area), seen.spread,
    ]  # fmt: skip
    places = (np.arange(len(vx)) + 0.5) / len(vx)
    waves = np.cos(np.pi * places[:, None] * np.arange(WAVES)) * 2 / len(vx)
    return np.concatenate([course @ waves for course in courses])
