"""bergson's side: its `InMemoryCollector`, which hooks nn.Linear modules and projects as the backward pass goes.

`module` keeps 16 x 16 numbers of every module, the default of its TrackStar; `global` sums all modules into 512 numbers, as its
TRAK command asks for. Both without bias gradients and with Rademacher matrices, its defaults. As in its own worker, weights
are frozen, so that the backward pass computes no gradient of them.
"""

import torch
from bergson import GradientProcessor, IndexConfig, InMemoryCollector
from case import TOKENS, Examples, Transformer, losses
from datasets import Dataset
from measure import Measured, Score, cosines, main, timed
from torch import Tensor

BATCH = 2048 // TOKENS
"""Its default is 2,048 tokens a batch."""


def side(model: Transformer, pool: Examples, queries: Examples, variant: str, seed: int) -> Measured:
    model.requires_grad_(False)
    model.positions.requires_grad_(True)
    model.device = torch.device("cpu")
    target, dim = {"module": ("per_module", 16), "global": ("global", 512)}[variant]
    processor = GradientProcessor(projection_dim=dim, projection_target=target, projection_seed=seed)
    collect(model, processor, Examples(pool.inputs[:1], pool.targets[:1]))
    kept: list[Tensor] = []
    seconds = timed(lambda: kept.append(collect(model, processor, pool)))
    scores = cosines(kept[0], collect(model, processor, queries))
    what = "cosine of projected gradients, weights of nn.Linear only"
    return Measured(seconds, f"{kept[0].shape[1]:,}", BATCH, [Score(what, scores, True)])


def collect(model: Transformer, processor: GradientProcessor, examples: Examples) -> Tensor:
    """Projected gradients, [n, D']. Its own loop knows language models' losses only; this is that loop with ours."""
    rows = Dataset.from_dict({"input_ids": [[0]] * len(examples)})
    config = IndexConfig("unused", projection_dim=processor.projection_dim, projection_target=processor.projection_target)
    collector = InMemoryCollector(model=model, data=rows, cfg=config, processor=processor)
    indices = torch.arange(len(examples)).split(BATCH)
    for index, (inputs, targets) in zip(indices, examples.batches(BATCH), strict=True):
        with collector.with_batch(None):
            # The first module's backward hook needs an input that takes a gradient.
            values = losses(model(inputs.clone().requires_grad_(True)), targets)
            values.sum().backward()
            model.zero_grad()
        collector.process_batch(index.tolist(), losses=values)
    collector.teardown()
    return torch.cat([collector.gradients[name].reshape(len(examples), -1) for name in sorted(collector.gradients)], dim=1)


if __name__ == "__main__":
    main("bergson", side)
