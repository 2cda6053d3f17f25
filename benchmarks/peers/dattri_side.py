"""dattri's side: its two attributors that project gradients, both on the CPU with its default 512 dimensions, normal.

`cosine` is `TracInAttributor` with normalised gradients (Grad-Cos), whose one call computes the queries' gradients too, and
again for each batch of the pool; `trak` is `TRAKAttributor`, whose `cache` computes the pool's features and nothing else.
"""

import torch
from case import Examples, Transformer, losses
from dattri.algorithm.tracin import TracInAttributor
from dattri.algorithm.trak import TRAKAttributor
from dattri.task import AttributionTask
from measure import Measured, Score, main, timed
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

BATCHES, RIDGE = {"cosine": 8, "trak": 32}, 1e-6
"""Examples at a time: at 32 `trak` needs 14 GiB, and `cosine` over 19."""


def side(model: Transformer, pool: Examples, queries: Examples, variant: str, seed: int) -> Measured:
    def loss(weights: dict, pair: tuple[Tensor, Tensor]) -> Tensor:
        inputs, targets = pair
        return losses(torch.func.functional_call(model, weights, inputs.unsqueeze(0)), targets.unsqueeze(0)).sum()

    # A copy, since its attributors load it into the model again and again.
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    task = AttributionTask(loss_func=loss, model=model, checkpoints=weights)
    batch = BATCHES[variant]
    one = Examples(pool.inputs[:1], pool.targets[:1])
    if variant == "cosine":
        cosine = TracInAttributor(task, torch.ones(1), normalized_grad=True, projector_kwargs={"proj_seed": seed}, device="cpu")
        cosine.attribute(loader(one, batch), loader(one, batch))
        kept: list[Tensor] = []
        seconds = timed(lambda: kept.append(cosine.attribute(loader(pool, batch), loader(queries, batch))))
        scores = Score("cosine of projected gradients, all parameters", kept[0].tolist(), True)
    else:
        # Fewer examples than dimensions make its kernel singular.
        trak = TRAKAttributor(
            task, lambda weights, pair: torch.zeros(1), {"proj_seed": seed}, device="cpu", regularization=RIDGE
        )
        trak.cache(loader(one, batch))
        what = "its own score, by the kernel's inverse"
        seconds = timed(lambda: trak.cache(loader(pool, batch)))
        scores = Score(what, trak.attribute(loader(queries, batch)).tolist(), False)
    return Measured(seconds, "512", batch, [scores])


def loader(examples: Examples, batch: int) -> DataLoader:
    return DataLoader(TensorDataset(examples.inputs, examples.targets), batch_size=batch, shuffle=False)


if __name__ == "__main__":
    main("dattri", side)
