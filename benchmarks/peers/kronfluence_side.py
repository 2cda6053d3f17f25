"""Kronfluence's side: factors fitted on the pool, then pairwise scores, all with its default arguments.

`ekfac` is its default strategy. `identity` needs no factors: its scores are dot products of gradients, and with the self-scores
of pool and queries, their cosines. Only nn.Linear modules count, weights and biases.
"""

import tempfile

import torch
from case import Examples, Transformer, losses
from kronfluence.analyzer import Analyzer, prepare_model
from kronfluence.arguments import FactorArguments, ScoreArguments
from kronfluence.task import Task
from measure import Measured, Score, main, timed
from torch import Tensor
from torch.utils.data import TensorDataset

BATCH = 8


class Denoising(Task):
    """The mean squared error as a Gaussian's log-likelihood; its scale enters EK-FAC through the damping, which is fixed."""

    def compute_train_loss(self, batch: tuple[Tensor, Tensor], model: Transformer, sample: bool = False) -> Tensor:
        inputs, targets = batch
        predicted = model(inputs)
        if sample:
            targets = torch.normal(predicted.detach(), std=0.5**0.5)
        return losses(predicted, targets).sum()

    def compute_measurement(self, batch: tuple[Tensor, Tensor], model: Transformer) -> Tensor:
        return self.compute_train_loss(batch, model)


def side(model: Transformer, pool: Examples, queries: Examples, variant: str, seed: int) -> Measured:
    task = Denoising()
    model = prepare_model(model, task)
    with tempfile.TemporaryDirectory() as folder:
        analyzer = Analyzer("peers", model, task, cpu=True, disable_tqdm=True, output_dir=folder)
        one, many, wanted = (
            TensorDataset(examples.inputs, examples.targets)
            for examples in (Examples(pool.inputs[:1], pool.targets[:1]), pool, queries)
        )

        def score(name: str, data: TensorDataset, others: TensorDataset) -> Tensor:
            analyzer.fit_all_factors(name, data, BATCH, factor_args=FactorArguments(strategy=variant))
            analyzer.compute_pairwise_scores(
                name, name, others, data, len(others), per_device_train_batch_size=BATCH, score_args=ScoreArguments()
            )
            return analyzer.load_pairwise_scores(name)["all_modules"].T

        def norms(name: str, data: TensorDataset) -> Tensor:
            analyzer.compute_self_scores(name, "all", data, BATCH)
            return analyzer.load_self_scores(name)["all_modules"].sqrt()

        score("warm", one, one)
        kept: list[Tensor] = []
        seconds = timed(lambda: kept.append(score("all", many, wanted)))
        if variant == "identity":
            seconds += timed(lambda: kept.append(norms("pool", many)))
            scores, lengths = kept[0].double(), [kept[1].double(), norms("queries", wanted).double()]
            values = scores / lengths[0][:, None] / lengths[1]
            result = Score("cosine of gradients, not projected, nn.Linear only", values.tolist(), False)
        else:
            result = Score("its own score: EK-FAC influence, nn.Linear only", kept[0].tolist(), False)
    return Measured(seconds, "", BATCH, [result])


if __name__ == "__main__":
    main("kronfluence", side)
