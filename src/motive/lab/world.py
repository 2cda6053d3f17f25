"""A world whose motion is known: (seed, spec) -> frames, caption, exact displacement, object mask, labels.

Looks (shape, colour, texture, size, background, light) are free of the motion: of the first frame, only the object's place
and how it is turned depend on what it will do. Everything is plain arithmetic on a stream of `motive.seeds`, so the same
seed and spec give the same bytes.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motive.lab.motions import CARTOON, MOTIONS, PHRASES, PHYSICAL, Array, Law, Part
from motive.seeds import stream

SIZE = 128
"""Pixels a side that clips are rendered at."""
FRAMES = 17
FPS = 16

COLOURS = {
    "red": (215, 50, 45),
    "orange": (240, 140, 40),
    "yellow": (240, 215, 70),
    "green": (60, 180, 80),
    "blue": (60, 110, 235),
    "purple": (155, 75, 195),
    "pink": (240, 130, 180),
    "white": (240, 240, 240),
}
BACKGROUNDS = {
    "grey": (105, 105, 105),
    "navy": (35, 45, 95),
    "brown": (110, 80, 55),
    "teal": (35, 95, 95),
    "black": (28, 28, 28),
}
SHAPES = ("disc", "square", "triangle", "cross")
TEXTURES = ("striped", "checked", "spotted")
SIZES = {"small": 0.12, "medium": 0.15, "large": 0.18}
LIGHTS = {"bright": 1.0, "dim": 0.72}
CAMERAS = ("pan", "zoom", "shake")
CAMERA_PHRASES = {"pan": "the camera pans", "zoom": "the camera zooms", "shake": "the camera shakes"}


@dataclass(frozen=True)
class Looks:
    """Keys of SHAPES, COLOURS, TEXTURES, SIZES, BACKGROUNDS and LIGHTS."""

    shape: str
    colour: str
    texture: str
    size: str
    background: str
    light: str


@dataclass(frozen=True)
class Spec:
    """What a clip shall show. motion: a key of MOTIONS. camera: None or one of CAMERAS. noise: in grey levels."""

    motion: str
    looks: Looks
    camera: str | None = None
    noise: float = 0.0

    @property
    def kind(self) -> str:
        """physical, cartoon, camera (nothing moves but the camera) or static."""
        if self.motion in PHYSICAL:
            return "physical"
        if self.motion in CARTOON:
            return "cartoon"
        return "camera" if self.camera else "static"


@dataclass(frozen=True)
class Rendered:
    """frames uint8 RGB [F, H, W, 3]; displacement float32 [F, H, W, 2] in px/frame, frame-to-frame on each frame's own grid,
    frame 0 taking frame 1's (METHOD.md 2.2); mask bool [F, H, W], where the object is; labels: what is true of the clip."""

    frames: NDArray[np.uint8]
    displacement: NDArray[np.float32]
    mask: NDArray[np.bool_]
    labels: dict[str, Any]


def draw_looks(draw: np.random.Generator) -> Looks:
    """Looks of which each is as likely as any other."""
    choices = (SHAPES, COLOURS, TEXTURES, SIZES, BACKGROUNDS, LIGHTS)
    return Looks(*(str(draw.choice(list(options))) for options in choices))


def caption(spec: Spec, names_motion: bool) -> str:
    """What the clip looks like and, if asked, how it moves."""
    looks = spec.looks
    thing = f"a {looks.size} {looks.texture} {looks.colour} {looks.shape}"
    place = f"on a {looks.light} {looks.background} background"
    if not names_motion:
        return f"{thing} {place}"
    camera = f", {CAMERA_PHRASES[spec.camera]}" if spec.camera else ""
    return f"{thing} {PHRASES[spec.motion]} {place}{camera}"


def render(seed: int, spec: Spec, size: int = SIZE, frames: int = FRAMES, fps: float = FPS) -> Rendered:
    """Render `spec` at `size` x `size`; `seed` decides what the spec leaves open, such as places, speeds and directions."""
    draw = stream(seed, "world", spec.motion)
    course = _course(spec, draw, frames, fps)
    zoom, offset = _camera(spec.camera, np.arange(frames, dtype=np.float64) / fps, draw)
    parts = [_seen(part, course.radius, zoom, offset) for part in course.law.parts]

    # Pixel centres in picture heights.
    x, y = np.meshgrid((np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size)
    background = _Background(spec.looks, draw)
    shade = background.light(x, y)
    pictures = np.empty((frames, size, size, 3))
    displacement = np.zeros((frames, size, size, 2))
    mask = np.zeros((frames, size, size), bool)
    for f in range(frames):
        before = max(f - 1, 0)
        if f == 0 or spec.camera:
            world = np.stack([(x - 0.5) / zoom[f] + 0.5 + offset[f, 0], (y - 0.5) / zoom[f] + 0.5 + offset[f, 1]], -1)
            scenery = background.colour(world)
        pictures[f] = scenery
        displacement[f] = size * (np.stack([x, y], -1) - (zoom[before] * (world - 0.5 - offset[before]) + 0.5))
        for part in parts:
            _paint(part, f, before, spec.looks, size, pictures[f], displacement[f], mask[f])
    displacement[0] = displacement[min(1, frames - 1)]
    pictures *= shade[..., None]
    if spec.noise:
        pictures += draw.normal(0, spec.noise, pictures.shape)
    seen, shown = np.clip(pictures + 0.5, 0, 255).astype(np.uint8), displacement.astype(np.float32)
    if course.mirrored:
        seen, shown, mask = seen[:, :, ::-1], shown[:, :, ::-1] * np.array([-1, 1], np.float32), mask[:, :, ::-1]
    facts = {"mirrored": course.mirrored, "radius": course.radius, "parameters": course.law.parameters}
    return Rendered(np.ascontiguousarray(seen), np.ascontiguousarray(shown), np.ascontiguousarray(mask), labels(spec) | facts)


def labels(spec: Spec) -> dict[str, Any]:
    """What is true of every clip of a spec."""
    return {"motion": spec.motion, "kind": spec.kind, "camera": spec.camera or "", **asdict(spec.looks)}


def trajectory(seed: int, spec: Spec, frames: int = FRAMES, fps: float = FPS) -> tuple[Law, Array, float]:
    """The law that `render` would show before camera and mirror, its times [F] in seconds, and the object's radius."""
    course = _course(spec, stream(seed, "world", spec.motion), frames, fps)
    return course.law, course.t, course.radius


@dataclass(frozen=True)
class _Course:
    law: Law
    t: Array  # [F], seconds of the law, which a clip may show faster or slower
    radius: float
    mirrored: bool


def _course(spec: Spec, draw: np.random.Generator, frames: int, fps: float) -> _Course:
    """What the object does: the first thing that a clip's stream decides."""
    radius = SIZES[spec.looks.size] * draw.uniform(0.94, 1.06)
    speed, mirrored = draw.uniform(0.9, 1.15), bool(draw.integers(2))
    t = speed * np.arange(frames, dtype=np.float64) / fps
    return _Course(MOTIONS[spec.motion](t, radius, draw), t, radius, mirrored)


def _camera(kind: str | None, t: Array, draw: np.random.Generator) -> tuple[Array, Array]:
    """Zoom [F] and the world point beside the picture's centre [F, 2]: p = zoom (w - 0.5 - offset) + 0.5."""
    zoom, offset = np.ones_like(t), np.zeros((len(t), 2))
    if kind == "pan":
        angle, speed = draw.uniform(-np.pi, np.pi), draw.uniform(0.2, 0.35)
        offset = speed * (t - t[-1] / 2)[:, None] * np.array([np.cos(angle), np.sin(angle)])
    elif kind == "zoom":
        zoom = np.exp(draw.choice([-1.0, 1.0]) * draw.uniform(0.3, 0.45) * (t - t[-1] / 2))
    elif kind == "shake":
        rates, phases = draw.uniform(3, 6, (2, 2)), draw.uniform(0, 2 * np.pi, (2, 2))
        waves = np.sin(2 * np.pi * rates * t[:, None, None] + phases)
        offset = draw.uniform(0.012, 0.02) * waves.sum(axis=-1)
    elif kind is not None:
        raise ValueError(f"no such camera: {kind!r}; there are {', '.join(CAMERAS)}")
    return zoom, offset


def _seen(part: Part, radius: float, zoom: Array, offset: Array) -> Part:
    """A part in picture coordinates instead of the world's, its radius included."""
    centre = zoom[:, None] * (part.centre - 0.5 - offset) + 0.5
    return Part(centre, zoom[:, None, None] * radius * part.matrix, part.sector)


class _Background:
    """A smooth pattern that fills the world without end, and the light that falls on the picture."""

    def __init__(self, looks: Looks, draw: np.random.Generator) -> None:
        self.base = np.array(BACKGROUNDS[looks.background], float)
        self.level = LIGHTS[looks.light]
        self.waves = draw.uniform(-14, 14, (4, 2))  # radians a picture height
        self.phases = draw.uniform(0, 2 * np.pi, 4)
        self.slope = draw.uniform(-0.15, 0.15, 2)

    def colour(self, world: Array) -> Array:
        wave = np.sin(world @ self.waves.T + self.phases).sum(axis=-1)
        return self.base * (1 + 0.09 * wave[..., None])

    def light(self, x: Array, y: Array) -> Array:
        return self.level * (1 + self.slope[0] * (x - 0.5) + self.slope[1] * (y - 0.5))


def _paint(
    part: Part, f: int, before: int, looks: Looks, size: int, picture: Array, displacement: Array, mask: NDArray[np.bool_]
) -> None:
    """Blend frame f of a part into the picture, and write its displacement and mask where it covers half a pixel or more."""
    matrix, centre = part.matrix[f], part.centre[f]
    reach = 1.2 * np.abs(matrix).sum(axis=1) + 1.5 / size
    low = np.clip(((centre - reach) * size).astype(int), 0, size)
    high = np.clip(((centre + reach) * size).astype(int) + 1, 0, size)
    if (low >= high).any():
        return
    x, y = np.meshgrid((np.arange(low[0], high[0]) + 0.5) / size, (np.arange(low[1], high[1]) + 0.5) / size)
    place = np.stack([x, y], -1)
    u = (place - centre) @ np.linalg.inv(matrix).T
    scale = size * np.sqrt(abs(np.linalg.det(matrix)))
    cover = np.clip(0.5 - scale * _distance(looks.shape, u), 0, 1) * _in_sector(u, part.sector, scale)
    box = slice(low[1], high[1]), slice(low[0], high[0])
    colour = np.array(COLOURS[looks.colour], float) * _texture(looks.texture, u)[..., None]
    picture[box] += cover[..., None] * (colour - picture[box])
    solid = cover >= 0.5
    mask[box] |= solid
    moved = size * (place - (u @ part.matrix[before].T + part.centre[before]))
    displacement[box][solid] = moved[solid]


def _distance(shape: str, u: Array) -> Array:
    """Signed distance to the outline, negative inside, in radii; exact near the edges."""
    x, y = np.abs(u[..., 0]), np.abs(u[..., 1])
    if shape == "disc":
        return np.hypot(x, y) - 1
    if shape == "square":
        return np.maximum(x, y) - 0.85
    if shape == "cross":
        return np.minimum(np.maximum(x - 0.36, y - 1), np.maximum(x - 1, y - 0.36))
    slant = np.sqrt(0.75) * x - 0.5 * u[..., 1]
    return np.maximum(slant, u[..., 1]) - 0.55


def _in_sector(u: Array, sector: tuple[float, float], scale: float) -> Array:
    low, high = sector
    if high - low >= 2 * np.pi:
        return np.ones(u.shape[:-1])
    after_low = u[..., 1] * np.cos(low) - u[..., 0] * np.sin(low)
    before_high = u[..., 0] * np.sin(high) - u[..., 1] * np.cos(high)
    # A pixel wider than exact, or seams would show where two pieces touch.
    return np.clip(1 + scale * np.minimum(after_low, before_high), 0, 1)


def _texture(texture: str, u: Array) -> Array:
    """Brightness over the object; never symmetric under small turns, so that turning can be seen."""
    if texture == "striped":
        wave = np.sin(5 * u[..., 0] + 0.8)
    elif texture == "checked":
        wave = 2 * np.sin(3.2 * u[..., 0] + 0.5) * np.sin(3.2 * u[..., 1] + 0.5)
    else:
        wave = 6 * (np.hypot(u[..., 0], u[..., 1] + 0.45) - 0.38)
    return 0.7 + 0.3 * np.tanh(3 * wave)
