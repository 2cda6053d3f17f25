"""Krippendorff's alpha: how far raters agree beyond chance, whoever rated what.

    alpha = 1 - D_o / D_e

D_o is the mean difference of two values of the same unit, D_e that of any two values, whatever their units (Krippendorff,
Computing Krippendorff's Alpha-Reliability, 2011).
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Metric = Literal["nominal", "ordinal", "interval"]


def coincidences(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """[U, K, K], for each unit: how often its values c and k meet, each of its m values once with every other, in all m
    times. From counts [U, K], how many raters gave unit u the value k. A unit with a single value has no pair of them."""
    counts = counts.astype(np.float64)
    sizes = counts.sum(axis=1)
    met = counts[:, :, None] * counts[:, None, :]
    values = np.arange(counts.shape[1])
    met[:, values, values] -= counts
    return np.asarray(met / np.maximum(sizes - 1, 1)[:, None, None])


def alpha(counts: NDArray[np.int64], metric: Metric = "nominal") -> float:
    """Krippendorff's alpha of counts [U, K]: 1 full agreement, 0 that of chance. Values k are in order; for "interval" they
    are the numbers 0 to K - 1. NaN where no two values differ at all or no unit has two: then nothing can be said."""
    return float(alpha_of(coincidences(counts).sum(axis=0), metric))


def alpha_of(met: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    """Alpha [...] of coincidence matrices [..., K, K]."""
    values = met.sum(axis=-1)
    total = values.sum(axis=-1)
    squared = _squared_differences(values, metric)
    observed = (met * squared).sum(axis=(-2, -1))
    expected = (values[..., :, None] * values[..., None, :] * squared).sum(axis=(-2, -1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(1 - (total - 1) * observed / np.where(expected > 0, expected, np.nan))


def percent_agreement(counts: NDArray[np.int64]) -> float:
    """The share of pairs of raters, over all units of counts [U, K], who gave the same value; NaN without any pair."""
    sizes = counts.sum(axis=1)
    pairs = (sizes * (sizes - 1)).sum()
    return float((counts * (counts - 1)).sum() / pairs) if pairs else float("nan")


def _squared_differences(values: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    """[..., K, K]; between ranks, the values that lie between two, and half of those of the two themselves."""
    k = values.shape[-1]
    if metric == "nominal":
        return 1.0 - np.eye(k)
    if metric == "interval":
        return np.asarray((np.arange(k)[:, None] - np.arange(k)) ** 2, np.float64)
    middle = np.cumsum(values, axis=-1) - values / 2
    return np.asarray((middle[..., :, None] - middle[..., None, :]) ** 2)
