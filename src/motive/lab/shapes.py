"""A small world of moving shapes, rendered to real mp4 files: enough to run the whole method on, with nothing from elsewhere.

Looks (shape, colour, size, background) are drawn independently of the motion, and captions name the looks alone, so that
neither tells the motion.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from motive.seeds import stream
from motive.video.write import write_video

FPS = 24
SECONDS = 2.0
HEIGHT, WIDTH = 144, 256

COLOURS = {
    "red": (220, 50, 40),
    "green": (60, 180, 75),
    "blue": (50, 90, 220),
    "yellow": (240, 210, 50),
    "white": (240, 240, 240),
    "purple": (150, 60, 190),
}
SHAPES = ("disc", "square", "triangle")

Pose = tuple[float, float, float, float]
"""x and y of the centre as shares of the picture, angle in radians, and scale."""


def _slide(t: float) -> Pose:
    return 0.15 + 0.7 * t, 0.5, 0.0, 1.0


def _bounce(t: float) -> Pose:
    """Free fall between hits on a floor: a parabola each half second, in picture heights."""
    phase = (2 * t) % 1
    return 0.3 + 0.4 * t, 0.8 - 2.4 * phase * (1 - phase), 0.0, 1.0


def _fall(t: float) -> Pose:
    return 0.5, 0.1 + 0.8 * min(t, 1.0) ** 2, 0.0, 1.0


def _spin(t: float) -> Pose:
    return 0.5, 0.5, 4 * np.pi * t, 1.0


def _swing(t: float) -> Pose:
    angle = 0.9 * np.cos(2 * np.pi * 1.5 * t)
    return 0.5 + 0.4 * np.sin(angle), 0.1 + 0.6 * np.cos(angle), -angle, 1.0


def _grow(t: float) -> Pose:
    return 0.5, 0.5, 0.0, 0.3 + 2.2 * t


def _still(t: float) -> Pose:
    return 0.5, 0.5, 0.0, 1.0


MOTIONS: dict[str, Callable[[float], Pose]] = {
    "slide": _slide,
    "bounce": _bounce,
    "fall": _fall,
    "spin": _spin,
    "swing": _swing,
    "grow": _grow,
    "still": _still,
    "camera": _still,
}
"""Pose over t in [0, 1]; in "camera" the shape keeps its place in a world that pans."""


@dataclass(frozen=True)
class Looks:
    shape: str
    colour: str
    size: float
    background: int

    @property
    def caption(self) -> str:
        return f"a {self.colour} {self.shape} on a grey background"


def render(motion: str, looks: Looks, seed: int) -> NDArray[np.uint8]:
    """uint8 RGB [F, H, W, 3], F = FPS * SECONDS, of one shape moving as `motion` says, reversed for half of the seeds."""
    draw = stream(seed, "shapes", motion, looks.caption)
    texture = cv2.GaussianBlur(draw.normal(0, 40, (HEIGHT, 2 * WIDTH)).astype(np.float32), (0, 0), 3)
    world = np.clip(looks.background + texture, 0, 255).astype(np.uint8)
    mirrored, count = bool(draw.integers(2)), int(FPS * SECONDS)
    frames = []
    for f in range(count):
        t = f / (count - 1)
        shift = int(0.4 * WIDTH * t) if motion == "camera" else 0
        frame = cv2.cvtColor(world[:, shift : shift + WIDTH], cv2.COLOR_GRAY2RGB)
        x, y, angle, scale = MOTIONS[motion](t)
        _paint(frame, looks, (x * WIDTH - shift, y * HEIGHT, angle, scale))
        frames.append(frame[:, ::-1] if mirrored else frame)
    return np.stack(frames)


def write_pool(folder: Path, clips: int, seed: int = 0) -> tuple[Path, Path]:
    """Write `clips` clips and three queries (bounce, spin, swing) with their manifests; returns the two manifests' paths."""
    names = list(MOTIONS)
    pool = [(names[n % len(names)], n) for n in range(clips)]
    wanted = [(motion, clips + n) for n, motion in enumerate(("bounce", "spin", "swing"))]
    return _write(folder / "pool", pool, seed), _write(folder / "queries", wanted, seed)


def _write(folder: Path, clips: list[tuple[str, int]], seed: int) -> Path:
    rows = []
    for motion, number in clips:
        draw = stream(seed, "looks", number)
        looks = Looks(
            str(draw.choice(SHAPES)), str(draw.choice(list(COLOURS))), draw.uniform(0.1, 0.18), int(draw.integers(70, 150))
        )
        name = f"clip_{number:03d}.mp4"
        write_video(folder / name, render(motion, looks, seed + number), FPS)
        rows.append((name, looks.caption, motion))
    manifest = folder / "metadata.csv"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("video", "prompt", "motion"), *rows])
    return manifest


def _paint(frame: NDArray[np.uint8], looks: Looks, pose: Pose) -> None:
    x, y, angle, scale = pose
    radius = looks.size * HEIGHT * scale
    corners = {"disc": 48, "square": 4, "triangle": 3}[looks.shape]
    turns = angle + np.pi / corners + 2 * np.pi * np.arange(corners) / corners
    points = np.stack([x + radius * np.sin(turns), y - radius * np.cos(turns)], axis=-1)
    fixed = np.round(points * 256).astype(np.int32)  # cv2's sub-pixel coordinates have 8 bits
    cv2.fillPoly(frame, [fixed], COLOURS[looks.colour], cv2.LINE_AA, shift=8)
    # A mark off the centre, without which a turning disc would look still.
    mark = x + 0.5 * radius * np.sin(angle), y - 0.5 * radius * np.cos(angle)
    cv2.circle(frame, (round(mark[0] * 256), round(mark[1] * 256)), round(radius * 64), (20, 20, 20), -1, cv2.LINE_AA, 8)
