"""What learned trackers share that correlate each eighth of a frame with each of another: padding, and pairs a batch."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from motive.motion.trackers import Frames

STRIDE = 8
"""Pixels a place has on a side."""

SMALLEST = 128
"""Pixels a side below which the coarsest correlations would be empty; smaller frames are padded to it."""

MEMORY = 1 << 30
"""Bytes that the correlations of one batch may take."""


def pad(frames: Frames, multiple: int) -> tuple[Tensor, tuple[slice, slice]]:
    """uint8 [F, H, W, 3] to uint8 [F, 3, H', W'], and where the frames lie in it.

    Edges are repeated on both sides, up to a multiple of `multiple` and at least SMALLEST.
    """
    height, width = frames.shape[1:3]
    tall, wide = (max(-(-size // multiple) * multiple, SMALLEST) for size in (height, width))
    top, left = (tall - height) // 2, (wide - width) // 2
    video = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
    padded = F.pad(video, (left, wide - width - left, top, tall - height - top), mode="replicate")
    return padded, (slice(top, top + height), slice(left, left + width))


def pairs_a_batch(height: int, width: int) -> int:
    """Pairs of frames of at least SMALLEST whose correlations fit into MEMORY: float32 for every two places, and a third more
    for the smaller levels."""
    places = max(height, SMALLEST) * max(width, SMALLEST) // STRIDE**2
    return max(1, MEMORY * 3 // (4 * 4 * places**2))
