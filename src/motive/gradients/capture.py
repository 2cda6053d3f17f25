"""The gradient of a loss with respect to every parameter, projected as the backward pass makes it.

A hook on each parameter folds its gradient into the projector's accumulator the moment it is complete, then frees it: the
whole gradient never exists at once, and a clip needs less memory than an ordinary `loss.backward()`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from motive.errors import ClipError
from motive.gradients.projection import Projector


@dataclass(frozen=True)
class Gradient:
    """A clip's projected gradient: its direction P g / |P g| (float32 [D'], on the CPU), |P g|, and the true |g|.

    When losses are averaged, `norm` is the root mean square of the single losses' gradient norms, since the norm of the
    mean gradient cannot be known without holding it.
    """

    feature: Tensor
    projected_norm: float
    norm: float
    loss: float


def project_gradient(denoiser: nn.Module, projector: Projector, losses: Sequence[Callable[[], Tensor]]) -> Gradient:
    """Feature of the mean of `losses`, each a function that runs the forward pass and returns a scalar (METHOD.md 2.6).

    All parameters of `denoiser` that require a gradient count. Raises ClipError if a loss or the gradient is not finite,
    or the gradient is zero: such a clip has no direction, and is recorded, not zeroed.
    """
    device = next(denoiser.parameters()).device
    accumulator = torch.zeros(projector.width, device=device)
    squares = torch.zeros((), dtype=torch.float64, device=device)
    total = torch.zeros((), dtype=torch.float64, device=device)
    with _folding(denoiser, projector, accumulator, squares):
        for loss in losses:
            value = loss()
            (value / len(losses)).backward()
            total += value.detach()
    # The one wait for the device: until here everything was only queued.
    return direction(projector.finish(accumulator), float(squares.sqrt()) * len(losses) ** 0.5, float(total) / len(losses))


def direction(projected: Tensor, norm: float, loss: float) -> Gradient:
    """The Gradient of P g [D'], |g| and the loss; raises ClipError if they are not finite, or P g is zero."""
    projected = projected.double().cpu()
    length = float(projected.norm())
    if not np.isfinite([loss, length, norm]).all():
        raise ClipError(f"its gradient is not finite (loss {loss:g}): a broken clip, or overflow in the model")
    if length == 0.0:
        raise ClipError("its gradient is zero: the loss does not depend on the model here (is the mask empty?)")
    return Gradient((projected / length).float(), length, norm, loss)


def mean_direction(gradients: Sequence[Gradient]) -> Gradient:
    """The mean of the features of several gradients, of length 1 again; norms are root mean squares.

    Raises ClipError if the features cancel.
    """
    mean = torch.stack([gradient.feature for gradient in gradients]).double().mean(dim=0)
    length = float(mean.norm())
    if length == 0.0:
        raise ClipError("the gradients of its draws cancel")
    projected, norm = (
        float(np.sqrt(np.mean([getattr(gradient, name) ** 2 for gradient in gradients]))) for name in ("projected_norm", "norm")
    )
    return Gradient((mean / length).float(), projected, norm, float(np.mean([gradient.loss for gradient in gradients])))


def squared_norm(gradient: Tensor, leading: int = 0) -> Tensor:
    """|gradient|^2, float64, in one pass and without a copy of its size; one for each index of its first `leading` axes.

    Row by row: one float32 norm of millions of numbers is wrong in the fourth digit.
    """
    pieces = gradient.detach().flatten(leading).split(1 << 20, dim=-1)
    rows = (piece.float().unflatten(-1, (-1, math.gcd(piece.shape[-1], 1 << 12))) for piece in pieces)
    norms = [torch.linalg.vector_norm(row, dim=-1).double() for row in rows]
    return torch.stack([norm.square().sum(dim=-1) for norm in norms]).sum(dim=0)


@contextmanager
def _folding(denoiser: nn.Module, projector: Projector, accumulator: Tensor, squares: Tensor) -> Iterator[None]:
    """While active, every backward pass adds P g to `accumulator` and |g|^2 to `squares`, and leaves no gradient behind."""

    def fold(name: str) -> Callable[[Tensor], None]:
        def hook(parameter: Tensor) -> None:
            gradient, parameter.grad = parameter.grad, None
            if gradient is not None:
                projector.add(accumulator, name, gradient)
                squares.add_(squared_norm(gradient))

        return hook

    trainable = [(name, parameter) for name, parameter in denoiser.named_parameters() if parameter.requires_grad]
    for _, parameter in trainable:
        parameter.grad = None
    hooks = [parameter.register_post_accumulate_grad_hook(fold(name)) for name, parameter in trainable]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for _, parameter in trainable:
            parameter.grad = None
