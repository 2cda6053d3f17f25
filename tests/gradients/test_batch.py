from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from motive.errors import ClipError, ConfigError
from motive.gradients.batch import project_gradients
from motive.gradients.capture import Gradient, project_gradient
from motive.gradients.loss import clip_loss, clip_losses, shared_noise, temporal_residual
from motive.gradients.parameters import choose_parameters
from motive.gradients.projection import Exact, Fastfood, Projector
from tests.reference import method

CPU = torch.device("cpu")
CLIPS = 3


def exact(model: nn.Module) -> Exact:
    return Exact({name: p.numel() for name, p in model.named_parameters() if p.requires_grad})


@pytest.fixture
def clips(model):
    """Latents, texts and masks of CLIPS clips, and the noise."""
    torch.manual_seed(2)
    shape = model.latent_shape(9, 48, 64)
    texts = model.encode_text(["a red disc falls", "", "two squares swing and swing"])
    latents, masks = [torch.randn(shape) for _ in texts], [torch.rand(shape[1:]) for _ in texts]
    return latents, texts, masks, shared_noise(0, shape)


def together(model, clips, projector: Projector, sigmas=(0.75,), residual=None) -> list[Gradient]:
    latents, texts, masks, noise = clips
    losses = [partial(clip_losses, model, latents, texts, masks, noise, sigma, residual) for sigma in sigmas]
    found = project_gradients(model.denoiser, projector, losses, len(latents))
    assert all(isinstance(gradient, Gradient) for gradient in found)
    return found


def alone(model, clips, projector: Projector, sigmas=(0.75,), residual=None) -> list[Gradient]:
    *parts, noise = clips
    return [
        project_gradient(model.denoiser, projector, [partial(clip_loss, model, *clip, noise, s, residual) for s in sigmas])
        for clip in zip(*parts, strict=True)
    ]


def same(one: list[Gradient], other: list[Gradient], tolerance: float = 1e-5) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert float(abs(a.feature - b.feature).max() / abs(b.feature).max()) < tolerance
        assert (a.norm, a.projected_norm, a.loss) == pytest.approx((b.norm, b.projected_norm, b.loss), rel=tolerance)


def test_a_clip_in_a_batch_has_its_reference_gradient(model, clips) -> None:
    latents, texts, masks, noise = clips
    for n, found in enumerate(together(model, clips, exact(model.denoiser))):
        true = method.gradient(model.denoiser, latents[n], texts[n], masks[n], noise, [0.75])
        assert found.norm == pytest.approx(np.linalg.norm(true), rel=1e-5)
        assert abs(found.feature.numpy() - true / np.linalg.norm(true)).max() < 1e-5


@pytest.mark.parametrize("patterns", [["*"], ["*.attn1.*"], ["*.norm_q.*", "patch_embedding.bias"], ["scale_shift_table"]])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_batch_gives_what_its_clips_give_alone(model, clips, patterns, checkpointing) -> None:
    choose_parameters(model.denoiser, patterns)
    if checkpointing:
        model.denoiser.enable_gradient_checkpointing()
    projector = exact(model.denoiser)
    same(together(model, clips, projector), alone(model, clips, projector))


def test_draws_and_the_temporal_residual_are_the_same_in_a_batch(model, clips) -> None:
    projector = Fastfood(256, 0, CPU)
    how = ((0.3, 0.6, 0.9), temporal_residual)
    same(together(model, clips, projector, *how), alone(model, clips, projector, *how))


def test_a_bfloat16_model_gives_the_same_in_a_batch_to_its_own_rounding(model, clips) -> None:
    model.denoiser.to(torch.bfloat16)
    projector = exact(model.denoiser)
    for a, b in zip(together(model, clips, projector), alone(model, clips, projector), strict=True):
        assert a.feature @ b.feature > 0.999
        assert a.feature.dtype == torch.float32


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")
def test_autocast_gives_the_same_in_a_batch_to_its_own_rounding(model, clips) -> None:
    projector = exact(model.denoiser)
    with torch.autocast("cpu", torch.bfloat16):
        batch, single = together(model, clips, projector), alone(model, clips, projector)
    whole = alone(model, clips, projector)
    for a, b, c in zip(batch, single, whole, strict=True):
        assert a.feature @ b.feature > 0.999
        assert 0.95 < a.feature @ c.feature < 1


def test_weights_too_large_to_be_held_for_all_clips_are_folded_in_parts() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(700, 600)
    x = torch.randn(5, 4, 700)
    found = project_gradients(layer, exact(layer), [lambda: layer(x).square().flatten(1).mean(dim=1)], 5)
    single = [project_gradient(layer, exact(layer), [lambda n=n: layer(x[n]).square().mean()]) for n in range(5)]
    assert layer.weight.numel() > (1 << 20) // 5
    same(found, single)


class Mixed(nn.Module):
    """Modules of other kinds: tokens, convolutions, a norm over groups, one input row a clip and token."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.mix = nn.Embedding(11, 8), nn.Conv1d(8, 8, 3, padding=1)
        self.norm, self.out = nn.GroupNorm(2, 8), nn.Linear(8, 3)
        self.place = nn.Parameter(torch.randn(1, 8, 6))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.mix(self.words(tokens).mT) + self.place)
        return self.out(x.mT.flatten(0, 1)).view(len(tokens), -1)


def test_modules_of_any_kind_are_told_apart() -> None:
    torch.manual_seed(0)
    net, tokens = Mixed(), torch.randint(0, 11, (4, 6))
    found = project_gradients(net, exact(net), [lambda: net(tokens).square().mean(dim=1)], 4)
    single = [project_gradient(net, exact(net), [lambda n=n: net(tokens[n : n + 1]).square().mean()]) for n in range(4)]
    same(found, single)


def test_one_broken_clip_costs_the_others_nothing(model, clips) -> None:
    latents, texts, masks, noise = clips
    projector = exact(model.denoiser)
    whole = alone(model, clips, projector)
    latents[1] = latents[1] * float("nan")
    masks[2] = torch.zeros_like(masks[2])
    loss = partial(clip_losses, model, latents, texts, masks, noise, 0.75)
    first, second, third = project_gradients(model.denoiser, projector, [loss], CLIPS)
    assert isinstance(second, ClipError)
    assert "not finite" in str(second)
    assert isinstance(third, ClipError)
    assert "zero" in str(third)
    same([first], whole[:1])


def test_the_denoiser_is_left_as_it_was(model, clips) -> None:
    denoiser = model.denoiser
    before = dict(denoiser.named_parameters())
    together(model, clips, Fastfood(8, 0, CPU))
    assert {name: id(p) for name, p in denoiser.named_parameters()} == {name: id(p) for name, p in before.items()}
    assert all(p.grad is None for p in before.values())
    assert not any("forward" in vars(module) for module in denoiser.modules())
    same(alone(model, clips, exact(denoiser)), together(model, clips, exact(denoiser)))


def test_a_parameter_that_cannot_be_told_apart_is_refused() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.scale = nn.Linear(4, 4), nn.Parameter(torch.ones(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x) * self.scale

    net = Scaled()
    with pytest.raises(ConfigError, match=r"scale.*gradients.batch=1"):
        project_gradients(net, exact(net), [lambda: net(torch.randn(2, 4)).sum(dim=1)], 2)


def test_a_parameter_used_twice_is_refused_since_its_norm_would_be_unknown() -> None:
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    tied = nn.Sequential(first, nn.Tanh(), second)
    with pytest.raises(ConfigError, match=r"0\.weight.*more than once"):
        project_gradients(tied, exact(tied), [lambda: tied(torch.randn(2, 4)).sum(dim=1)], 2)
