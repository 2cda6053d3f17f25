"""One optimiser step's gradients: this process's share of the batch, in one or several passes."""

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from motive.models.base import VideoModel

SMALL = 1 << 12
"""Latents of a clip, over frames, height and width."""


@dataclass(frozen=True)
class Example:
    """A clip in a batch: latents and noise float32 [C, f, h, w], text [tokens, dim], noise level, and what it counts."""

    latents: Tensor
    text: Tensor
    noise: Tensor
    level: float
    weight: float


def backward(model: VideoModel, examples: Sequence[Example], passes: int, whole: int, half: bool) -> Tensor:
    """Add up the gradient of L = sum over examples of weight * mean((model - target)^2) / whole, and return L, a scalar.

    whole: clips of the batch in all processes, so that their gradients need only be added. passes: into how many parts the
    examples are cut. half: compute in bfloat16 by autocast.
    """
    total = torch.zeros((), device=model.device)
    size = -(-len(examples) // passes)
    for first in range(0, len(examples), size):
        some = examples[first : first + size]
        latents, noise = (torch.stack([getattr(one, part) for one in some]).to(model.device) for part in ("latents", "noise"))
        texts = [one.text.to(model.device) for one in some]
        levels = torch.tensor([one.level for one in some], dtype=torch.float64, device=model.device)
        weights = torch.tensor([one.weight / whole for one in some], dtype=torch.float32, device=model.device)
        with warnings.catch_warnings():
            # Norms' weights stay in float32 under autocast: they are meant to. Checkpoints run forward again in the backward.
            warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")
            with torch.autocast(model.device.type, torch.bfloat16, enabled=half), _attention(latents, half):
                error = model.error(latents, texts, noise, levels)
            loss = (weights * error.square().flatten(1).mean(dim=1)).sum()
            loss.backward()
        total += loss.detach()
    return total


def _attention(latents: Tensor, half: bool) -> AbstractContextManager[None]:
    """In bfloat16 a CPU's flash kernel takes a quarter longer than plain products of matrices, as long as these are small."""
    small = latents.device.type == "cpu" and half and latents[0, 0].numel() <= SMALL
    return sdpa_kernel(SDPBackend.MATH) if small else nullcontext()
