"""Every score that the lab compares: Motive as in the paper, its variants, and its rivals, as rows of one table."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motive.attribution.influence import damped_kernel
from motive.lab import rivals
from motive.lab.draws import WEIGHTINGS, Job, draw_features, mean_directions, mean_gradients, unit
from motive.lab.inputs import Inputs
from motive.lab.metrics import Scores
from motive.progress import Progress

DRAWS = (1, 4, 16, 64)

PAIRS = {
    "plain": ("plain", "plain"),
    "motion": ("motion", "motion"),
    "temporal": ("temporal", "temporal"),
    "oracle": ("oracle", "oracle"),
    "plain to motion": ("plain", "motion"),
    "plain to temporal": ("plain", "temporal"),
    "temporal attention": ("attention", "masked-attention"),
    "temporal attention, pool masked": ("masked-attention", "masked-attention"),
}
"""How the pool's and the queries' losses are weighted. Training minimises the plain loss, and what is asked for is the
queries' motion: "plain to motion" takes both at their word."""

PAPER_DIM = 512


def score_rows(
    pool: Inputs, queries: Inputs, model: str, folder: Path, draws: int, workers: int, progress: Progress
) -> dict[str, Scores]:
    """[N, Q] scores of every row, by name; gradients are kept in `folder`."""
    rows = {
        "random": rivals.random(pool, queries),
        "told the motion": rivals.same_motion(pool, queries),
        "motion magnitude": rivals.motion_magnitude(pool, queries),
        "latent similarity": rivals.latent_similarity(pool, queries),
        "flow histogram": rivals.flow_histogram_similarity(pool, queries),
    }
    counts = {"paper": 1, "oracle": min(16, draws)}
    jobs = {
        (weighting, which): Job(inputs, weighting, counts.get(weighting, draws), folder / which / weighting)
        for weighting in WEIGHTINGS
        for which, inputs in (("pool", pool), ("queries", queries))
    }
    held = dict(zip(jobs, draw_features(list(jobs.values()), model, workers, progress), strict=True))
    first, wanted = (
        part.directions[:, 0, :PAPER_DIM].astype(np.float64) for part in (held["paper", "pool"], held["paper", "queries"])
    )
    rows["paper"] = unit(first) @ unit(wanted).T
    for name, (of_pool, of_queries) in PAIRS.items():
        own, other = held[of_pool, "pool"], held[of_queries, "queries"]
        for count in (k for k in DRAWS if k <= other.norms.shape[1]):
            rows |= _variants(f"{name} x{count}", mean_directions(own, count), mean_directions(other, count))
            if of_pool != of_queries:
                rows |= _variants(f"{name} x{count}, raw", mean_gradients(own, count), mean_directions(other, count))
    return rows


def _variants(name: str, own: NDArray[np.float64], other: NDArray[np.float64]) -> dict[str, Scores]:
    return {name: own @ other.T, f"{name}, kernel": kernel_scores(own, other)}


def kernel_scores(pool: NDArray[np.float64], queries: NDArray[np.float64]) -> Scores:
    """<f, (F^T F / N + lambda)^-1 q>, as `motive score` with influence.hessian=kernel."""
    return np.asarray(pool @ np.linalg.solve(damped_kernel(pool.T @ pool, len(pool)), queries.T))
