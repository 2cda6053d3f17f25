"""AllTracker (Harley et al. 2025), the paper's tracker, with weights that a user gives: nothing is ever downloaded.

Three ways from its output, which is relative to one anchor frame and lies on that frame's grid, to displacement:

    pairs       every frame is the anchor of a pair with the one before: displacement since then, on its own grid
    anchored    tracks of frame 0's pixels through the clip, differenced in time and spread onto each frame's grid
    literal     the paper read literally: displacement since frame 0, on frame 0's grid
"""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from motive.files import write_atomic
from motive.motion.alltracker_net import WINDOW, AllTracker
from motive.motion.checkpoints import check_file, fill, read_tensors
from motive.motion.pairs import pad, pairs_a_batch
from motive.motion.trackers import Displacement, Frames, Tracker

Tracks = Literal["pairs", "anchored", "literal"]
Trust = Literal["all", "visible"]

ROUNDS = 4
"""Of refinement, as in the authors' demonstration."""

MULTIPLE = 64
"""Pixels that the sizes of frames are padded to a multiple of."""


def alltracker(
    weights: Path,
    sha256: str | None = None,
    tiny: bool = False,
    tracks: Tracks = "pairs",
    trust: Trust = "all",
    rounds: int = ROUNDS,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tracker:
    """A tracker from a checkpoint, read when the tracker is first used.

    sha256: what the file must hash to. trust: "visible" multiplies displacement by visibility times confidence. rounds: of
    refinement. Raises ConfigError if the file is missing or not the expected one.
    """
    check_file(weights, sha256)
    net = cache(lambda: load_network(weights, tiny).to(device, dtype).eval().requires_grad_(False))
    return partial(_displacement, net, tracks, trust, rounds)


def load_network(weights: Path, tiny: bool = False) -> AllTracker:
    """The network with the weights of a published `.pth`, of which nothing but tensors is unpickled, or of a `.safetensors`.

    Raises ConfigError if they do not fit the variant, naming the first differences.
    """
    with torch.device("meta"):
        net = AllTracker(tiny)
    fill(net, read_tensors(weights), weights, "alltracker" if tiny else "alltracker-tiny")
    return net


def convert(weights: Path, target: Path, tiny: bool = False) -> None:
    """A published `.pth` as `.safetensors`, checked against the network."""
    state = load_network(weights, tiny).state_dict()
    write_atomic(target, save({name: tensor.contiguous() for name, tensor in state.items()}))


@torch.inference_mode()
def track_pairs(net: AllTracker, frames: Frames, rounds: int = ROUNDS) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """From each frame but the first back to the one before: displacement float32 [F - 1, 2, H, W], px, on the later one's
    grid; and visibility and confidence [F - 1, 2, H, W], 0..1."""
    moved, seen = [], []
    video, crop = pad(frames, MULTIPLE)
    batch = pairs_a_batch(*video.shape[2:])
    before = _features(net, video[:1])
    for first in range(1, len(video), batch):
        features = torch.cat([before, _features(net, video[first : first + batch])])
        before = features[-1:]
        blank = _blank(features, len(features) - 1, 1)
        *_, motion, logits = net.track(features[1:], features[:-1, None], blank, blank, rounds)
        moved.append(_cropped(motion[:, 0], crop))
        seen.append(_cropped(logits[:, 0].sigmoid(), crop))
    return np.concatenate(moved), np.concatenate(seen)


@torch.inference_mode()
def track_anchored(net: AllTracker, frames: Frames, rounds: int = ROUNDS) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """From frame 0 to every frame: displacement float32 [F, 2, H, W], px, on frame 0's grid; visibility and confidence
    [F, 2, H, W], 0..1.

    In windows of 16 frames, each half over the one before, whose estimates it starts from. Frames that two windows share
    keep the first one's.
    """
    video, crop = pad(frames, MULTIPLE)
    count = len(video)
    starts = [0]
    while starts[-1] + WINDOW < count:
        starts.append(starts[-1] + WINDOW // 2)
    anchor = _features(net, video[:1])
    height, width = anchor.shape[2:]
    coarse = torch.zeros(2, 1, starts[-1] + WINDOW, 2, height, width, device=anchor.device)
    moved = np.zeros((count, 2, *frames.shape[1:3]), np.float32)
    seen = np.zeros_like(moved)
    features: dict[int, Tensor] = {}
    for start in starts:
        window = slice(start, start + WINDOW)
        # The clip's last frame stands for those after its end.
        numbers = [min(n, count - 1) for n in range(start, start + WINDOW)]
        features = {n: features[n] if n in features else _features(net, video[n : n + 1]) for n in dict.fromkeys(numbers)}
        targets = torch.cat([features[n] for n in numbers])[None]
        motion8, seen8, motion, logits = net.track(anchor, targets, coarse[0, :, window], coarse[1, :, window], rounds)
        coarse[:, :, window] = torch.stack([motion8, seen8])
        coarse[:, :, start + WINDOW :] = coarse[:, :, start + WINDOW - 1 : start + WINDOW]
        fresh = slice(start + WINDOW // 2 if start else 0, min(start + WINDOW, count))
        inside = slice(fresh.start - start, fresh.stop - start)
        moved[fresh] = _cropped(motion[0, inside], crop)
        seen[fresh] = _cropped(logits[0, inside].sigmoid(), crop)
    return moved, seen


def spread(values: NDArray[np.float32], places: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Carry `values` [C, H, W] to where they went: places [2, H, W], (x, y) in pixels; weight [H, W], how much each counts.

    Every value falls on its four nearest pixels; what falls together is averaged. Pixels that nothing reaches take the
    mean of ever larger neighbourhoods.
    """
    channels, height, width = values.shape
    x, y = places.reshape(2, -1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    both = np.concatenate([values.reshape(channels, -1), np.ones((1, x.size), np.float32)])
    total = np.zeros((channels + 1, height * width))
    for across, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
        column, row = left + across, top + down
        share = (1 - np.abs(x - column)) * (1 - np.abs(y - row)) * weight.ravel()
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        place = row[inside] * width + column[inside]
        for sums, value in zip(total, both, strict=True):
            sums += np.bincount(place, share[inside] * value[inside], height * width)
    sums = torch.from_numpy(total.reshape(1, channels + 1, height, width))
    return _filled(sums).numpy().astype(np.float32)


def _filled(sums: Tensor, least: float = 1e-3) -> Tensor:
    """Sums over weights, [1, C + 1, h, w] to [C, h, w]; where weights are below `least`, those of a half-sized picture."""
    values, weights = sums[0, :-1], sums[0, -1]
    reached = weights >= least
    known = values / weights.clamp(min=least)
    if reached.all() or max(weights.shape) == 1:
        return torch.where(reached, known, values / weights.clamp(min=1e-12))
    half = _filled(F.avg_pool2d(sums, 2, ceil_mode=True, count_include_pad=False), least)
    wider = F.interpolate(half[None], size=weights.shape, mode="bilinear", align_corners=False)[0]
    return torch.where(reached, known, wider)


def _displacement(net: Callable[[], AllTracker], tracks: Tracks, trust: Trust, rounds: int, frames: Frames) -> Displacement:
    """A Tracker once its first four arguments are given."""
    count, height, width, _ = frames.shape
    if count == 1:
        return np.zeros((1, height, width, 2), np.float32)
    if tracks == "pairs":
        moved, seen = track_pairs(net(), frames, rounds)
        # From a frame back to the one before, negated: motion since then. Frame 0 takes frame 1's (METHOD.md 2.2).
        moved, seen = (np.concatenate([part[:1], part]) for part in (-moved, seen))
    else:
        moved, seen = track_anchored(net(), frames, rounds)
        if tracks == "anchored":
            moved, seen = _on_own_grids(moved, seen)
    if trust == "visible":
        moved = moved * seen.prod(axis=1, keepdims=True)
    return np.ascontiguousarray(moved.transpose(0, 2, 3, 1))


def _on_own_grids(tracks: NDArray[np.float32], seen: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Tracks [F, 2, H, W] of frame 0's pixels to displacement since the frame before, on each frame's own grid; visibility
    and confidence likewise."""
    height, width = tracks.shape[2:]
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height))).astype(np.float32)
    moved = []
    for f in range(1, len(tracks)):
        values = np.concatenate([tracks[f] - tracks[f - 1], seen[f]])
        # What is hidden has no place of its own in the frame; a little, so that it counts where nothing else does.
        moved.append(spread(values, grid + tracks[f], seen[f].prod(axis=0) + 1e-3))
    whole = np.stack([moved[0], *moved])
    return whole[:, :2], whole[:, 2:]


def _features(net: AllTracker, video: Tensor) -> Tensor:
    return net.features(video.to(net.time_emb.device))


def _blank(features: Tensor, batch: int, length: int) -> Tensor:
    return torch.zeros(batch, length, 2, *features.shape[2:], device=features.device)


def _cropped(maps: Tensor, crop: tuple[slice, slice]) -> NDArray[np.float32]:
    return maps[..., crop[0], crop[1]].cpu().numpy()
