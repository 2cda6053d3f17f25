"""How the moving part of a clip moves, a few numbers a frame: what the judge of motion and the fits of its laws look at.

Displacement is DIS's, on one grey picture a frame: the clip's colours along the direction in which they differ most, since
things of another colour may be as bright as what is behind them. Lengths are in picture heights, times in seconds.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from motive.motion.trackers import dis

SIDE = 128
"""Lines at which displacement is computed; every other one of its vectors is used."""
LEAST_CONTRAST = 60.0
"""Grey levels that are spread to the whole range at least: a flat picture's noise is no contrast."""
LEAST_CHANGE = 4.0
"""Grey levels, in the colour that changes most, of a neighbourhood's mean."""
SLOW = 0.003
"""Heights a frame, 0.2 px at 64 lines, below which nothing moves."""

CORE = 0.7
"""Of the speed that a tenth of what moves exceeds: what is faster is the thing itself."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Traces:
    """Of each of P = F - 1 pairs of frames, over what moves, each place weighted by its speed:

    time [P]: of the middle of the pair, in seconds. velocity, centre [P, 2]: (x, y), heights/s and heights. core [P, 2]: the
    velocity of the faster places alone, for a tracker smears slow displacement around what moves. gradient [P, 2, 2]:
    d velocity / d place, 1/s: turning, growing, shearing. energy: mean squared velocity; of it `affine`, what the gradient
    explains beyond the mean velocity, and `rest`, what neither does, [P]. area: share of the picture that moves; spread: root
    mean square distance from the centre, [P].
    """

    time: Floats
    velocity: Floats
    centre: Floats
    core: Floats
    gradient: Floats
    energy: Floats
    affine: Floats
    rest: Floats
    area: Floats
    spread: Floats


def traces(frames: NDArray[np.uint8], fps: float) -> Traces:
    """Of frames uint8 [F, H, W, 3], F > 1."""
    field = dis(contrasted(frames))[1:, ::2, ::2].astype(np.float64) / SIDE
    height, width = field.shape[1:3]
    field *= changed(frames, (width, height))[..., None]
    y, x = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / height, indexing="ij")
    speed = np.linalg.norm(field, axis=-1)
    moving = speed > SLOW
    weight = np.where(moving, speed, 0)
    total = weight.sum(axis=(1, 2), keepdims=True)
    still = total[:, 0, 0] == 0
    weight /= np.where(total > 0, total, 1)

    def mean(values: Floats) -> Floats:
        return np.asarray((weight * values).sum(axis=(1, 2)))

    centre = np.stack([mean(x), mean(y)], axis=-1)
    centre[still] = 0.5
    place = np.stack([x, y], -1) - centre[:, None, None]
    velocity = np.stack([mean(field[..., 0]), mean(field[..., 1])], axis=-1)
    core = np.stack([_core(pair, fast) for pair, fast in zip(field, speed, strict=True)])
    beyond = field - velocity[:, None, None]
    moments = np.einsum("phw,phwi,phwj->pij", weight, place, place, optimize=True)
    covariance = np.einsum("phw,phwi,phwj->pij", weight, beyond, place, optimize=True)
    gradient = covariance @ np.linalg.inv(moments + 1e-5 * np.eye(2))
    fitted = place @ gradient.transpose(0, 2, 1)[:, None]
    energy = mean((field**2).sum(-1))
    affine, rest = mean((fitted**2).sum(-1)), mean(((beyond - fitted) ** 2).sum(-1))
    return Traces(
        time=np.asarray((np.arange(len(field)) + 0.5) / fps, np.float64),
        velocity=velocity * fps,
        centre=centre,
        core=core * fps,
        gradient=gradient * fps,
        energy=energy * fps**2,
        affine=affine * fps**2,
        rest=rest * fps**2,
        area=moving.mean(axis=(1, 2)),
        spread=np.sqrt(np.trace(moments, axis1=1, axis2=2)),
    )


def _core(pair: Floats, speed: Floats) -> Floats:
    """Median displacement [2] of the places of [H, W, 2] that are nearly as fast as the fastest."""
    moving = speed > SLOW
    if not moving.any():
        return np.zeros(2)
    fast = speed >= CORE * np.quantile(speed[moving], 0.9)
    return np.asarray(np.median(pair[fast], axis=0))


def changed(frames: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Where a picture differs from the one before, [F - 1, H, W], at the (W, H) of `shape`. Elsewhere a tracker reports what it
    makes of a decoder's noise, which generated clips are full of."""
    small = np.stack([cv2.resize(frame, shape, interpolation=cv2.INTER_AREA) for frame in frames]).astype(np.float32)
    smooth = (cv2.GaussianBlur(difference, (0, 0), 1.0) for difference in np.diff(small, axis=0))
    far = (np.abs(difference).max(axis=-1) > LEAST_CHANGE for difference in smooth)
    return np.stack([cv2.dilate(places.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0 for places in far])


def contrasted(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey pictures uint8 [F, 128, W, 3] of the clip's colours along their principal axis, spread over the whole range."""
    height, width = frames.shape[1:3]
    pixels = frames.reshape(-1, 3)[::3].astype(np.float64)
    middle = pixels.mean(axis=0)
    axis = np.linalg.eigh(np.cov((pixels - middle).T))[1][:, -1]
    grey = (frames - middle) @ axis
    low, high = np.quantile(grey, (0.002, 0.998))
    spread = (grey - (low + high) / 2) / max(high - low, LEAST_CONTRAST) * 235 + 127.5
    bytes_ = np.clip(spread, 0, 255).astype(np.uint8)
    shape = max(16, round(SIDE * width / height)), SIDE
    way = cv2.INTER_CUBIC if height < SIDE else cv2.INTER_AREA
    resized = np.stack([cv2.resize(picture, shape, interpolation=way) for picture in bytes_])
    return np.repeat(resized[..., None], 3, axis=-1)
