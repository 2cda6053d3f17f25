"""Scores that need no gradient: what Motive has to beat."""

import numpy as np
from numpy.typing import NDArray

from motive.lab.inputs import Inputs
from motive.lab.metrics import Scores
from motive.seeds import stream


def random(pool: Inputs, queries: Inputs) -> Scores:
    """One random order for each query."""
    return stream(0, "random scores").uniform(size=(len(pool), len(queries)))


def same_motion(pool: Inputs, queries: Inputs) -> Scores:
    """1 for the clips of the query's motion, else 0: what knowing the answer is worth, which no method knows."""
    return np.array([[clip.spec.motion == query.spec.motion for query in queries.clips] for clip in pool.clips], np.float64)


def motion_magnitude(pool: Inputs, queries: Inputs) -> Scores:
    """Mean displacement of the clip, the same for every query."""
    return np.repeat(_speed(pool).mean(axis=(1, 2, 3))[:, None], len(queries), axis=1)


def latent_similarity(pool: Inputs, queries: Inputs) -> Scores:
    """Cosine of mean VAE latents, over time, less the pool's mean."""
    mean = pool.latents.mean(dim=2).flatten(1).double().numpy()
    wanted = queries.latents.mean(dim=2).flatten(1).double().numpy()
    return cosine(mean - mean.mean(axis=0), wanted - mean.mean(axis=0))


def flow_histogram_similarity(pool: Inputs, queries: Inputs) -> Scores:
    """Histogram intersection of displacement: 8 directions x 4 speeds in each of 4 spans of time, and both mirrored."""
    own, wanted = _histograms(pool.displacement), _histograms(queries.displacement)
    mirrored = _histograms(queries.displacement * np.array([-1, 1], np.float32))
    return np.maximum(_intersection(own, wanted), _intersection(own, mirrored))


def cosine(pool: NDArray[np.float64], queries: NDArray[np.float64]) -> Scores:
    """[N, D], [Q, D] -> [N, Q]."""
    pool, queries = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (pool, queries))
    return np.asarray(pool @ queries.T)


def _speed(inputs: Inputs) -> NDArray[np.float32]:
    return np.asarray(np.linalg.norm(inputs.displacement, axis=-1))


def _histograms(displacement: NDArray[np.float32], spans: int = 4) -> NDArray[np.float64]:
    """[N, F, H, W, 2] -> [N, spans * 32], each weighted by speed and of sum 1."""
    out = []
    for clip in displacement:
        parts = []
        for span in np.array_split(clip[1:], spans):
            dx, dy = span[..., 0].ravel(), span[..., 1].ravel()
            speed = np.hypot(dx, dy)
            direction = (np.arctan2(dy, dx) / (2 * np.pi) * 8 + 0.5).astype(int) % 8
            level = np.digitize(speed, (1.0, 2.0, 4.0))
            parts.append(np.bincount(direction * 4 + level, np.where(speed > 0.5, speed, 0), 32))
        whole = np.concatenate(parts)
        out.append(whole / max(whole.sum(), 1e-9))
    return np.array(out)


def _intersection(pool: NDArray[np.float64], queries: NDArray[np.float64]) -> Scores:
    return np.stack([np.minimum(pool, query).sum(axis=1) for query in queries], axis=1)
