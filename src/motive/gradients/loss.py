"""The motion-weighted loss (METHOD.md 2.5)."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from motive.models.base import VideoModel
from motive.seeds import stream


def motion_loss(error: Tensor, mask: Tensor) -> Tensor:
    """L_mot = mean over (latent channel, f, y, x) of W * error^2; a mask of ones gives the plain diffusion loss.

    error: prediction less target [B, C, f, h, w], with gradient. mask: W [B, f, h, w]. Returns one loss a clip, [B].
    """
    return (mask[:, None] * error.square()).flatten(1).mean(dim=1)


def temporal_residual(error: Tensor) -> Tensor:
    """What of `error` [B, C, f, h, w] changes over time: its deviation from its own mean over f.

    An error about looks is the same in every frame and cancels; one about motion stays.
    """
    return error - error.mean(dim=2, keepdim=True)


def shared_noise(seed: int, shape: Sequence[int], draw: int = 0) -> Tensor:
    """Draw number `draw` of eps, N(0, I) float32 of a latent's `shape`: the same one for every clip and every query."""
    name = ("noise", draw) if draw else ("noise",)
    return torch.from_numpy(stream(seed, *name).standard_normal(tuple(shape), dtype=np.float32))


def clip_loss(
    model: VideoModel,
    latents: Tensor,
    text: Tensor,
    mask: Tensor,
    noise: Tensor,
    sigma: float,
    residual: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """L_mot of one clip at one noise level, a scalar with its graph; arguments as those of `clip_losses`, of one clip."""
    return clip_losses(model, [latents], [text], [mask], noise, sigma, residual)[0]


def clip_losses(
    model: VideoModel,
    latents: Sequence[Tensor],
    text: Sequence[Tensor],
    mask: Sequence[Tensor],
    noise: Tensor,
    sigma: float,
    residual: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """L_mot of each of B clips at one noise level, [B] with its graph, from one forward pass.

    latents: [C, f, h, w] each; text: [tokens, dim] each; mask: [f, h, w] each; noise [C, f, h, w], the same for all; on
    any device. residual: what of the error counts, such as `temporal_residual`; all of it if None.
    """
    given, weight = (torch.stack(list(part)).to(model.device) for part in (latents, mask))
    embeddings = [embedding.to(model.device) for embedding in text]
    error = model.error(given, embeddings, noise.to(model.device).expand_as(given), sigma)
    return motion_loss(error if residual is None else residual(error), weight)
