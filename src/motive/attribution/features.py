"""From prepared clips to their features (METHOD.md 2)."""

import contextlib
import functools
import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from motive.attribution.prepare import Prepared
from motive.config import Config
from motive.errors import ClipError, ConfigError, ModelError
from motive.gradients.batch import project_gradients
from motive.gradients.capture import Gradient, mean_direction, project_gradient
from motive.gradients.loss import clip_losses, shared_noise, temporal_residual
from motive.gradients.offload import offloaded
from motive.gradients.parameters import choose_parameters
from motive.gradients.projection import PROJECTION_VERSION, Exact, Projector, make_projector
from motive.models.base import VideoModel
from motive.seeds import STREAM_VERSION

Attribute = Callable[[Sequence[Prepared]], list[Gradient | ClipError]]
"""Gives each prepared clip's feature, or the reason why it has none."""


HOPELESS = 3
"""Clips that may run out of memory before it is the settings' fault."""

LESS_MEMORY = (
    "try gradients.checkpointing=true or gradients.offload=true, or model.dtype=bfloat16 or smaller frames in another `out`"
)


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
        with offloaded(denoiser) if options.offload else contextlib.nullcontext():
            found = features(clips, together=options.batch > 1)
            if len(clips) > 1 and not compared:
                compared.extend(features(clips[:1], together=False))
                _check_apart(found[0], compared[0])
            return found

    return fitting(attribute, f"{model.device} is out of memory for it; {LESS_MEMORY}")


def fitting(attribute: Attribute, reason: str) -> Attribute:
    """`attribute` for as many clips at a time as the device's memory holds: a batch that is too large is halved, and later ones
    are cut as small. One clip alone that does not fit fails with `reason`.

    Raises ModelError when the first `HOPELESS` clips all fail so: it is the settings then, and no clip's fault.
    """
    room, failures, fits = 0, 0, False

    def halved(clips: Sequence[Prepared]) -> list[Gradient | ClipError]:
        nonlocal room, failures, fits
        if room and len(clips) > room:
            size = room  # it may shrink meanwhile
            return [found for first in range(0, len(clips), size) for found in halved(clips[first : first + size])]
        try:
            found = attribute(clips)
            fits = True
            return found
        except torch.OutOfMemoryError:
            pass  # out of this block, the error and the frames that it holds are gone, and with them their memory
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(clips) > 1:
            room = len(clips) // 2
            return halved(clips)
        failures += 1
        if not fits and failures == HOPELESS:
            raise ModelError(f"none of the first {HOPELESS} clips can be attributed: {reason}")
        return [ClipError(reason)]

    return halved


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
