"""The main loop: prepared clips in, rows of the feature store out (METHOD.md 2)."""

import contextlib
import functools
import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from motive.attribution.prepare import Inputs, Prepared
from motive.attribution.store import Row, Shard, Store
from motive.config import Config
from motive.errors import ClipError, ConfigError, LeftOutError, ModelError
from motive.gradients.batch import project_gradients
from motive.gradients.capture import Gradient, mean_direction, project_gradient
from motive.gradients.loss import clip_losses, shared_noise, temporal_residual
from motive.gradients.offload import offloaded
from motive.gradients.parameters import choose_parameters
from motive.gradients.projection import PROJECTION_VERSION, Exact, Projector, make_projector
from motive.models.base import VideoModel
from motive.progress import Progress, duration
from motive.seeds import STREAM_VERSION
from motive.video.table import Clip

Attribute = Callable[[Sequence[Prepared]], list[Gradient | ClipError]]
"""Gives each prepared clip's feature, or the reason why it has none."""


def feature_fingerprint(config: Config, model: VideoModel, prepared: dict[str, object]) -> dict[str, object]:
    """Everything that a feature depends on, `prepared` (how clips are prepared) included."""
    gradients = config.gradients.model_dump(mode="json", exclude={"batch", "checkpointing", "offload", "dim"})
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
    """A function from prepared clips of "pool" or "queries" to their features; the denoiser is loaded at its first call.

    Clips given together share their passes through the model if `gradients.batch` is more than one.
    """
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

    def features(clips: Sequence[Prepared], together: bool) -> list[Gradient | ClipError]:
        denoiser, projector, noises = ready()
        latents, texts = [clip.latents for clip in clips], [clip.text for clip in clips]
        masks = [clip.mask if masked else torch.ones_like(clip.mask) for clip in clips]
        losses = [
            functools.partial(clip_losses, model, latents, texts, masks, noise, sigma, residual)
            for noise, sigma in zip(noises, itertools.cycle(options.sigmas), strict=False)
        ]

        def project(some: Sequence[Callable[[], Tensor]]) -> list[Gradient | ClipError]:
            if together:
                return project_gradients(denoiser, projector, some, len(clips))
            alone = [functools.partial(_first, loss) for loss in some]
            return [_or_error(lambda: project_gradient(denoiser, projector, alone))]

        if options.average == "gradients":
            return project(losses)
        return [_mean(each) for each in zip(*(project([loss]) for loss in losses), strict=True)]

    compared: list[Gradient | ClipError] = []

    def attribute(clips: Sequence[Prepared]) -> list[Gradient | ClipError]:
        denoiser, *_ = ready()
        try:
            with offloaded(denoiser) if options.offload else contextlib.nullcontext():
                found = features(clips, together=options.batch > 1)
                if len(clips) > 1 and not compared:
                    compared.extend(features(clips[:1], together=False))
                    _check_apart(found[0], compared[0])
                return found
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"{model.device} is out of memory; try gradients.checkpointing=true or a smaller gradients.batch, "
                "or model.dtype=bfloat16 or smaller frames in another `out`"
            ) from error

    return attribute


def _check_apart(together: Gradient | ClipError, alone: Gradient | ClipError) -> None:
    """Raise ConfigError unless a clip's feature from a batch is the one it has alone: a model whose clips meet somewhere, or
    whose first axis is not the clips', would give wrong ones without a sign."""
    if isinstance(together, Gradient) and isinstance(alone, Gradient) and together.feature @ alone.feature > 0.998:
        return
    if isinstance(together, ClipError) and isinstance(alone, ClipError):
        return
    raise ConfigError("a clip's gradient in a batch is not the one it has alone, with this model; set gradients.batch=1")


def _first(losses: Callable[[], Tensor]) -> Tensor:
    return losses()[0]


def _mean(draws: Sequence[Gradient | ClipError]) -> Gradient | ClipError:
    """The mean direction of one clip's draws, or the first draw's error."""
    whole = [draw for draw in draws if isinstance(draw, Gradient)]
    errors = [draw for draw in draws if isinstance(draw, ClipError)]
    return errors[0] if errors else _or_error(lambda: mean_direction(whole))


def _or_error(make: Callable[[], Gradient]) -> Gradient | ClipError:
    try:
        return make()
    except ClipError as error:
        return error


def _denoiser(config: Config, model: VideoModel) -> nn.Module:
    choose_parameters(model.denoiser, config.gradients.parameters)
    return model.denoiser


def _sizes(denoiser: nn.Module) -> dict[str, int]:
    named = denoiser.named_parameters()
    return {name: parameter.numel() for name, parameter in named if parameter.requires_grad}


def fill_store(
    store: Store,
    shards: Sequence[Shard],
    clips: Iterable[Clip],
    inputs: Inputs,
    attribute: Attribute,
    batch: int,
    progress: Progress,
) -> None:
    """Make the planned `shards` of `clips`, `batch` clips at a time. A clip that has no feature gets a row with the reason.

    Batches are cut from a shard's plan alone, and made whole even if some of their rows are there: so an interrupted run
    ends with the same bytes.
    """
    by_id = {clip.id: clip for clip in clips}
    plan = [(shard, _batches([by_id[name] for name in shard.ids], batch)) for shard in shards]
    waiting = {clip.id for clip in store.without_row([clip for _, batches in plan for some in batches for clip in some])}
    plan = [(shard, [some for some in batches if any(clip.id in waiting for clip in some)]) for shard, batches in plan]
    wanted = [clip for _, batches in plan for some in batches for clip in some]
    ready = inputs(wanted)
    todo = len(wanted)
    attributed = 0
    with progress.steps(f"attributing {store.folder.name}", todo) as step:
        for shard, batches in plan:
            for some in batches:
                begin = time.monotonic()
                rows = _attributed(list(itertools.islice(ready, len(some))), attribute)
                for clip, (row, feature) in zip(some, rows, strict=True):
                    store.add_row(clip, row, feature)
                    step()
                if any(feature is not None for _, feature in rows):
                    attributed += 1
                    if attributed == 2:  # the first one also loads the model
                        each = (time.monotonic() - begin) / len(some)
                        progress.say(f"attributing {todo} clips takes about {duration(each * todo)}, {duration(each)} each")
            store.finish(shard)


def _batches(clips: Sequence[Clip], size: int) -> list[Sequence[Clip]]:
    return [clips[first : first + size] for first in range(0, len(clips), size)]


def _attributed(given: Sequence[Prepared | ClipError], attribute: Attribute) -> list[tuple[Row, NDArray[np.float32] | None]]:
    """Each clip's row and feature."""
    usable = [prepared for prepared in given if isinstance(prepared, Prepared)]
    found = iter(attribute(usable) if usable else [])
    return [_row(prepared, next(found) if isinstance(prepared, Prepared) else prepared) for prepared in given]


def _row(prepared: Prepared | ClipError, found: Gradient | ClipError) -> tuple[Row, NDArray[np.float32] | None]:
    facts: Row = asdict(prepared.facts) if isinstance(prepared, Prepared) else {}
    if isinstance(found, ClipError):
        status = "left-out" if isinstance(found, LeftOutError) else "failed"
        return facts | {"status": status, "reason": str(found)}, None
    measured = {"loss": found.loss, "gradient_norm": found.norm, "projected_norm": found.projected_norm}
    return facts | measured | {"status": "ok", "reason": None}, found.feature.numpy()
