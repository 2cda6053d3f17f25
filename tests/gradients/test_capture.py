import numpy as np
import pytest
import torch
from torch import nn

from motive.errors import ClipError
from motive.gradients.capture import Gradient, mean_direction, project_gradient, squared_norm
from motive.gradients.loss import clip_loss, motion_loss, shared_noise, temporal_residual
from motive.gradients.offload import offloaded
from motive.gradients.projection import Exact, Fastfood
from tests.reference import method

CPU = torch.device("cpu")


def exact(model: nn.Module) -> Exact:
    return Exact({name: parameter.numel() for name, parameter in model.named_parameters()})


@pytest.fixture
def inputs(model):
    torch.manual_seed(2)
    shape = model.latent_shape(9, 48, 64)
    return torch.randn(shape), model.encode_text(["a red disc falls"])[0], torch.rand(shape[1:]), shared_noise(0, shape)


@pytest.fixture
def captured(model, inputs):
    """A projector, a loss, and its plain capture."""
    latents, text, mask, noise = inputs
    projector, loss = exact(model.denoiser), [lambda: clip_loss(model, latents, text, mask, noise, 0.75)]
    return projector, loss, project_gradient(model.denoiser, projector, loss)


@pytest.mark.parametrize("sigmas", [[0.75075], [0.3, 0.6, 0.9]])
def test_the_streamed_gradient_is_the_reference_gradient(model, inputs, sigmas) -> None:
    latents, text, mask, noise = inputs
    losses = [lambda s=s: clip_loss(model, latents, text, mask, noise, s) for s in sigmas]
    streamed = project_gradient(model.denoiser, exact(model.denoiser), losses)
    true = method.gradient(model.denoiser, latents, text, mask, noise, sigmas)
    assert streamed.projected_norm == pytest.approx(np.linalg.norm(true), rel=1e-5)
    assert streamed.feature.double().numpy() @ true / np.linalg.norm(true) == pytest.approx(1, abs=1e-6)
    assert abs(streamed.feature.numpy() - true / np.linalg.norm(true)).max() < 1e-5
    if len(sigmas) == 1:
        assert streamed.norm == pytest.approx(np.linalg.norm(true), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_norm_of_a_large_gradient_is_exact(dtype) -> None:
    torch.manual_seed(2)
    gradient = torch.randn(3000, 4000).to(dtype)
    assert squared_norm(gradient).dtype == torch.float64
    assert float(squared_norm(gradient)) == pytest.approx(float(gradient.double().square().sum()), rel=1e-6)


def test_a_mask_of_ones_gives_the_plain_gradient(model, inputs) -> None:
    latents, text, mask, noise = inputs
    masked = project_gradient(
        model.denoiser, exact(model.denoiser), [lambda: clip_loss(model, latents, text, torch.ones_like(mask), noise, 0.75)]
    )
    denoiser = model.denoiser
    model.error(latents[None], [text], noise[None], 0.75).square().mean().backward()
    plain = torch.cat([p.grad.flatten() for _, p in sorted(denoiser.named_parameters())])
    assert torch.allclose(masked.feature, plain / plain.norm(), atol=1e-7)


def test_a_factor_on_the_loss_changes_nothing_but_the_norm(model, inputs) -> None:
    latents, text, mask, noise = inputs
    projector = Fastfood(64, 0, CPU)

    def scaled(factor: float):
        return project_gradient(
            model.denoiser, projector, [lambda: factor * clip_loss(model, latents, text, mask, noise, 0.75)]
        )

    one, other = scaled(1.0), scaled(1 / 81)
    assert torch.allclose(one.feature, other.feature, atol=1e-6)
    assert other.norm == pytest.approx(one.norm / 81, rel=1e-5)


def test_the_loss_is_a_mean_over_every_latent_element() -> None:
    error, mask = torch.rand(2, 3, 4, 5, 6), torch.rand(2, 4, 5, 6)
    expected = [np.mean([(mask[b] * error[b, c] ** 2).numpy() for c in range(3)]) for b in range(2)]
    assert motion_loss(error, mask).tolist() == pytest.approx(expected, rel=1e-5)


def test_checkpointing_gives_the_same_gradient(model, captured) -> None:
    projector, loss, plain = captured
    model.denoiser.enable_gradient_checkpointing()
    recomputed = project_gradient(model.denoiser, projector, loss)
    assert torch.equal(plain.feature, recomputed.feature)
    assert plain.norm == recomputed.norm


@pytest.mark.parametrize("checkpointing", [False, True])
def test_offloading_gives_the_same_gradient(model, captured, checkpointing) -> None:
    projector, loss, plain = captured
    if checkpointing:
        model.denoiser.enable_gradient_checkpointing()
    with offloaded(model.denoiser):
        moved = project_gradient(model.denoiser, projector, loss)
    assert torch.equal(plain.feature, moved.feature)


def test_offloading_moves_activations_and_leaves_weights_where_they_are() -> None:
    layer = nn.Linear(3, 3)
    with offloaded(layer):
        inner = layer(torch.randn(2, 3, requires_grad=True))
        outer = inner.sin()
    weight, activation = inner.grad_fn._saved_mat2, outer.grad_fn._saved_self
    assert weight.untyped_storage().data_ptr() == layer.weight.untyped_storage().data_ptr()
    assert activation.untyped_storage().data_ptr() != inner.untyped_storage().data_ptr()
    assert torch.equal(activation, inner)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_compiled_denoiser_gives_the_same_gradient(model, captured, checkpointing) -> None:
    projector, loss, plain = captured
    if checkpointing:
        model.denoiser.enable_gradient_checkpointing()
    # Traced as for any compiler, but run by torch itself: what capture meets is the compiled graph's backward pass.
    model.denoiser.compile_repeated_blocks(backend="aot_eager")
    compiled = project_gradient(model.denoiser, projector, loss)
    assert abs(plain.feature - compiled.feature).max() < 1e-6
    assert compiled.norm == pytest.approx(plain.norm, rel=1e-5)


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")
def test_autocast_moves_the_gradient_by_its_own_rounding_only(model, captured) -> None:
    projector, loss, plain = captured
    with torch.autocast("cpu", torch.bfloat16):
        cast = project_gradient(model.denoiser, projector, loss)
        loss[0]().backward()
    gradient = torch.cat([p.grad.flatten() for _, p in sorted(model.denoiser.named_parameters())])
    assert torch.allclose(cast.feature, gradient / gradient.norm(), atol=1e-6)
    assert 0.95 < plain.feature @ cast.feature < 1


def test_a_tied_parameter_counts_once_with_both_its_uses() -> None:
    torch.manual_seed(0)
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    tied = nn.Sequential(first, nn.Tanh(), second)
    x = torch.randn(3, 4)
    streamed = project_gradient(tied, exact(tied), [lambda: tied(x).square().sum()])
    tied(x).square().sum().backward()
    assert torch.allclose(streamed.feature * streamed.projected_norm, first.weight.grad.flatten(), rtol=1e-5)


def test_no_gradient_is_left_behind_and_hooks_are_gone(model, inputs) -> None:
    latents, text, mask, noise = inputs
    project_gradient(model.denoiser, Fastfood(8, 0, CPU), [lambda: clip_loss(model, latents, text, mask, noise, 0.75)])
    assert all(parameter.grad is None for parameter in model.denoiser.parameters())
    clip_loss(model, latents, text, mask, noise, 0.75).backward()
    assert all(parameter.grad is not None for parameter in model.denoiser.parameters())


def test_a_leftover_gradient_does_not_leak_into_a_feature(model, inputs) -> None:
    latents, text, mask, noise = inputs
    loss = [lambda: clip_loss(model, latents, text, mask, noise, 0.75)]
    projector = Fastfood(8, 0, CPU)
    clean = project_gradient(model.denoiser, projector, loss)
    clip_loss(model, latents, text, mask, noise, 0.3).backward()
    assert torch.equal(project_gradient(model.denoiser, projector, loss).feature, clean.feature)


def test_a_gradient_without_direction_is_an_error_not_a_zero() -> None:
    layer = nn.Linear(2, 1)
    with pytest.raises(ClipError, match="zero"):
        project_gradient(layer, exact(layer), [lambda: (0 * layer(torch.ones(2))).sum()])
    with pytest.raises(ClipError, match="not finite"):
        project_gradient(layer, exact(layer), [lambda: (layer(torch.ones(2)) * float("nan")).sum()])
    with pytest.raises(ClipError, match="not finite"):
        project_gradient(layer, exact(layer), [lambda: layer(torch.ones(2)).sum() * 1e38 * 10])


def test_the_noise_is_one_draw_that_depends_on_the_seed_alone() -> None:
    assert torch.equal(shared_noise(3, (2, 3, 4, 5)), shared_noise(3, (2, 3, 4, 5)))
    assert not torch.equal(shared_noise(3, (2, 3, 4, 5)), shared_noise(4, (2, 3, 4, 5)))
    noise = shared_noise(0, (16, 21, 30, 52))
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 1) < 0.01


def test_draws_of_the_noise_are_independent_and_the_first_is_the_one_draw() -> None:
    shape = (16, 5, 30, 52)
    draws = [shared_noise(3, shape, draw) for draw in range(4)]
    assert torch.equal(draws[0], shared_noise(3, shape))
    assert torch.equal(draws[2], shared_noise(3, shape, 2))
    for n, one in enumerate(draws):
        assert abs(one.std() - 1) < 0.01
        for other in draws[:n]:
            assert abs((one * other).mean()) < 5 / one.numel() ** 0.5


def test_an_error_that_stays_the_same_in_time_leaves_no_temporal_residual() -> None:
    torch.manual_seed(0)
    error = torch.randn(2, 3, 1, 5, 6).expand(-1, -1, 4, -1, -1)
    assert temporal_residual(error).abs().max() < 1e-6
    assert temporal_residual(error).shape == error.shape


def test_a_temporal_residual_sums_to_zero_over_time_at_every_place() -> None:
    torch.manual_seed(0)
    residual = temporal_residual(torch.randn(2, 3, 4, 5, 6) + 10)
    assert residual.sum(dim=2).abs().max() < 1e-4
    assert residual.abs().mean() > 0.5


def test_an_error_of_mean_zero_in_time_is_its_own_temporal_residual() -> None:
    torch.manual_seed(0)
    error = torch.randn(2, 3, 4, 5, 6)
    error[:, :, 3] = -error[:, :, :3].sum(dim=2)
    assert torch.allclose(temporal_residual(error), error, atol=1e-6)
    constant = torch.randn(2, 3, 1, 5, 6)
    assert torch.allclose(temporal_residual(error + constant), error, atol=1e-5)


@pytest.mark.parametrize("sigmas", [[0.75075], [0.3, 0.6, 0.9]])
def test_the_temporal_gradient_is_the_reference_gradient(model, inputs, sigmas) -> None:
    latents, text, mask, noise = inputs
    losses = [lambda s=s: clip_loss(model, latents, text, mask, noise, s, temporal_residual) for s in sigmas]
    streamed = project_gradient(model.denoiser, exact(model.denoiser), losses)
    true = method.gradient(model.denoiser, latents, text, mask, noise, sigmas, temporal=True)
    assert streamed.projected_norm == pytest.approx(np.linalg.norm(true), rel=1e-5)
    assert abs(streamed.feature.numpy() - true / np.linalg.norm(true)).max() < 1e-5
    whole = method.gradient(model.denoiser, latents, text, mask, noise, sigmas)
    assert whole @ true / np.linalg.norm(whole) / np.linalg.norm(true) < 0.999


def test_the_temporal_error_of_a_single_frame_has_no_gradient(model) -> None:
    shape = model.latent_shape(1, 48, 64)
    text, noise = model.encode_text(["a disc"])[0], shared_noise(0, shape)
    with pytest.raises(ClipError, match="zero"):
        project_gradient(
            model.denoiser,
            exact(model.denoiser),
            [lambda: clip_loss(model, torch.ones(shape), text, torch.ones(shape[1:]), noise, 0.75, temporal_residual)],
        )


def gradient_of(feature: list[float], norm: float = 1.0, loss: float = 0.0) -> Gradient:
    direction = torch.tensor(feature)
    return Gradient(direction / direction.norm(), norm, 2 * norm, loss)


def test_a_mean_direction_is_that_of_the_features_whatever_their_norms() -> None:
    features = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.6, 0.0, 0.8]]
    mean = mean_direction([gradient_of(f, norm, loss) for f, norm, loss in zip(features, (1, 2, 400), (1, 2, 6), strict=True)])
    expected = np.mean(features, axis=0)
    assert mean.feature.tolist() == pytest.approx((expected / np.linalg.norm(expected)).tolist())
    assert mean.feature.dtype == torch.float32
    assert mean.projected_norm == pytest.approx(np.sqrt((1 + 4 + 160000) / 3))
    assert mean.norm == pytest.approx(2 * mean.projected_norm)
    assert mean.loss == pytest.approx(3)


def test_the_mean_direction_of_one_gradient_is_its_own() -> None:
    one = gradient_of([0.6, 0.0, -0.8], 3.0, 5.0)
    mean = mean_direction([one])
    assert torch.allclose(mean.feature, one.feature)
    assert (mean.projected_norm, mean.norm, mean.loss) == (3, 6, 5)


def test_directions_that_cancel_are_an_error_not_a_zero() -> None:
    with pytest.raises(ClipError, match="cancel"):
        mean_direction([gradient_of([0.6, -0.8]), gradient_of([-0.6, 0.8], 7.0)])
