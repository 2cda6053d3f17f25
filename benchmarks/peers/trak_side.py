"""TRAK's side: `TRAKer` on the CPU, where it takes its `BasicProjector` with a normal matrix.

In single precision: its default, half, is several times slower on a CPU. Fewer examples than dimensions make its kernel
singular, so its own score gets a ridge, dattri's times 512: its matrix is longer by the root of the dimensions.
"""

import tempfile

import torch
from case import Examples, Transformer, losses
from measure import Measured, Score, cosines, main, timed
from torch import Tensor
from trak import TRAKer
from trak.modelout_functions import AbstractModelOutput

DIM, BATCH, RIDGE = 512, 32, 512e-6


class Loss(AbstractModelOutput):
    """The loss itself as the model's output, whose derivative by the loss is 1."""

    def __init__(self) -> None:
        pass

    @staticmethod
    def get_output(model: Transformer, weights: dict, buffers: dict, inputs: Tensor, targets: Tensor) -> Tensor:
        predicted = torch.func.functional_call(model, (weights, buffers), inputs.unsqueeze(0))
        return losses(predicted, targets.unsqueeze(0)).sum()

    def get_out_to_loss_grad(self, model: Transformer, weights: dict, buffers: dict, batch: tuple[Tensor, Tensor]) -> Tensor:
        return torch.ones(len(batch[0]), 1)


def side(model: Transformer, pool: Examples, queries: Examples, variant: str, seed: int) -> Measured:
    weights = model.state_dict()

    def traker(folder: str, size: int) -> TRAKer:
        made = TRAKer(
            model,
            Loss(),
            size,
            save_dir=folder,
            device="cpu",
            proj_dim=DIM,
            projector_seed=seed,
            use_half_precision=False,
            lambda_reg=RIDGE,
            logging_level="WARNING",
        )
        made.load_checkpoint(weights, model_id=0)
        return made

    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
        traker(other, 1).featurize((pool.inputs[:1], pool.targets[:1]), num_samples=1)
        library = traker(folder, len(pool))

        def featurize() -> None:
            for batch in pool.batches(BATCH):
                library.featurize(batch, num_samples=len(batch[0]))

        seconds = timed(featurize)
        kept = torch.tensor(library.saver.current_store["grads"])
        library.finalize_features()
        library.start_scoring_checkpoint("queries", weights, 0, len(queries))
        library.score((queries.inputs, queries.targets), num_samples=len(queries))
        wanted = torch.tensor(library.saver.current_store["queries_grads"])
        kernel = torch.tensor(library.finalize_scores("queries")).tolist()
    return Measured(
        seconds,
        str(DIM),
        BATCH,
        [
            Score("cosine of its projected gradients, all parameters", cosines(kept, wanted), True),
            Score("its own score, by the kernel's inverse", kernel, False),
        ],
    )


if __name__ == "__main__":
    main("traker", side)
