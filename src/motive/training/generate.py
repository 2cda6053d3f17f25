"""Videos of every arm, from the same prompts and the same noise, by diffusers' own WanPipeline.

samples/prompts.jsonl                        {"id", "prompt", "motion" if it is known}
samples/<arm>/<prompt id>-<seed>.mp4         and beside it a .json with all that the video depends on
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from motive.config import Config, dump_config
from motive.errors import ModelError
from motive.files import write_atomic
from motive.models.base import VideoModel
from motive.models.folder import loading
from motive.models.registry import find_device, load_model
from motive.models.wan import MAX_TEXT_TOKENS
from motive.progress import Progress
from motive.training.arms import Arm, read_arms
from motive.training.processes import find_processes, told_once
from motive.training.prompts import read_prompts, write_prompts
from motive.training.samples import Sample, sample_noise, samples_of, trained_folder
from motive.training.tuning import LORA_FILE

Texts = dict[str, Tensor]
"""Embeddings [1, tokens, dim] by the text that they are of."""


def generate(config: Config, arms: Sequence[str] | None = None, progress: Progress | None = None) -> Path:
    """Make the videos of the arms (by default `config.arms`) that are not made yet; returns the folder of all samples.

    Under `accelerate launch` every process calls this, and they share the videos. Raises MotiveError before the first video
    if an arm is not trained, a prompt cannot be used, or videos were made with other settings.
    """
    source, options = config.model, config.generate
    processes = find_processes(source.device)
    progress = told_once(processes, progress)
    wanted, prompts = read_arms(config, arms), read_prompts(config)
    model = load_model(source.path, config.train.levels, processes.device, source.dtype, source.revision)
    plans = {arm: samples_of(config, arm, prompts, model) for arm in wanted}
    # Batches are cut before it is seen what is there: a video's last bits depend on the company in which it is made.
    waiting = {arm: [batch for batch in _cut(plan, options.batch) if _is_missing(batch)] for arm, plan in plans.items()}
    about = next(iter(plans.values()))[0].about
    shape = model.latent_shape(about["frames"], about["height"], about["width"])
    folder = config.out / "samples"
    processes.wait()
    if processes.first:
        write_atomic(config.out / "motive.yaml", dump_config(config).encode())
        write_prompts(folder / "prompts.jsonl", prompts)
    if any(waiting.values()):
        device = find_device(processes.device)
        texts = _embed(config, model, [prompt.text for prompt in prompts], device)
        for turn, (arm, batches) in enumerate(waiting.items()):
            # A spare batch goes to another process in every arm.
            mine = batches[(processes.rank + turn) % processes.count :: processes.count]
            if mine:
                _generate(config, arm, mine, model, shape, texts, device, progress)
    processes.wait()
    return folder


def _cut(plan: list[Sample], size: int) -> list[list[Sample]]:
    return [plan[first : first + size] for first in range(0, len(plan), size)]


def _is_missing(batch: list[Sample]) -> bool:
    made = [sample.is_made() for sample in batch]  # every one is asked whether its settings fit
    return not all(made)


def _generate(
    config: Config,
    arm: Arm,
    batches: list[list[Sample]],
    model: VideoModel,
    shape: tuple[int, int, int, int],
    texts: Texts,
    device: torch.device,
    progress: Progress,
) -> None:
    pipeline = _pipeline(config, arm, model).to(device)
    options = config.generate
    missing = {sample for batch in batches for sample in batch if not sample.is_made()}
    with progress.steps(f"generating with {arm.text}", len(missing)) as tick:
        for batch in batches:
            negative = texts[options.negative].expand(len(batch), -1, -1)
            about = batch[0].about
            videos = pipeline(
                prompt_embeds=torch.cat([texts[sample.prompt.text] for sample in batch]),
                negative_prompt_embeds=negative if options.guidance > 1 else None,
                latents=torch.stack([sample_noise(sample, shape) for sample in batch]).to(device),
                num_frames=about["frames"],
                height=about["height"],
                width=about["width"],
                num_inference_steps=options.steps,
                guidance_scale=options.guidance,
                output_type="np",
            ).frames
            for sample, video in zip(batch, videos, strict=True):
                if sample not in missing:
                    continue
                if not np.isfinite(video).all():
                    raise ModelError(f"{sample.file}: {arm.text} generates numbers that are not finite; was its rate too high?")
                sample.keep((video * 255 + 0.5).clip(0, 255).astype(np.uint8))
                tick()


def _embed(config: Config, model: VideoModel, prompts: Sequence[str], device: torch.device) -> Texts:
    """By the pipeline's own text encoder, which no arm changes and which is not held beside the denoiser; one prompt at a time,
    so that none depends on the others."""
    from diffusers import WanPipeline

    with loading(model.folder, "text_encoder"), torch.inference_mode():
        parts = {"transformer": None, "transformer_2": None, "vae": None}
        encoder: Any = WanPipeline.from_pretrained(model.folder, **parts, dtype=_dtype(config), use_safetensors=True).to(device)
        most = min(MAX_TEXT_TOKENS, encoder.tokenizer.model_max_length)
        wanted = dict.fromkeys([*prompts, config.generate.negative])
        return {text: encoder.encode_prompt(text, None, False, max_sequence_length=most)[0].clone() for text in wanted}


def _pipeline(config: Config, arm: Arm, model: VideoModel) -> Any:
    """An arm's pipeline without its text encoder; the VAE computes in float32, as it does everywhere."""
    from diffusers import WanPipeline

    method, result = ("base", model.folder) if arm.name == "base" else trained_folder(config, arm)
    folder = result if method == "full" else model.folder
    dtypes = {"default": _dtype(config), "vae": torch.float32}
    with loading(folder, model.denoiser_part):
        pipeline: Any = WanPipeline.from_pretrained(
            folder, text_encoder=None, tokenizer=None, dtype=dtypes, use_safetensors=True
        )
        if method == "lora":
            second = {"load_into_transformer_2": True} if model.denoiser_part == "transformer_2" else {}
            pipeline.load_lora_weights(result, weight_name=LORA_FILE, **second)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _dtype(config: Config) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, config.model.dtype)
    return dtype
