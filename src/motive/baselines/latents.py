"""Clips that look like the queries to the model's own VAE: its latents, pooled."""

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from motive.attribution.prepare import PreparedFolder, prepared_fingerprint
from motive.baselines.choice import Choice, Run, by_vote
from motive.baselines.likeness import Vectors, cosines
from motive.config import stage_config
from motive.errors import ClipError, StoreError
from motive.models.registry import load_model
from motive.video.table import Clip

GRID = 8
"""Places across and down that pooled latents have at most."""


def latents(run: Run) -> Choice:
    """The vote on cosines of latents that are averaged over time and to 8 x 8 places; it needs the prepared clips alone."""
    return by_vote(run, cosines(*pooled_latents(run, run.pool(), run.queries())))


def pooled_latents(run: Run, *several: list[Clip]) -> list[Vectors]:
    """float32 [clips, C * places] for each list of clips. Raises StoreError for a clip whose prepared inputs are not kept."""
    folder = _prepared(run)
    found = []
    with run.progress.steps("reading latents", sum(map(len, several))) as step:
        for clips in several:
            rows = []
            for clip in clips:
                rows.append(_pooled(folder, clip))
                step()
            found.append(np.stack(rows))
    return found


def _pooled(folder: PreparedFolder, clip: Clip) -> Vectors:
    try:
        mean = folder.load(clip).latents.float().mean(dim=1)
    except ClipError as error:
        raise StoreError(
            f"{clip.name or clip.id}: has no latents in {folder.folder} ({error}); run `motive prepare` with store.cache=true"
        ) from None
    grid = min(GRID, mean.shape[1]), min(GRID, mean.shape[2])
    with torch.inference_mode():
        return np.asarray(adaptive_avg_pool2d(mean[None], grid)[0].flatten().numpy(), np.float32)


def _prepared(run: Run) -> PreparedFolder:
    """Where the whole pool is prepared: of a cascade, as its first stage has it."""
    config = run.config
    first = stage_config(config, 1) if config.cascade else config
    place = config if (first.video, first.motion) == (config.video, config.motion) else first
    source = config.model
    model = load_model(source.path, config.gradients.sigmas, source.device, source.dtype, source.revision)
    return PreparedFolder(place.out / "prepared", prepared_fingerprint(first, model))
