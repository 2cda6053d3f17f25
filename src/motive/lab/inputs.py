"""A suite's clips as the methods under test see them: prepared by the ordinary path, from video files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motive import verbs
from motive.attribution.prepare import PreparedFolder, clip_tracker, prepared_fingerprint
from motive.config import Config, parse_config
from motive.lab import world
from motive.lab.suite import LabClip
from motive.lab.train import SIZE
from motive.models.registry import load_model
from motive.motion.mask import normalise, to_latent_grid
from motive.progress import Progress
from motive.video.decode import Sampling, decode
from motive.video.sources import Opener

Captions = Literal["looks", "motion"]
"""Captions that name the looks alone, or the motion too."""


@dataclass(frozen=True)
class Inputs:
    """Clips in the order of their plan.

    latents float32 [N, C, f, h, w]; texts: N embeddings [tokens, dim]; masks float32 [N, f, h, w]: "dis" as Motive makes
    them, "paper" without a floor, "true" from the exact displacement. frames uint8 [N, F, H, W, 3]; displacement float32
    [N, F, H, W, 2], DIS's.
    """

    clips: list[LabClip]
    latents: Tensor
    texts: list[Tensor]
    masks: dict[str, Tensor]
    frames: NDArray[np.uint8]
    displacement: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.clips)


def lab_config(out: Path, pool: Path, queries: Path, model: Path, captions: Captions = "looks", **sections: object) -> Config:
    """The configuration of a run on a suite; `sections` replace whole sections of it."""
    column = {"looks": "caption", "motion": "caption_motion"}[captions]
    tree = {
        "out": out,
        "pool": pool,
        "queries": queries,
        "columns": {"caption": column},
        "model": {"path": str(model), "device": "cpu"},
        "video": {"frames": world.FRAMES, "fps": world.FPS, "height": SIZE, "width": SIZE},
    }
    return parse_config(tree | sections, "the lab")


def read_inputs(config: Config, plans: Sequence[list[LabClip]], progress: Progress) -> list[Inputs]:
    """Prepare the pool and the queries of `config`, whose clips are `plans`, and hold them in memory."""
    verbs.prepare(config, progress)
    model = load_model(config.model.path, config.gradients.sigmas, config.model.device, config.model.dtype)
    prepared = PreparedFolder(config.out / "prepared", prepared_fingerprint(config, model))
    return [_read(config, which, plan, prepared, model.latent_stride) for which, plan in zip(verbs.WHICH, plans, strict=True)]


def true_displacement(clip: LabClip) -> NDArray[np.float32]:
    """The exact displacement at the standardised size, px/frame [F, H, W, 2]: the mean of the rendered pixels of each."""
    whole = world.render(clip.seed, clip.spec).displacement
    ratio = whole.shape[1] // SIZE
    return whole.reshape(len(whole), SIZE, ratio, SIZE, ratio, 2).mean(axis=(2, 4)) / ratio


def _read(config: Config, which: str, plan: list[LabClip], prepared: PreparedFolder, stride: tuple[int, int, int]) -> Inputs:
    table = {Path(clip.name).stem: clip for clip in verbs.read_clips(config, which)}
    video, tracker = config.video, clip_tracker(config, torch.device(config.model.device))
    sampling = Sampling(video.frames, video.fps, video.height, video.width)
    opener = Opener()
    latents, texts, pictures, displacements = [], [], [], []
    masks: dict[str, list[Tensor]] = {"dis": [], "paper": [], "true": []}
    for planned in plan:
        clip = table[planned.name]
        ready = prepared.load(clip)
        with opener.local_copy(clip.source, clip.sha256) as path:
            frames = decode(path, sampling).frames
        displacement = tracker(frames)
        latents.append(ready.latents)
        texts.append(ready.text)
        pictures.append(frames)
        displacements.append(displacement)
        masks["dis"].append(ready.mask)
        masks["paper"].append(_plain_mask(displacement, stride))
        masks["true"].append(_plain_mask(true_displacement(planned)[: len(frames)], stride))
    stacked = {name: torch.stack(parts) for name, parts in masks.items()}
    return Inputs(plan, torch.stack(latents), texts, stacked, np.stack(pictures), np.stack(displacements))


def _plain_mask(displacement: NDArray[np.float32], stride: tuple[int, int, int]) -> Tensor:
    """The paper's mask, without a floor; ones where the field is even, as it exactly is when nothing moves or a camera pans."""
    magnitude = np.linalg.norm(displacement, axis=-1)
    even = float(magnitude.max() - magnitude.min()) < 1e-3
    return torch.from_numpy(to_latent_grid(np.ones_like(magnitude) if even else normalise(magnitude), stride))
