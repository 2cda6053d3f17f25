"""What the method needs of a text-to-video model. A family is one adapter with these members, and one registry line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class VideoModel(Protocol):
    """A pretrained text-to-video diffusion model, its parts loaded when first used and freed when told.

    Preparation needs the text encoder, then the VAE; attribution and training the denoiser. No two need be in memory
    together.
    """

    family: str

    folder: Path
    """A diffusers pipeline's folder."""

    denoiser_part: str
    """What the denoiser's own folder in it is called."""

    trained: bool
    """False for a model whose weights are random: its scores exercise the method and say nothing about motion."""

    latent_stride: tuple[int, int, int]
    """Frames, height and width that one latent stands for."""

    device: torch.device

    @property
    def denoiser(self) -> nn.Module:
        """The only part that attribution differentiates and training changes."""
        ...

    def parameter_names(self) -> list[str]:
        """Names of the denoiser's parameters, known without loading its weights."""
        ...

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """[C, f, h, w] of a clip of that size; raises ConfigError if the model cannot take the size."""
        ...

    def encode_video(self, frames: NDArray[np.uint8]) -> Tensor:
        """uint8 RGB [F, H, W, 3] -> latents float32 [C, f, h, w], normalised as the denoiser was trained, on the CPU."""
        ...

    def encode_text(self, captions: Sequence[str]) -> list[Tensor]:
        """One [tokens, dim] embedding a caption, without padding, on the CPU."""
        ...

    def error(self, latents: Tensor, text: Sequence[Tensor], noise: Tensor, sigma: float | Tensor) -> Tensor:
        """The denoiser's prediction less its target, float32 [B, C, f, h, w], differentiable (METHOD.md 1).

        latents, noise: float32 [B, C, f, h, w]. text: B embeddings as `encode_text` gives them. sigma: noise
        level, one for all or float32 [B].
        """
        ...

    def free(self) -> None:
        """Drop every loaded part; the next use loads it again."""
        ...

    def fingerprint(self, part: str) -> dict[str, str]:
        """What identifies the weights of "encoders" (text and VAE) or "denoiser": names and content hashes."""
        ...
