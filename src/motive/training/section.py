"""The settings of training and generation."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from motive.section import Section

LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2")
"""The layers that trainers of Wan give adapters, as diffusers names them."""


class TrainSection(Section):
    """Fine-tuning, the same for every arm. All arms take the same number of optimiser steps."""

    steps: int = Field(1000, ge=1, le=10_000_000)
    """Optimiser steps."""
    batch: int = Field(8, ge=1, le=65_536)
    """Clips a step, over all processes and passes together."""
    accumulation: int = Field(1, ge=1, le=65_536)
    """Passes in which a process does its share of a step's clips: more of them take less memory, with the same result to
    rounding."""
    rate: float = Field(1e-5, gt=0, le=1)
    """AdamW's learning rate (paper: 1e-5)."""
    schedule: Literal["constant", "linear"] = "constant"
    """The rate after the warm-up: the same to the end, or falling to zero in a straight line."""
    warmup: int = Field(0, ge=0)
    """Steps in which the rate rises from zero."""
    decay: float = Field(0.0, ge=0, le=1)
    """AdamW's weight decay."""
    clip: float | None = Field(1.0, gt=0)
    """Norm that a step's gradient is cut to; none leaves it as it is."""
    method: Literal["full", "lora"] = "full"
    """full: all of the denoiser, and a whole diffusers folder comes out (paper); lora: an adapter, and its weights come out."""
    rank: int = Field(32, ge=1, le=8192)
    """Of the adapter."""
    alpha: int | None = Field(None, ge=1)
    """The adapter counts alpha / rank times; by default once."""
    targets: tuple[str, ...] = Field(LORA_TARGETS, min_length=1)
    """Layers that get an adapter, by the end of their names, or as patterns such as "blocks.1?.attn1.*"."""
    precision: Literal["bf16", "float32"] = "bf16"
    """What passes are computed in, bfloat16 by autocast. What is trained is always float32."""
    checkpointing: bool = False
    """Recompute activations in the backward pass: a third more time, far less memory, the same numbers."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay of a running average of the weights, which then is the result instead of the last ones; such as 0.999."""
    shift: float = Field(3.0, gt=0, le=100)
    """Of the schedule over which noise levels are drawn evenly, as the model's training drew them: 3 for Wan at 480 lines, 5 at
    720."""
    levels: tuple[float, float] = (0.0, 1.0)
    """The noise levels that are trained. A model with a denoiser on each side of a boundary has one of them trained: give the
    levels of that side, such as [0.875, 1]."""
    weights: Literal["none", "influence"] = "none"
    """none: all clips of an arm count alike; influence: each by its place in the ranking, 1 the first and 0 the last, and
    harmful clips (harmful.jsonl) `harmful` times that; scaled so that an arm's mean is 1."""
    harmful: float = Field(0.0, ge=0, le=1)
    """What harmful clips count where weights are by influence; 0 leaves them out of every batch."""
    influence_every: int | None = Field(None, ge=1)
    """Steps between measurements of the influence of a step's clips on the queries with the weights as they are then, to
    influence.jsonl; none by default. It holds a second denoiser, and costs what attributing those clips does."""
    log: Literal["tensorboard", "wandb", "trackio", "none"] = "tensorboard"
    """Where curves go beside loss.jsonl; wandb and trackio must be installed."""
    save_every: int = Field(250, ge=1)
    """Steps between checkpoints, from which a stopped run goes on; no result depends on it."""

    @model_validator(mode="after")
    def _ordered(self) -> "TrainSection":
        if not 0 <= self.levels[0] < self.levels[1] <= 1:
            raise ValueError("levels must be two rising numbers between 0 and 1")
        if self.warmup >= self.steps:
            raise ValueError(f"warmup is {self.warmup} of only {self.steps} steps")
        return self


class GenerateSection(Section):
    """Videos that every arm generates, from the same prompts and the same noise."""

    prompts: Path | None = None
    """A .jsonl or .csv file with id and prompt, and motion if it is known; by default the queries' captions, each once."""
    seeds: int = Field(1, ge=1, le=100_000)
    """Videos a prompt, each from noise of its own."""
    steps: int = Field(50, ge=1, le=10_000)
    """Of the sampler."""
    guidance: float = Field(5.0, ge=0, le=100)
    """Classifier-free guidance; 1 does without."""
    negative: Annotated[str, Field(max_length=4000)] = ""
    """The negative prompt."""
    batch: int = Field(1, ge=1, le=4096)
    """Videos at a time. Another number changes them by rounding."""
    frames: int | None = Field(None, ge=1, le=10_000)
    """By default `video.frames`."""
    fps: float | None = Field(None, gt=0, le=1000)
    """Of the files; by default `video.fps`."""
    height: int | None = Field(None, ge=8, le=8192)
    """Pixels, by default `video.height`."""
    width: int | None = Field(None, ge=8, le=8192)
    """Pixels, by default `video.width`."""
