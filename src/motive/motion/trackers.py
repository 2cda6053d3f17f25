"""Trackers: frames in, frame-to-frame displacement out. A new one is one function and one line in `TRACKERS`."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
Displacement = NDArray[np.float32]

Tracker = Callable[[Frames], Displacement]
"""uint8 RGB [F, H, W, 3] -> float32 [F, H, W, 2], (dx, dy) in px/frame.

Row f is how far what pixel (y, x) of frame f shows has moved since frame f - 1, on frame f's own grid; frame 0 takes
frame 1's (METHOD.md 2.2). The array is the caller's from then on, who may change it.
"""


def dis(frames: Frames, preset: int = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM) -> Displacement:
    """Dense inverse search (Kroeger et al. 2016), OpenCV's."""
    return _displacement(frames, lambda: cv2.DISOpticalFlow.create(preset).calc)


def farneback(frames: Frames) -> Displacement:
    """Polynomial expansion (Farneback 2003), OpenCV's. Exact on still frames, but halves fast motion."""
    flow = partial(
        cv2.calcOpticalFlowFarneback,
        pyr_scale=0.5,
        levels=5,
        winsize=21,
        iterations=5,
        poly_n=7,
        poly_sigma=1.5,
        flags=0,
    )
    return _displacement(frames, lambda: flow)


TRACKERS: dict[str, Tracker] = {
    "dis": dis,
    "dis-fast": partial(dis, preset=cv2.DISOPTICAL_FLOW_PRESET_FAST),
    "dis-ultrafast": partial(dis, preset=cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST),
    "farneback": farneback,
}


def _displacement(frames: Frames, make_flow: Callable[[], Callable[..., Any]]) -> Displacement:
    """Flow from each frame back to the one before, negated: that is motion since then, on the later frame's grid.

    Frame pairs are independent: as many run side by side as OpenCV may have threads, each on one. `make_flow` gives every
    thread its own flow(from, to, initial), since OpenCV's objects keep buffers.
    """
    count, height, width, _ = frames.shape
    out = np.zeros((count, height, width, 2), np.float32)
    if count == 1:
        return out
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    mine = threading.local()

    def pair(f: int) -> None:
        if not hasattr(mine, "flow"):
            mine.flow = make_flow()
        np.negative(mine.flow(grey[f], grey[f - 1], None), out=out[f])

    before = cv2.getNumThreads()
    threads = max(1, before)
    cv2.setNumThreads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(pair, range(1, count)))
    finally:
        cv2.setNumThreads(before)
    out[0] = out[1]
    return out
