"""Intervals of shares whose votes are clustered twice, by prompt and by rater.

Votes on one prompt resemble each other, and so do one rater's. Both are samples of those there could be, so both are drawn
anew with replacement, independently, and a vote counts as often as its prompt times its rater was drawn (the pigeonhole
bootstrap: Owen, Annals of Applied Statistics 1, 2007). It is never too narrow for the noise of single votes: where neither
prompts nor raters differ, it is wider than it need be, by up to a factor of sqrt(3).
"""

import numpy as np
from numpy.typing import NDArray

from motive.seeds import stream

RESAMPLES = 4000
CONFIDENCE = 0.95

Share = tuple[float, float, float]
"""A share of votes, and the ends of its 95 % interval."""


def intervals(counts: NDArray[np.int64], weights: NDArray[np.float64], *name: str) -> list[Share]:
    """S shares sum(weight * votes) / votes with their intervals, from counts [P, R, A] of votes by prompt, rater and answer,
    at least one of them positive.

    weights: [S, A], from 0 to 1, what each answer counts in each share. name: what the numbers are drawn for. Where all
    votes count 0, or all 1, resampling them shows no spread; the far end is then that of as many independent trials as
    there are prompts with votes, all with one outcome.
    """
    total = counts.sum(axis=(0, 1))
    whole = weights @ total / total.sum()
    tails = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    low, high = np.quantile(resampled_shares(counts, *name) @ weights.T, tails, axis=0)
    unseen = 1 - tails[0] ** (1 / int((counts.sum(axis=(1, 2)) > 0).sum()))
    high = np.where(whole == 0, unseen, high)
    low = np.where(whole == 1, 1 - unseen, low)
    return [(float(share), float(left), float(right)) for share, left, right in zip(whole, low, high, strict=True)]


def resampled_shares(counts: NDArray[np.int64], *name: str, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """[resamples, A] shares of each answer; samples that happen to hold no vote are left out, so there may be fewer."""
    prompts, raters, answers = counts.shape
    draw = stream(0, "study", *name, prompts, raters)
    by_prompt = draw.multinomial(prompts, np.full(prompts, 1 / prompts), size=resamples).astype(np.float64)
    by_rater = draw.multinomial(raters, np.full(raters, 1 / raters), size=resamples).astype(np.float64)
    summed = (by_prompt @ counts.reshape(prompts, -1)).reshape(resamples, raters, answers)
    drawn = np.einsum("br,bra->ba", by_rater, summed)
    drawn = drawn[drawn.sum(axis=1) > 0]
    return np.asarray(drawn / drawn.sum(axis=1, keepdims=True))
