"""Every score that the lab compares: Motive as in the paper, its variants, and its rivals, as rows of one table."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motive.attribution.influence import damped_kernel
from motive.lab import rivals
from motive.lab.draws import WEIGHTINGS, draw_features, mean_features
from motive.lab.inputs import Inputs
from motive.progress import Progress

Scores = NDArray[np.float64]

DRAWS = (1, 4, 16, 64)
PAPER_DIM = 512


def score_rows(
    pool: Inputs, queries: Inputs, model: str, folder: Path, draws: int, workers: int, progress: Progress
) -> dict[str, Scores]:
    """[N, Q] scores of every row, by name; gradients are kept in `folder`."""
    rows = {
        "random": rivals.random(pool, queries),
        "motion magnitude": rivals.motion_magnitude(pool, queries),
        "latent similarity": rivals.latent_similarity(pool, queries),
        "flow histogram": rivals.flow_histogram_similarity(pool, queries),
    }
    features = {}
    for weighting in WEIGHTINGS:
        count = {"paper": 1, "oracle": min(16, draws)}.get(weighting, draws)
        features[weighting] = tuple(
            draw_features(inputs, weighting, count, model, folder / which / weighting, workers, progress)
            for which, inputs in (("pool", pool), ("queries", queries))
        )
    first, wanted = (part[:, 0, :PAPER_DIM].astype(np.float64) for part in features["paper"])
    rows["paper"] = rivals.cosine(first, wanted)
    pairs = {"plain": ("plain", "plain"), "motion": ("motion", "motion"), "temporal": ("temporal", "temporal")}
    pairs |= {
        "oracle": ("oracle", "oracle"),
        "plain to motion": ("plain", "motion"),
        "plain to temporal": ("plain", "temporal"),
    }
    for name, (of_pool, of_queries) in pairs.items():
        for count in (k for k in DRAWS if k <= min(draws, features[of_queries][1].shape[1])):
            own, other = mean_features(features[of_pool][0], count), mean_features(features[of_queries][1], count)
            rows[f"{name} x{count}"] = own @ other.T
            rows[f"{name} x{count}, kernel"] = kernel_scores(own, other)
    return rows


def kernel_scores(pool: NDArray[np.float64], queries: NDArray[np.float64]) -> Scores:
    """<f, (F^T F / N + lambda)^-1 q>, as `motive score` with influence.hessian=kernel."""
    return np.asarray(pool @ np.linalg.solve(damped_kernel(pool.T @ pool, len(pool)), queries.T))
