"""The motion-weighted loss (METHOD.md 2.5)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from motive.models.base import VideoModel
from motive.seeds import stream


def motion_loss(error: Tensor, mask: Tensor) -> Tensor:
    """L_mot = mean over (latent channel, f, y, x) of W * error; a mask of ones gives the plain diffusion loss.

    error: squared error [B, C, f, h, w] with gradient. mask: W [B, f, h, w]. Returns one loss a clip, [B].
    """
    return (mask[:, None] * error).flatten(1).mean(dim=1)


def shared_noise(seed: int, shape: Sequence[int]) -> Tensor:
    """The one draw of eps, N(0, I) float32 of a latent's `shape`, that every clip and every query meets."""
    return torch.from_numpy(stream(seed, "noise").standard_normal(tuple(shape), dtype=np.float32))


def clip_loss(model: VideoModel, latents: Tensor, text: Tensor, mask: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """L_mot of one clip at one noise level, a scalar with its graph.

    latents, noise [C, f, h, w]; text [tokens, dim]; mask [f, h, w]; all on any device.
    """
    latents, noise, mask, text = (tensor.to(model.device)[None] for tensor in (latents, noise, mask, text))
    return motion_loss(model.error(latents, [text[0]], noise, sigma), mask)[0]
