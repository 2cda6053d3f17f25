"""The laws of motion of the lab's world: one function a motion, from its physical parameters to poses over time.

Lengths are in picture heights, times in seconds, angles in radians; x points right and y down. Each law draws its own
parameters, so that a clip follows from its seed alone, and returns them, so that a test can check the law.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Parameters = dict[str, float]

WHOLE = (-np.pi, np.pi)


@dataclass(frozen=True)
class Part:
    """A rigid or stretching piece of the object over F frames: w = matrix @ u + centre takes it from its own unit
    coordinates u to the world.

    centre [F, 2]; matrix [F, 2, 2], without the object's radius. sector: the angles of u that belong to the piece.
    """

    centre: Array
    matrix: Array
    sector: tuple[float, float] = WHOLE


@dataclass(frozen=True)
class Law:
    """What a motion did: its parts, in painting order, and the parameters that it drew."""

    parts: list[Part]
    parameters: Parameters


Motion = Callable[[Array, float, np.random.Generator], Law]
"""Times [F], the object's radius and a source of parameters -> what happens. Leftward and rightward are mirrored later."""


def compress(t: Array, radius: float, draw: np.random.Generator) -> Law:
    """An overdamped spring under a load: the height tends to `1 - depth` of itself; the base stays, the sides bulge."""
    depth, tau = draw.uniform(0.55, 0.7), draw.uniform(0.25, 0.4)
    x, base = draw.uniform(0.35, 0.65), draw.uniform(0.55, 0.8)
    height = 1 - depth * (1 - np.exp(-t / tau))
    matrix = _diagonal(height**-0.3, height)
    return Law([Part(_points(x, base - radius * height), matrix)], {"depth": depth, "tau": tau})


def stretch(t: Array, radius: float, draw: np.random.Generator) -> Law:
    """A constant rate of strain along one axis, exp(rate t), thinning across it with Poisson's ratio 0.3."""
    rate, axis = draw.uniform(0.75, 1.0), draw.uniform(-np.pi / 2, np.pi / 2)
    x, y = draw.uniform(0.4, 0.6), draw.uniform(0.4, 0.6)
    along = np.exp(rate * t)
    turn = rotation(np.full_like(t, axis))
    matrix = turn @ _diagonal(along, along**-0.3) @ turn.transpose(0, 2, 1)
    return Law([Part(_points(x + 0 * t, y), matrix)], {"rate": rate, "axis": axis})


def bounce(t: Array, radius: float, draw: np.random.Generator) -> Law:
    """Free flight between hits on a floor, each of which keeps `restitution` of the speed."""
    gravity, restitution = draw.uniform(5, 7), draw.uniform(0.7, 0.85)
    x, vx, top, floor = draw.uniform(0.15, 0.3), draw.uniform(0.25, 0.5), draw.uniform(0.15, 0.3), draw.uniform(0.75, 0.85)
    y, start, height, speed = np.empty_like(t), 0.0, floor - top, 0.0
    while start <= t[-1]:
        end = start + (speed + np.sqrt(speed**2 + 2 * gravity * height)) / gravity
        flying = (t >= start) & (t < end)
        since = t[flying] - start
        y[flying] = floor - height - speed * since + gravity * since**2 / 2
        speed = restitution * np.sqrt(speed**2 + 2 * gravity * height)
        start, height = end, 0.0
        if speed < 1e-3:  # hits come ever faster, and have an end
            y[t >= start] = floor
            break
    law = {"gravity": gravity, "restitution": restitution, "floor": floor, "vx": vx}
    return Law([_rigid(x + vx * t, y)], law)


def roll(t: Array, radius: float, draw: np.random.Generator) -> Law:
    """Rolling without slipping: the angle is the distance over the radius."""
    x, y, vx = draw.uniform(0.12, 0.2), draw.uniform(0.35, 0.8), draw.uniform(0.55, 0.7)
    return Law([_rigid(x + vx * t, y, vx * t / radius)], {"vx": vx})


def slide(t: Array, radius: float, draw: np.random.Generator) -> Law:
    """Dry friction: a constant deceleration until it stops; no turning."""
    x, y = draw.uniform(0.12, 0.2), draw.uniform(0.35, 0.8)
    speed, friction = draw.uniform(1.2, 1.5), draw.uniform(1.3, 1.7)
    moving = np.minimum(t, speed / friction)
    return Law([_rigid(x + speed * moving - friction * moving**2 / 2, y)], {"speed": speed, "friction": friction})


def spin(t: Array, radius: float, draw: np.random.Generator) -> Law:
    """A constant angular velocity about a centre that stays."""
    omega, start = draw.uniform(4, 6), draw.uniform(-np.pi, np.pi)
    x, y = draw.uniform(0.3, 0.7), draw.uniform(0.3, 0.7)
    return Law([_rigid(x, y, start + omega * t)], {"omega": omega})


def fall(t: Array, radius: float, draw: np.random.Generator) -> Law:
    """Free fall from rest: a constant acceleration."""
    gravity, x, y = draw.uniform(1.1, 1.4), draw.uniform(0.25, 0.75), draw.uniform(0.12, 0.22)
    return Law([_rigid(x, y + gravity * t**2 / 2)], {"gravity": gravity})


def rise(t: Array, radius: float, draw: np.random.Generator) -> Law:
    """Floating up: buoyancy against drag, the speed tends to a terminal one; eddies sway it."""
    terminal, tau = draw.uniform(0.6, 0.75), draw.uniform(0.15, 0.3)
    sway, period = draw.uniform(0.03, 0.05), draw.uniform(0.6, 0.9)
    x, y = draw.uniform(0.25, 0.75), draw.uniform(0.75, 0.85)
    risen = terminal * (t - tau * (1 - np.exp(-t / tau)))
    law = {"terminal": terminal, "tau": tau, "sway": sway, "period": period}
    return Law([_rigid(x + sway * np.sin(2 * np.pi * t / period), y - risen)], law)


def swing(t: Array, radius: float, draw: np.random.Generator) -> Law:
    """A pendulum, theta'' = -gravity / length * sin(theta), released from rest; the object turns with its string."""
    length, amplitude = draw.uniform(0.35, 0.42), draw.uniform(0.75, 1.0)
    gravity = length * (2 * np.pi / draw.uniform(1.05, 1.25)) ** 2
    x, y = draw.uniform(0.45, 0.55), draw.uniform(0.18, 0.28)
    theta = _pendulum(t, amplitude, gravity / length)
    law = {"length": length, "gravity": gravity, "amplitude": amplitude, "pivot_x": x, "pivot_y": y}
    return Law([_rigid(x + length * np.sin(theta), y + length * np.cos(theta), -theta)], law)


def explode(t: Array, radius: float, draw: np.random.Generator) -> Law:
    """Six sectors fly apart along their own directions against drag, turning as they go."""
    pieces, x, y = 6, draw.uniform(0.4, 0.6), draw.uniform(0.4, 0.6)
    speed, tau, first = draw.uniform(0.5, 0.7), draw.uniform(0.4, 0.6), draw.uniform(0, 2 * np.pi / 6)
    parts = []
    for k in range(pieces):
        low = first + 2 * np.pi * k / pieces
        middle = low + np.pi / pieces
        direction = np.array([np.cos(middle), np.sin(middle)])
        flown = draw.uniform(0.8, 1.2) * speed * tau * (1 - np.exp(-t / tau))
        turn = rotation(draw.uniform(-3, 3) * t)
        middle_of_piece = 0.55 * direction
        offset = radius * (middle_of_piece - turn @ middle_of_piece)
        parts.append(Part(np.array([x, y]) + flown[:, None] * direction + offset, turn, (low, low + 2 * np.pi / pieces)))
    return Law(parts, {"speed": speed, "tau": tau, "x": x, "y": y})


def static(t: Array, radius: float, draw: np.random.Generator) -> Law:
    """Nothing moves."""
    return Law([_rigid(draw.uniform(0.3, 0.7) + 0 * t, draw.uniform(0.3, 0.7), draw.uniform(-np.pi, np.pi) + 0 * t)], {})


def constant_bounce(t: Array, radius: float, draw: np.random.Generator) -> Law:
    """A cartoon: up and down at one speed, with neither gravity nor loss."""
    speed, x, vx = draw.uniform(1.2, 1.6), draw.uniform(0.15, 0.3), draw.uniform(0.25, 0.5)
    top, floor = draw.uniform(0.25, 0.35), draw.uniform(0.75, 0.85)
    way = (speed * t) % (2 * (floor - top))
    return Law([_rigid(x + vx * t, top + np.minimum(way, 2 * (floor - top) - way))], {"speed": speed})


def hovering_fall(t: Array, radius: float, draw: np.random.Generator) -> Law:
    """A cartoon: drops at one speed, hangs in the air, drops on."""
    speed, start, pause = draw.uniform(0.9, 1.2), draw.uniform(0.25, 0.35), draw.uniform(0.3, 0.4)
    x, y = draw.uniform(0.25, 0.75), draw.uniform(0.12, 0.2)
    falling = np.minimum(t, start) + np.maximum(t - start - pause, 0)
    return Law([_rigid(x, y + speed * falling)], {"speed": speed, "start": start, "pause": pause})


def teleport(t: Array, radius: float, draw: np.random.Generator) -> Law:
    """A cartoon: stays, and is elsewhere at the next moment."""
    stay = draw.uniform(0.2, 0.3)
    places = draw.uniform(0.2, 0.8, (int(t[-1] / stay) + 1, 2))
    return Law([Part(places[(t / stay).astype(int)], rotation(0 * t))], {"stay": stay})


def reversed_time(t: Array, radius: float, draw: np.random.Generator) -> Law:
    """A cartoon: a bounce, a fall, a slide or an explosion played backwards."""
    forward = (bounce, fall, slide, explode)[int(draw.integers(4))]
    law = forward(t, radius, draw)
    parts = [Part(part.centre[::-1], part.matrix[::-1], part.sector) for part in law.parts]
    return Law(parts, law.parameters)


PHYSICAL: dict[str, Motion] = {
    "compress": compress,
    "bounce": bounce,
    "roll": roll,
    "explode": explode,
    "float": rise,
    "fall": fall,
    "slide": slide,
    "spin": spin,
    "stretch": stretch,
    "swing": swing,
}
"""The paper's ten motions."""

CARTOON: dict[str, Motion] = {
    "constant-bounce": constant_bounce,
    "hovering-fall": hovering_fall,
    "teleport": teleport,
    "reversed": reversed_time,
}

MOTIONS: dict[str, Motion] = PHYSICAL | CARTOON | {"static": static}

PHRASES = {
    "compress": "is compressed",
    "bounce": "bounces",
    "roll": "rolls",
    "explode": "explodes",
    "float": "floats up",
    "fall": "falls",
    "slide": "slides",
    "spin": "spins",
    "stretch": "stretches",
    "swing": "swings",
    "constant-bounce": "bounces without gravity",
    "hovering-fall": "falls and hovers",
    "teleport": "jumps from place to place",
    "reversed": "moves backwards in time",
    "static": "stays still",
}
"""How a caption that names the motion says it."""


def rotation(angle: Array) -> Array:
    """[F] -> [F, 2, 2]."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)


def _rigid(x: Array | float, y: Array | float, angle: Array | float = 0.0) -> Part:
    """A part that moves and turns; whatever is constant may be a number, as long as something is not."""
    x, y, angle = np.broadcast_arrays(x, y, angle)
    return Part(_points(x, y), rotation(angle))


def _points(x: Array | float, y: Array | float) -> Array:
    return np.stack(np.broadcast_arrays(x, y), axis=-1).astype(np.float64)


def _diagonal(x: Array, y: Array) -> Array:
    return np.stack([np.stack([x, 0 * x], -1), np.stack([0 * y, y], -1)], -2)


def _pendulum(t: Array, amplitude: float, stiffness: float, substeps: int = 64) -> Array:
    """theta over t, by the classical Runge-Kutta method."""

    def slope(state: Array) -> Array:
        return np.array([state[1], -stiffness * np.sin(state[0])])

    state, out = np.array([amplitude, 0.0]), [amplitude]
    for before, now in itertools.pairwise(t):
        h = (now - before) / substeps
        for _ in range(substeps):
            a = slope(state)
            b = slope(state + h / 2 * a)
            c = slope(state + h / 2 * b)
            d = slope(state + h * c)
            state = state + h / 6 * (a + 2 * b + 2 * c + d)
        out.append(state[0])
    return np.array(out)
