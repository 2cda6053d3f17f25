"""The laws behind a clip's motion, fitted to its displacement: the acceleration of what falls or bounces, the period of what
swings, each with a standard error. Lengths in picture heights, times in seconds of the clip, y down.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motive.lab.traces import Floats, Traces

Flags = NDArray[np.bool_]

FEWEST = 4
"""Pairs of frames that a fit needs beyond its parameters."""
TRACKER_ERROR = 0.05
"""Of an acceleration, from the displacement itself, in its own size: measured on renders, where the fits' own errors say little
because neighbouring frames err alike."""
LEAST_EXPLAINED = 0.9
"""Of the variance, for a law to be the clip's."""
PERIODS = np.geomspace(0.35, 4.0, 400)
"""Among which a period is looked for, s."""


@dataclass(frozen=True)
class Fitted:
    """value with its standard error; explained: share of the variance, of speed or place, that the law explains."""

    value: float
    error: float
    explained: float


LAWS: dict[str, tuple[float, float]] = {
    # The world's parameters, as clips show them: each at 0.9 to 1.15 times its own speed.
    "fall": (1.1 * 0.9**2, 1.4 * 1.15**2),
    "bounce": (5 * 0.9**2, 7 * 1.15**2),
    # Small swings' periods of 1.05 to 1.25 s; wide ones take up to 7 % longer.
    "swing": (1.05 * 1.036 / 1.15, 1.25 * 1.065 / 0.9),
}
"""Motions whose law is fitted, and between what the world draws its parameter: heights/s^2, heights/s^2, s."""


def fit_law(motion: str, seen: Traces) -> Fitted | None:
    """The parameter of a motion of LAWS; None where too little moves for a fit."""
    moving = seen.energy > 0
    if motion == "swing":
        return _period(seen.time[moving], seen.centre[moving, 0])
    speed = seen.core[:, 1]
    flights = [moving] if motion == "fall" else _flights(speed, moving)
    return _acceleration(seen.time, speed, flights)


def lawful(motion: str, fitted: Fitted | None) -> bool:
    """Whether the law explains the motion and its parameter is, within two standard errors, one of the world's."""
    if fitted is None or fitted.explained < LEAST_EXPLAINED:
        return False
    low, high = LAWS[motion]
    return low <= fitted.value + 2 * fitted.error and fitted.value - 2 * fitted.error <= high


def _acceleration(time: Floats, speed: Floats, flights: list[Flags]) -> Fitted | None:
    """One acceleration for all flights, each with a speed of its own, by least squares."""
    used = [flight for flight in flights if flight.sum() >= 3]
    if not used:
        return None
    t = np.concatenate([time[flight] - time[flight].mean() for flight in used])
    v = np.concatenate([speed[flight] - speed[flight].mean() for flight in used])
    freedom = len(t) - len(used) - 1
    if freedom < FEWEST:
        return None
    value = float(t @ v / (t @ t))
    rest, whole = float(((v - value * t) ** 2).sum()), float((v**2).sum())
    error = float(np.hypot(np.sqrt(rest / freedom / (t @ t)), TRACKER_ERROR * value))
    return Fitted(value, error, 1 - rest / whole if whole > 0 else 0.0)


def _flights(speed: Floats, moving: Flags) -> list[Flags]:
    """Stretches between hits. At a hit what fell rises at once: speed drops, where in flight it only grows. The pair of frames
    that holds the hit shows a mean of both and belongs to neither."""
    drop = np.diff(speed)
    reach = np.abs(speed).max(initial=0.0)
    hit = np.zeros(len(speed), bool)
    for k in np.flatnonzero(drop < -0.25 * reach):
        hit[k + (abs(speed[k + 1]) < abs(speed[k]))] = True
    flights, start = [], 0
    for end in [*np.flatnonzero(hit).tolist(), len(speed)]:
        flight = np.zeros(len(speed), bool)
        flight[start:end] = True
        flights.append(flight & moving)
        start = end + 1
    return flights


def _period(time: Floats, place: Floats) -> Fitted | None:
    """The period of the sine that fits the place best, and how far it can move before the fit is clearly worse."""
    if len(time) < 4 + FEWEST:
        return None
    rests = np.array([_rest_of_sine(time, place, period) for period in PERIODS])
    best = int(rests.argmin())
    rest, whole = float(rests[best]), float(((place - place.mean()) ** 2).sum())
    noise = rest / (len(time) - 4)
    # One standard error: where the sum of squares has grown by one variance of the noise.
    near = PERIODS[rests <= rest + noise]
    error = float(max(PERIODS[best] - near.min(), near.max() - PERIODS[best], PERIODS[best] * 0.005))
    return Fitted(float(PERIODS[best]), error, 1 - rest / whole if whole > 0 else 0.0)


def _rest_of_sine(time: Floats, place: Floats, period: float) -> float:
    angle = 2 * np.pi * time / period
    design = np.stack([np.sin(angle), np.cos(angle), np.ones_like(angle)], axis=1)
    fitted = design @ np.linalg.lstsq(design, place, rcond=None)[0]
    return float(((place - fitted) ** 2).sum())
