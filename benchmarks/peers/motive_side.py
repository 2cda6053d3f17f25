"""Motive's side: `project_gradient` into 512 dimensions by `Fastfood`, example by example; and a plain `backward()`."""

import torch
from case import Examples, Transformer, losses
from measure import Measured, Score, cosines, main, timed
from torch import Tensor

from motive.gradients.capture import project_gradient
from motive.gradients.projection import Fastfood

DIM = 512


def side(model: Transformer, pool: Examples, queries: Examples, variant: str, seed: int) -> Measured:
    if variant == "plain":
        return plain(model, pool)
    projector = Fastfood(DIM, seed, torch.device("cpu"))

    def features(examples: Examples) -> list[Tensor]:
        return [
            project_gradient(model, projector, [lambda x=x, y=y: losses(model(x), y).sum()]).feature
            for x, y in examples.batches(1)
        ]

    features(Examples(pool.inputs[:1], pool.targets[:1]))
    rows: list[Tensor] = []
    seconds = timed(lambda: rows.extend(features(pool)))
    scores = cosines(torch.stack(rows), torch.stack(features(queries)))
    return Measured(seconds, str(DIM), 1, [Score("cosine of projected gradients, all parameters", scores, True)])


def plain(model: Transformer, pool: Examples) -> Measured:
    """The gradient computed and thrown away: what any method that needs it spends at least."""

    def backward(x: Tensor, y: Tensor) -> None:
        model.zero_grad(set_to_none=True)
        losses(model(x), y).sum().backward()

    backward(pool.inputs[:1], pool.targets[:1])
    return Measured(timed(lambda: [backward(x, y) for x, y in pool.batches(1)]), "", 1, [])


if __name__ == "__main__":
    main("motive", side)
