"""Muon (Jordan et al. 2024): momentum whose direction is made orthogonal, matrix by matrix.

The lab trains its model on a laptop's CPU; this needs fewer steps than AdamW.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Muon:
    """Steps the weights of linear and convolution layers, seen as matrices [out, everything else]."""

    def __init__(self, weights: Iterable[Tensor], momentum: float = 0.95) -> None:
        self.weights, self.momentum = list(weights), momentum
        self.means = [torch.zeros_like(weight) for weight in self.weights]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """W -= rate sqrt(max(1, rows / columns)) U V^T, with U S V^T the Nesterov momentum of the gradient."""
        for weight, mean in zip(self.weights, self.means, strict=True):
            if weight.grad is None:
                continue
            mean.lerp_(weight.grad, 1 - self.momentum)
            ahead = weight.grad.lerp(mean, self.momentum).flatten(1)
            rows, columns = ahead.shape
            weight.sub_(orthogonal(ahead).view_as(weight), alpha=rate * max(1.0, rows / columns) ** 0.5)


def orthogonal(matrix: Tensor, iterations: int = 5) -> Tensor:
    """Nearly U V^T of `matrix` = U S V^T: singular values come to lie between about 0.7 and 1.2.

    A quintic iteration whose slope at 0 is steep, in bfloat16: a direction needs no more digits.
    """
    wide = matrix.shape[0] <= matrix.shape[1]
    x = (matrix if wide else matrix.T).bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(iterations):
        gram = x @ x.T
        x = 3.4445 * x + (2.0315 * (gram @ gram) - 4.7750 * gram) @ x
    return (x if wide else x.T).to(matrix.dtype)


def matrices(modules: Iterable[nn.Module]) -> list[Tensor]:
    """The weights that Muon is made for: of linear and convolution layers, not of embeddings and norms."""
    kinds = (nn.Linear, nn.Conv2d, nn.Conv3d)
    return [layer.weight for module in modules for layer in module.modules() if isinstance(layer, kinds)]
