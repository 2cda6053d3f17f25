"""Contact sheets of what a model generates from captions that name a motion."""

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from motive.files import write_atomic
from motive.lab import world
from motive.lab.motions import PHRASES
from motive.lab.train import SIZE
from motive.progress import Progress

GUIDANCE = 3.0
STEPS = 30


def generate(model: Path, captions: list[str], seed: int = 0) -> NDArray[np.uint8]:
    """uint8 [B, F, H, W, 3]: one clip a caption, through diffusers' WanPipeline."""
    from diffusers import WanPipeline

    pipeline = WanPipeline.from_pretrained(model, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    videos = pipeline(
        captions,
        negative_prompt=[""] * len(captions),
        num_frames=world.FRAMES,
        height=SIZE,
        width=SIZE,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        max_sequence_length=pipeline.tokenizer.model_max_length,
        generator=[torch.Generator().manual_seed(seed + n) for n in range(len(captions))],
        output_type="np",
    ).frames
    return np.asarray((videos * 255 + 0.5).clip(0, 255).astype(np.uint8))


def write_samples(model: Path, sheet: Path, progress: Progress, scale: int = 2) -> None:
    """A picture of the format that `sheet` is named for: for each motion its caption, a generated clip and, below it, a
    rendered one with the same caption; every other frame from left to right."""
    looks = world.Looks("disc", "orange", "spotted", "large", "navy", "bright")
    variants = ("square", "triangle", "cross", "disc")
    specs = [
        world.Spec(motion, world.Looks(variants[n % 4], *list(vars(looks).values())[1:])) for n, motion in enumerate(PHRASES)
    ]
    captions = [world.caption(spec, True) for spec in specs]
    progress.say(f"generating {len(captions)} clips")
    rows = []
    for caption, spec, clip in zip(captions, specs, generate(model, captions), strict=True):
        real = world.render(0, spec, SIZE).frames
        title = np.full((18, scale * SIZE * len(clip[::2]), 3), 255, np.uint8)
        cv2.putText(
            title,
            f"{caption}  (above: generated, below: rendered)",
            (4, 13),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.42,
            (0, 0, 0),
            1,
            cv2.LINE_AA,
        )
        rows += [
            title,
            *(np.repeat(np.repeat(np.concatenate(list(part[::2]), axis=1), scale, 0), scale, 1) for part in (clip, real)),
        ]
    ok, png = cv2.imencode(sheet.suffix or ".png", np.concatenate(rows)[..., ::-1])
    if not ok:
        raise OSError(f"{sheet}: the picture could not be encoded")
    write_atomic(sheet, png.tobytes())
