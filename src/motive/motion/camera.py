"""Camera motion: a global model of each frame's displacement, fitted so that moving things cannot pull it."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from motive.motion.trackers import Displacement, Frames

CameraModel = Literal["affine", "homography"]

GRID = 6
"""Pixels between the points a model is fitted to."""

TOLERANCE = 1 / 480
"""Of the picture's height: how far a point's displacement may lie from the model that it supports, and how far the camera
must move in a frame to count as moving."""


@dataclass(frozen=True)
class Camera:
    """displacement: px/frame [F, H, W, 2] that the camera alone causes, to be subtracted from the tracker's.

    px: its mean length over textured points, median over frames. support: the share of those points that follow the
    model, mean over frames; a frame where no model could be fitted counts 0 and keeps its displacement. moves: whether
    `px` is at least TOLERANCE of the picture's height.
    """

    displacement: Displacement
    px: float
    support: float
    moves: bool


def fit_camera(frames: Frames, displacement: Displacement, model: CameraModel) -> Camera:
    """Fit `model` to each frame of `displacement` [F, H, W, 2] by RANSAC over textured points.

    Only the more textured half of a regular grid votes: optical flow on sky, walls and asphalt is a guess. Frame 0's
    displacement is frame 1's (see Tracker), so the model is as well.
    """
    out = np.zeros_like(displacement)
    lengths, shares = [0.0], [0.0]
    tolerance = TOLERANCE * displacement.shape[1]
    for f in range(1, len(frames)):
        points = _textured_points(frames[f])
        moved = points + displacement[f, points[:, 1].astype(int), points[:, 0].astype(int)]
        # Displacement is on frame f's grid: `points` came from points - d. The model maps p to p + d all the same.
        matrix, inliers = _fit(points, moved, model, tolerance)
        if matrix is None:
            lengths.append(0.0)
            shares.append(0.0)
            continue
        out[f] = _motion_of(matrix, *displacement.shape[1:3])
        at_points = out[f, points[:, 1].astype(int), points[:, 0].astype(int)]
        lengths.append(float(np.linalg.norm(at_points, axis=-1).mean()))
        shares.append(inliers)
    if len(frames) > 1:
        out[0], lengths[0], shares[0] = out[1], lengths[1], shares[1]
    px = float(np.median(lengths))
    return Camera(out, px, float(np.mean(shares)), px >= tolerance)


def _textured_points(frame: Frames) -> NDArray[np.float32]:
    """(x, y) of the grid points whose neighbourhood has at least the median gradient energy."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    dx, dy = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    energy = cv2.blur(dx * dx + dy * dy, (7, 7))[GRID // 2 :: GRID, GRID // 2 :: GRID]
    rows, columns = np.nonzero(energy >= np.median(energy))
    return np.stack([columns, rows], axis=-1).astype(np.float32) * GRID + GRID // 2


def _fit(
    points: NDArray[np.float32], moved: NDArray[np.float32], model: CameraModel, tolerance: float
) -> tuple[NDArray[np.float64] | None, float]:
    """3 x 3 matrix from points to moved points, and the share of points within `tolerance` px of it; None if there is none."""
    if len(points) < 8:
        return None, 0.0
    if model == "affine":
        part, inliers = cv2.estimateAffine2D(
            points, moved, method=cv2.RANSAC, ransacReprojThreshold=tolerance, maxIters=1000, confidence=0.999
        )
        matrix = None if part is None else np.vstack([part, [0, 0, 1]])
    else:
        matrix, inliers = cv2.findHomography(points, moved, cv2.RANSAC, tolerance, maxIters=1000, confidence=0.999)
    return (None, 0.0) if matrix is None else (np.asarray(matrix, np.float64), float(inliers.mean()))


def _motion_of(matrix: NDArray[np.float64], height: int, width: int) -> Displacement:
    """The displacement [H, W, 2] that `matrix` gives every pixel."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    u, v, w = (row[0] * x + row[1] * y + row[2] for row in matrix)
    return np.stack([u / w - x, v / w - y], axis=-1).astype(np.float32)
