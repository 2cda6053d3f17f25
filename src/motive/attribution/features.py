"""The main loop: prepared clips in, rows of the feature store out (METHOD.md 2)."""

import functools
import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict

import torch
from torch import Tensor, nn

from motive.attribution.prepare import Prepare, Prepared
from motive.attribution.store import Row, Shard, Store
from motive.config import Config
from motive.errors import ClipError, LeftOutError, ModelError
from motive.gradients.capture import Gradient, choose_parameters, mean_direction, project_gradient
from motive.gradients.loss import clip_loss, shared_noise, temporal_residual
from motive.gradients.projection import PROJECTION_VERSION, Exact, Projector, make_projector
from motive.models.base import VideoModel
from motive.progress import Progress, duration
from motive.seeds import STREAM_VERSION
from motive.video.table import Clip

Attribute = Callable[[Prepared], Gradient]
"""Gives a prepared clip's feature, or raises ClipError."""


def feature_fingerprint(config: Config, model: VideoModel, prepared: dict[str, object]) -> dict[str, object]:
    """Everything that a feature depends on, `prepared` (how clips are prepared) included."""
    gradients = config.gradients.model_dump(mode="json", exclude={"checkpointing", "dim"})
    return {
        "prepared": prepared,
        "model": model.fingerprint("denoiser") | {"trained": model.trained},
        "gradients": gradients | {"projection_version": PROJECTION_VERSION},
        "seed": config.seed,
        "stream_version": STREAM_VERSION,
    }


def feature_dim(config: Config, model: VideoModel) -> int:
    """Numbers a feature has; loads the denoiser only if features are whole gradients. Raises ConfigError if these are too
    large to be kept."""
    return Exact(_sizes(_denoiser(config, model))).dim if config.gradients.projector == "exact" else config.gradients.dim


def clip_attributor(config: Config, model: VideoModel, which: str) -> Attribute:
    """A function from a prepared clip of "pool" or "queries" to its feature; the denoiser is loaded at its first call."""
    options, video = config.gradients, config.video
    draws = len(options.sigmas) if options.draws is None else options.draws
    masked = options.weighting == "motion" or (options.weighting == "queries" and which == "queries")
    residual = temporal_residual if options.error == "temporal" else None

    @functools.cache
    def ready() -> tuple[nn.Module, Projector, list[Tensor]]:
        denoiser = _denoiser(config, model)
        if options.checkpointing:
            denoiser.enable_gradient_checkpointing()  # type: ignore[operator]
        projector = make_projector(options.projector, options.dim, config.seed, _sizes(denoiser), model.device)
        shape = model.latent_shape(video.frames, video.height, video.width)
        return denoiser, projector, [shared_noise(config.seed, shape, draw) for draw in range(draws)]

    def attribute(prepared: Prepared) -> Gradient:
        denoiser, projector, noises = ready()
        mask = prepared.mask if masked else torch.ones_like(prepared.mask)
        losses = [
            functools.partial(clip_loss, model, prepared.latents, prepared.text, mask, noise, sigma, residual)
            for noise, sigma in zip(noises, itertools.cycle(options.sigmas), strict=False)
        ]
        try:
            if options.average == "directions":
                return mean_direction([project_gradient(denoiser, projector, [loss]) for loss in losses])
            return project_gradient(denoiser, projector, losses)
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"{model.device} is out of memory; try gradients.checkpointing=true, or model.dtype=bfloat16 or smaller "
                "frames in another `out`"
            ) from error

    return attribute


def _denoiser(config: Config, model: VideoModel) -> nn.Module:
    choose_parameters(model.denoiser, config.gradients.parameters)
    return model.denoiser


def _sizes(denoiser: nn.Module) -> dict[str, int]:
    named = denoiser.named_parameters()
    return {name: parameter.numel() for name, parameter in named if parameter.requires_grad}


def fill_store(
    store: Store, shards: Sequence[Shard], clips: Iterable[Clip], inputs: Prepare, attribute: Attribute, progress: Progress
) -> None:
    """Make the planned `shards` of `clips`. A clip that raises ClipError gets a row with the reason."""
    by_id = {clip.id: clip for clip in clips}
    todo = {clip.id for shard in shards for clip in map(by_id.__getitem__, shard.ids) if not store.has_row(clip)}
    timed = 0
    with progress.steps(f"attributing {store.folder.name}", len(todo)) as step:
        for shard in shards:
            for clip in (by_id[name] for name in shard.ids if name in todo):
                begin = time.monotonic()
                row, gradient = _attributed(clip, inputs, attribute)
                store.add_row(clip, row, None if gradient is None else gradient.feature.numpy())
                step()
                timed += gradient is not None
                if timed == 2 and gradient is not None:  # the first one also loads the model
                    each = time.monotonic() - begin
                    whole = duration(each * len(todo))
                    progress.say(f"attributing {len(todo)} clips takes about {whole}, {duration(each)} each")
            store.finish(shard)


def _attributed(clip: Clip, inputs: Prepare, attribute: Attribute) -> tuple[Row, Gradient | None]:
    facts: Row = {}
    try:
        prepared = inputs(clip)
        facts = asdict(prepared.facts)
        gradient = attribute(prepared)
    except ClipError as error:
        status = "left-out" if isinstance(error, LeftOutError) else "failed"
        return facts | {"status": status, "reason": str(error)}, None
    measured = {"loss": gradient.loss, "gradient_norm": gradient.norm, "projected_norm": gradient.projected_norm}
    return facts | measured | {"status": "ok", "reason": None}, gradient
