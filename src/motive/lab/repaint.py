"""Clips as the lab's model paints them: noised, and denoised again from the caption. What moves still moves as it did, with the
flaws that generated clips have, so that a judge of generated clips can be fitted on clips whose motion is known."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motive.lab.samples import GUIDANCE
from motive.lab.shipped import shipped_model
from motive.models.registry import load_model
from motive.seeds import stream

STEPS = 8
LEVELS = (0.55, 0.9)
"""Noise levels from which a clip is painted again: below, little of it changes; above, its motion may."""

Clips = Sequence[NDArray[np.uint8]]


class Painter:
    """The model that ships, its parts loaded once."""

    def __init__(self) -> None:
        from diffusers import AutoencoderKLWan

        self.model = load_model(str(shipped_model()), (LEVELS[1],), "cpu")
        self.vae: Any = AutoencoderKLWan.from_pretrained(shipped_model(), subfolder="vae", torch_dtype=torch.float32).eval()
        self.mean, self.deviation = (
            torch.tensor(self.vae.config[name]).view(1, -1, 1, 1, 1) for name in ("latents_mean", "latents_std")
        )
        self.nothing = self.model.encode_text([""])[0]

    @torch.inference_mode()
    def decoded(self, clips: Clips) -> list[NDArray[np.uint8]]:
        """Clips uint8 [F, H, W, 3] encoded and decoded: as much of them as any generated clip can show."""
        return self._shown(self._latents(clips))

    @torch.inference_mode()
    def repainted(self, clips: Clips, captions: Sequence[str], seed: int, number: int) -> list[NDArray[np.uint8]]:
        """Clips noised to a level of LEVELS and denoised in a few steps. seed, number: what level and noise are drawn for."""
        latents, texts = self._latents(clips), self.model.encode_text(captions)
        draw = stream(seed, "regen", number)
        start = float(draw.uniform(*LEVELS))
        noise = torch.from_numpy(draw.standard_normal(tuple(latents.shape)).astype(np.float32))
        state = (1 - start) * latents + start * noise
        for level, lower in pairwise(np.linspace(start, 0, STEPS + 1).tolist()):
            # What is both clip and noise is the state itself, and its target is 0: the error is the prediction.
            said, unsaid = (self.model.error(state, given, state, level) for given in (texts, [self.nothing] * len(texts)))
            state = state - (level - lower) * (unsaid + GUIDANCE * (said - unsaid))
        return self._shown(state)

    def _latents(self, clips: Clips) -> Tensor:
        return torch.stack([self.model.encode_video(clip) for clip in clips])

    def _shown(self, latents: Tensor) -> list[NDArray[np.uint8]]:
        whole = latents * self.deviation + self.mean
        pictures = (self.vae.decode(clip[None]).sample[0].clamp(-1, 1).permute(1, 2, 3, 0) for clip in whole)
        return [((picture + 1) * 127.5 + 0.5).to(torch.uint8).numpy() for picture in pictures]
