"""The gradients of several clips from one forward and backward pass, each projected on its own.

autograd adds up a parameter's gradient over the batch. Here every module that owns parameters computes it clip by clip
instead, from its input and its output's gradient, and folds each clip's into that clip's accumulator at once: one weight's
gradient for one clip is all that ever exists. What is shared is the rest: attention, activations, the gradients with respect
to inputs, and, on small clips, the overhead of each operation.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from motive.errors import ClipError, ConfigError
from motive.gradients.capture import Gradient, direction, squared_norm
from motive.gradients.projection import Projector


def project_gradients(
    denoiser: nn.Module, projector: Projector, losses: Sequence[Callable[[], Tensor]], clips: int
) -> list[Gradient | ClipError]:
    """As `project_gradient` for each of B = `clips` clips, to rounding; a clip without a direction gives its error.

    losses: functions that run the forward pass on all clips and return one loss each, [B]; they are averaged. The clips
    are the first axis of whatever the denoiser's modules take and give, and must not meet in it.

    Raises ConfigError if the gradient of one of its parameters cannot be told apart by clip.
    """
    device = next(denoiser.parameters()).device
    folded = _Folded(denoiser, projector, clips, device)
    total = torch.zeros(clips, dtype=torch.float64, device=device)
    with _each_clip_apart(denoiser, folded):
        for loss in losses:
            values = loss()
            (values.sum() / len(losses)).backward()
            total += values.detach()
            folded.seen.clear()
    norms, means = (folded.squares * len(losses)).sqrt().tolist(), (total / len(losses)).tolist()
    found: list[Gradient | ClipError] = []
    for projected, norm, loss in zip(projector.finish(folded.accumulators).cpu(), norms, means, strict=True):
        try:
            found.append(direction(projected, norm, loss))
        except ClipError as error:
            found.append(error)
    return found


class _Folded:
    """Where the clips' gradients go: an accumulator [B, width] and the squared norms [B]."""

    def __init__(self, denoiser: nn.Module, projector: Projector, clips: int, device: torch.device) -> None:
        self.names = {id(parameter): name for name, parameter in denoiser.named_parameters()}
        self.projector = projector
        self.accumulators = torch.zeros(clips, projector.width, device=device)
        self.squares = torch.zeros(clips, dtype=torch.float64, device=device)
        self.seen: set[tuple[str, int]] = set()

    def add(self, parameter: Tensor, gradients: Tensor, first: int = 0) -> None:
        """Fold the gradients [k, ...] of clips `first` to `first` + k."""
        name = self.names[id(parameter)]
        if (name, first) in self.seen:
            # The norm of a sum is not known from its parts, and the parts are gone.
            raise _cannot(f"its parameter {name} is used more than once")
        self.seen.add((name, first))
        some = slice(first, first + len(gradients))
        self.projector.add(self.accumulators[some], name, gradients)
        self.squares[some] += squared_norm(gradients, leading=1)

    @property
    def clips(self) -> int:
        return len(self.accumulators)


@contextmanager
def _each_clip_apart(denoiser: nn.Module, folded: _Folded) -> Iterator[None]:
    """While active, backward passes through `denoiser` fold each clip's gradient and accumulate none."""
    with ExitStack() as undo:
        for path, module in denoiser.named_modules():
            owned = {name: p for name, p in module.named_parameters(recurse=False) if p.requires_grad}
            if not owned:
                continue
            if type(module) is nn.Linear:
                module.forward = partial(_linear, module, folded)  # type: ignore[method-assign]
                undo.callback(delattr, module, "forward")
            elif isinstance(module, nn.LayerNorm | nn.RMSNorm):
                module.forward = partial(_norm, module, module.forward, folded)  # type: ignore[method-assign]
                undo.callback(delattr, module, "forward")
            elif not any(module.children()):
                module.forward = partial(_leaf, module, module.forward, folded)
                undo.callback(delattr, module, "forward")
            else:
                for name, parameter in owned.items():
                    if parameter.shape[:1] != (1,):
                        raise _cannot(f"its parameter {path}.{name} has no axis for clips")
                    module._parameters[name] = _copied(parameter, folded)
                    undo.callback(module._parameters.__setitem__, name, parameter)
        yield


def _linear(module: nn.Linear, folded: _Folded, x: Tensor) -> Tensor:
    return _Linear.apply(x, module.weight, module.bias, folded)


class _Linear(torch.autograd.Function):
    """y = x W^T + b for x [B, ..., in], or [B k, in] with the clips one after the other."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, folded: _Folded) -> Tensor:
        ctx.save_for_backward(x)
        ctx.weight, ctx.bias, ctx.folded = weight, bias, folded
        return nn.functional.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, None, None]:
        (dy,), (x,), weight, folded = gradients, ctx.saved_tensors, ctx.weight, ctx.folded
        outward = dy.reshape(folded.clips, -1, dy.shape[-1])
        inward = x.reshape(folded.clips, -1, x.shape[-1]).to(dy.dtype)
        if ctx.needs_input_grad[1]:
            # As many clips at once as keep their gradients small: of a large weight one, of small ones all.
            step = max(1, (1 << 20) // weight.numel())
            for first in range(0, folded.clips, step):
                some = slice(first, first + step)
                folded.add(weight, outward[some].mT @ inward[some], first)
        if ctx.needs_input_grad[2]:
            folded.add(ctx.bias, outward.sum(dim=1))
        dx = (dy @ weight.to(dy.dtype)).to(x.dtype) if ctx.needs_input_grad[0] else None
        return dx, None, None, None


def _norm(module: nn.Module, forward: Callable[..., Tensor], folded: _Folded, x: Tensor) -> Tensor:
    return _Norm.apply(x, module.weight, getattr(module, "bias", None), module, forward, folded)


class _Norm(torch.autograd.Function):
    """y = norm(x) * weight + bias over the last axes of x, for x as in _Linear."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        module: nn.Module,
        forward: Callable[..., Tensor],
        folded: _Folded,
    ) -> Tensor:
        ctx.save_for_backward(x)
        ctx.weight, ctx.bias, ctx.module, ctx.original, ctx.folded = weight, bias, module, forward, folded
        return forward(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, None, None, None, None]:
        (dy,), (x,), weight, folded = gradients, ctx.saved_tensors, ctx.weight, ctx.folded
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            normed = _without_weights(ctx.module, ctx.original, x)
        (dx,) = torch.autograd.grad(normed, x, (dy * weight).to(normed.dtype))
        if ctx.needs_input_grad[1]:
            folded.add(weight, (dy.float() * normed.detach().float()).reshape(folded.clips, -1, *weight.shape).sum(dim=1))
        if ctx.needs_input_grad[2]:
            folded.add(ctx.bias, dy.float().reshape(folded.clips, -1, *weight.shape).sum(dim=1))
        return dx, None, None, None, None, None


def _without_weights(module: nn.Module, forward: Callable[..., Tensor], x: Tensor) -> Tensor:
    own = dict(module._parameters)
    module._parameters.update(dict.fromkeys(own))
    try:
        return forward(x)
    finally:
        module._parameters.update(own)


def _leaf(module: nn.Module, forward: Callable[..., Tensor], folded: _Folded, x: Tensor) -> Tensor:
    own = [parameter for parameter in module.parameters(recurse=False) if parameter.requires_grad]
    return _Leaf.apply(x, forward, folded, *own)


class _Leaf(torch.autograd.Function):
    """Any other module without children, such as a convolution: run again for each clip alone in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, forward: Callable[..., Tensor], folded: _Folded, *parameters: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        ctx.original, ctx.folded, ctx.parameters = forward, folded, parameters
        return forward(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (dy,), (x,), clips = gradients, ctx.saved_tensors, ctx.folded.clips
        parts: list[Tensor] = []
        for clip, (inward, outward) in enumerate(zip(x.detach().chunk(clips), dy.chunk(clips), strict=True)):
            with torch.enable_grad():
                inward = inward.requires_grad_(ctx.needs_input_grad[0])
                again = ctx.original(inward)
            wanted = [*ctx.parameters, *([inward] if inward.requires_grad else [])]
            found = torch.autograd.grad(again, wanted, outward)
            for parameter, gradient in zip(ctx.parameters, found, strict=False):
                ctx.folded.add(parameter, gradient[None], clip)
            parts += found[len(ctx.parameters) :]
        return torch.cat(parts) if parts else None, None, None, *(None for _ in ctx.parameters)


def _copied(parameter: Tensor, folded: _Folded) -> nn.Parameter:
    """`parameter` [1, ...], once for each clip, [B, ...], in no more memory."""
    copies = nn.Parameter(parameter.detach().expand(folded.clips, *parameter.shape[1:]))

    def fold(copies: Tensor) -> None:
        gradient, copies.grad = copies.grad, None
        if gradient is not None:
            folded.add(parameter, gradient)

    copies.register_post_accumulate_grad_hook(fold)
    return copies


def _cannot(why: str) -> ConfigError:
    return ConfigError(f"the gradients of several clips cannot be told apart in this denoiser, {why}; set gradients.batch=1")
