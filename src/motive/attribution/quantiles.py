"""Exact order statistics of any number of float32 scores, in two passes that hold none of them.

A float32's bits, seen as an integer, sort as the number does once the sign is taken care of. The first pass counts the upper
16 bits, which tells in which of 2^16 bins a rank lies; the second counts the lower 16 bits inside of that bin, which tells
the number. Counts of parts of the scores add up to those of the whole, in any order, so parts can be counted anywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 1 << 16


@dataclass
class Counts:
    """How many scores of each query lie in each bin: int64 [Q, BINS] by the upper 16 bits, or, of the scores in the bins
    `inside` [Q, B] (uint16), [Q, B, BINS] by the lower 16."""

    counts: NDArray[np.int64]
    inside: NDArray[np.uint16] | None = None

    @classmethod
    def of(cls, queries: int, inside: NDArray[np.uint16] | None = None) -> "Counts":
        """Nothing counted yet."""
        shape = (queries,) if inside is None else inside.shape
        return cls(np.zeros((*shape, BINS), np.int64), inside)

    def add(self, query: int, scores: NDArray[np.float32]) -> None:
        """Count scores [n] of a query."""
        if self.inside is None:
            self.counts[query] += np.bincount(sortable(scores) >> 16, minlength=BINS)
            return
        bins = self.inside[query].astype(np.uint32)
        ends = from_sortable(bins << np.uint32(16)), from_sortable(bins << np.uint32(16) | np.uint32(0xFFFF))
        for counts, bin_, low, high in zip(self.counts[query], bins, *ends, strict=True):
            # Few scores lie in a bin, whose ends are numbers too, or beyond infinity none; zero lies at the ends of two.
            keys = sortable(scores[~((scores < low) | (scores > high))])
            np.add.at(counts, keys[keys >> 16 == bin_] & 0xFFFF, 1)

    def __add__(self, other: "Counts") -> "Counts":
        """Of two parts of the scores together."""
        return Counts(self.counts + other.counts, self.inside)


@dataclass(frozen=True)
class Places:
    """Where ranks lie: bins [Q, R], and how many scores of the query are in bins below each."""

    bins: NDArray[np.uint16]
    below: NDArray[np.int64]
    ranks: NDArray[np.int64]


def locate(upper: Counts, ranks: Sequence[int]) -> Places:
    """The bins that hold the scores of these ranks, from 0, the lowest; `upper` has counted all of them by upper bits."""
    wanted = np.asarray(ranks, np.int64)
    ends = upper.counts.cumsum(axis=1)
    bins = np.array([np.searchsorted(end, wanted, side="right") for end in ends]).reshape(-1, len(wanted))
    below = np.take_along_axis(ends - upper.counts, bins, axis=1)
    return Places(bins.astype(np.uint16), below, wanted)


def order_statistics(places: Places, lower: Counts) -> NDArray[np.float32]:
    """Scores [Q, R] of the ranks that were located; `lower` has counted all scores in `places.bins`."""
    within = places.ranks - places.below
    low = [
        [np.searchsorted(counts.cumsum(), rank, side="right") for counts, rank in zip(*query, strict=True)]
        for query in zip(lower.counts, within, strict=True)
    ]
    upper = places.bins.astype(np.uint32) << np.uint32(16)
    return from_sortable(upper | np.asarray(low, np.uint32).reshape(upper.shape))


def ranks_of_quantile(count: int, share: float) -> tuple[int, int, float]:
    """The ranks on both sides of the `share` quantile of `count` numbers, and how far it is from the first to the second."""
    position = (count - 1) * share
    low = int(np.floor(position))
    return low, min(low + 1, count - 1), position - low


def between(low: NDArray[np.float32], high: NDArray[np.float32], weight: float) -> NDArray[np.float64]:
    """The quantile between two order statistics, to the bit what `np.quantile` makes of all numbers in float64."""
    return np.asarray(np.quantile(np.stack([low, high]).astype(np.float64), weight, axis=0))


def sortable(scores: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Integers that sort as the numbers do. Both zeros are the same number and get the same integer."""
    bits = (scores + np.float32(0)).view(np.int32)
    return ((bits >> 31) | np.int32(-(1 << 31))).view(np.uint32) ^ bits.view(np.uint32)


def from_sortable(keys: NDArray[np.uint32]) -> NDArray[np.float32]:
    """The numbers that `sortable` made integers of."""
    bits = np.where(keys >> 31, keys ^ np.uint32(1 << 31), ~keys)
    return bits.view(np.float32)
