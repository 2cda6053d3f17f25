"""Intervals and agreement, against published values, plain definitions and simulated studies."""

from itertools import combinations, permutations
from math import erf, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motive.evaluation.study.agreement import alpha, percent_agreement
from motive.evaluation.study.bootstrap import intervals, resampled_shares

WINS = np.array([[1.0, 0.0, 0.0]])
PREFERRED = np.array([[1.0, 0.5, 0.0]])


# Agreement


def test_alpha_is_krippendorffs_on_his_own_example() -> None:
    """Krippendorff 2011, section C: four observers, twelve units, values missing."""
    no = 0
    observed = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, no, no, no],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, no, 3],
        [no, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, no],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, no],
    ]
    counts = np.zeros((12, 5), np.int64)
    for row in observed:
        for unit, value in enumerate(row):
            if value:
                counts[unit, value - 1] += 1
    assert alpha(counts, "nominal") == pytest.approx(0.743, abs=5e-4)
    assert alpha(counts, "ordinal") == pytest.approx(0.815, abs=5e-4)
    assert alpha(counts, "interval") == pytest.approx(0.849, abs=5e-4)


def test_alpha_is_krippendorffs_for_two_observers() -> None:
    """Krippendorff 2011, sections A and B: binary data, 10 units, 0.095; nominal data, 12 units, 0.692."""
    binary = [(0, 1), (1, 1), (0, 1), (0, 0), (0, 0), (0, 1), (0, 0), (0, 0), (1, 0), (0, 0)]
    named = ["ab", "aa", "bb", "bb", "db", "cc", "cc", "cc", "ee", "dd", "dd", "ad"]
    for pairs, values, known in ((binary, (0, 1), 0.095), (named, "abcde", 0.692)):
        counts = np.array([[pair.count(value) for value in values] for pair in map(list, pairs)])
        assert alpha(counts) == pytest.approx(known, abs=5e-4)


def by_definition(units: list[list[int]], metric: str) -> float:
    """Alpha from all ordered pairs of values, no coincidence matrix in sight."""
    units = [unit for unit in units if len(unit) > 1]
    values = [value for unit in units for value in unit]

    def squared(a: int, b: int) -> float:
        if metric == "nominal":
            return float(a != b)
        if metric == "interval":
            return float((a - b) ** 2)
        low, high = min(a, b), max(a, b)
        between = sum(low <= value <= high for value in values)
        return (between - (values.count(low) + values.count(high)) / 2) ** 2 if a != b else 0.0

    observed = sum(sum(squared(a, b) for a, b in permutations(unit, 2)) / (len(unit) - 1) for unit in units) / max(
        len(values), 1
    )
    expected = sum(squared(a, b) for a, b in permutations(values, 2)) / max(len(values) * (len(values) - 1), 1)
    return 1 - observed / expected if expected else float("nan")


RATINGS = st.lists(st.lists(st.integers(0, 2), max_size=5), min_size=1, max_size=6)


def counted(units: list[list[int]]) -> np.ndarray:
    return np.array([[unit.count(value) for value in range(3)] for unit in units])


@given(RATINGS, st.sampled_from(["nominal", "ordinal", "interval"]))
def test_alpha_is_its_definition(units, metric) -> None:
    assert alpha(counted(units), metric) == pytest.approx(by_definition(units, metric), nan_ok=True)


@given(RATINGS, st.randoms(use_true_random=False))
def test_alpha_knows_neither_the_order_of_units_nor_names_of_values(units, random) -> None:
    counts = counted(units)
    order = random.sample(range(len(units)), len(units))
    for metric in ("nominal", "ordinal", "interval"):
        assert alpha(counts[order], metric) == pytest.approx(alpha(counts, metric), nan_ok=True)
        assert alpha(counts[:, ::-1], metric) == pytest.approx(alpha(counts, metric), nan_ok=True)
    assert alpha(counts[:, [1, 0, 2]]) == pytest.approx(alpha(counts), nan_ok=True)


def test_alpha_is_1_in_full_agreement_0_by_chance_and_undefined_without_difference() -> None:
    assert alpha(np.array([[3, 0, 0], [0, 0, 4]])) == 1
    random = np.random.default_rng(0).multinomial(4, [0.5, 0.2, 0.3], size=20_000)
    assert abs(alpha(random)) < 0.02
    assert abs(alpha(random, "ordinal")) < 0.02
    assert np.isnan(alpha(np.array([[3, 0, 0], [2, 0, 0]])))
    assert np.isnan(alpha(np.array([[1, 0, 0], [0, 1, 0]])))


@given(RATINGS)
def test_percent_agreement_counts_pairs_of_raters(units) -> None:
    pairs = [a == b for unit in units for a, b in combinations(unit, 2)]
    found = percent_agreement(counted(units))
    assert found == pytest.approx(np.mean(pairs)) if pairs else np.isnan(found)


# Intervals


def study(random, prompts: int, raters: int, lean: float, by_prompt: float, by_rater: float, asked: float = 1.0) -> np.ndarray:
    """Counts [P, R, 3] of simulated votes: what a rater sees is lean + prompt + rater + noise; within 0.3 of 0 is a tie.

    by_prompt, by_rater: standard deviations beside the noise's 1. asked: the share of prompts that a rater is shown.
    """
    seen = lean + by_prompt * random.normal(size=(prompts, 1)) + by_rater * random.normal(size=raters)
    seen = seen + random.normal(size=(prompts, raters))
    shown = random.random((prompts, raters)) < asked
    return np.stack([(seen > 0.3) & shown, (abs(seen) <= 0.3) & shown, (seen < -0.3) & shown], axis=2).astype(np.int64)


def truth(lean: float, by_prompt: float, by_rater: float) -> float:
    """The share preferred among all prompts and raters there could be."""
    spread = sqrt(2 * (1 + by_prompt**2 + by_rater**2))
    return sum(1 + erf((lean - edge) / spread) for edge in (-0.3, 0.3)) / 4


def vote_by_vote(counts: np.ndarray) -> tuple[float, float]:
    """The interval of somebody who takes all votes for independent."""
    votes = np.repeat(np.tile([1, 0.5, 0], counts.shape[0] * counts.shape[1]), counts.reshape(-1))
    half = 1.96 * votes.std() / sqrt(len(votes))
    return votes.mean() - half, votes.mean() + half


@pytest.mark.parametrize(
    ("prompts", "raters", "lean", "by_prompt", "by_rater", "asked", "least"),
    [
        (50, 17, 0.5, 0.7, 0.4, 1.0, 0.92),  # the paper's size
        (50, 17, 0.0, 0.0, 0.0, 1.0, 0.95),  # clusters that are none: wide
        (30, 12, 1.5, 0.7, 0.4, 0.5, 0.91),  # a clear winner, half of the pairs each
        (50, 5, 0.5, 0.3, 0.8, 1.0, 0.78),  # few raters who differ much: too narrow, as the notes of a result say
    ],
)
def test_intervals_hold_the_truth_of_simulated_studies(prompts, raters, lean, by_prompt, by_rater, asked, least) -> None:
    random = np.random.default_rng(3)
    right = truth(lean, by_prompt, by_rater)
    studies, held, naive = 250, 0, 0
    for n in range(studies):
        counts = study(random, prompts, raters, lean, by_prompt, by_rater, asked)
        low, high = np.quantile(resampled_shares(counts, str(n), resamples=400) @ PREFERRED[0], [0.025, 0.975])
        held += low <= right <= high
        low, high = vote_by_vote(counts)
        naive += low <= right <= high
    assert held / studies >= least
    if by_prompt:
        assert naive / studies < 0.8, "clusters do not matter here, so the test shows nothing"


def test_resampling_is_drawing_prompts_and_raters_with_replacement() -> None:
    counts = study(np.random.default_rng(1), 12, 7, 0.3, 0.7, 0.5, 0.7)
    random = np.random.default_rng(2)
    slow = []
    for _ in range(4000):
        drawn = counts[random.integers(12, size=12)][:, random.integers(7, size=7)].sum(axis=(0, 1))
        slow.append(drawn / drawn.sum())
    fast = resampled_shares(counts, "x")
    assert np.allclose(fast.mean(axis=0), np.mean(slow, axis=0), atol=0.008)
    assert np.allclose(fast.std(axis=0), np.std(slow, axis=0), rtol=0.08)


COUNTS = st.tuples(st.integers(1, 5), st.integers(1, 4)).flatmap(
    lambda size: st.lists(st.integers(0, 3), min_size=3 * size[0] * size[1], max_size=3 * size[0] * size[1]).map(
        lambda numbers: np.array(numbers).reshape(*size, 3)
    )
)


@settings(max_examples=60)
@given(COUNTS.filter(lambda counts: counts.sum() > 0))
def test_an_interval_holds_its_share_and_mirrors_with_the_arms(counts) -> None:
    weights = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0.5, 0]])
    win, tie, loss, preferred = intervals(counts, weights, "x")
    for share, low, high in (win, tie, loss, preferred):
        assert 0 <= low <= high <= 1
        assert 0 <= share <= 1
    assert win[0] + tie[0] + loss[0] == pytest.approx(1)
    assert preferred[0] == pytest.approx(win[0] + tie[0] / 2)
    other = intervals(counts[..., ::-1], weights, "x")
    assert other[0] == pytest.approx(loss)
    assert other[3] == pytest.approx((1 - preferred[0], 1 - preferred[2], 1 - preferred[1]))


@settings(max_examples=20)
@given(COUNTS.filter(lambda counts: counts.sum() > 0))
def test_twice_the_same_votes_are_no_more_evidence(counts) -> None:
    twice, once = (intervals(times * counts, PREFERRED, "x")[0] for times in (2, 1))
    assert twice == pytest.approx(once)


def test_more_prompts_and_raters_narrow_an_interval() -> None:
    random = np.random.default_rng(4)
    widths = []
    for prompts, raters in ((10, 6), (60, 6), (60, 30)):
        found = [intervals(study(random, prompts, raters, 0.2, 0.6, 0.6), PREFERRED, "x")[0] for _ in range(10)]
        widths.append(np.mean([high - low for _, low, high in found]))
    assert widths[0] > 1.1 * widths[1] > 1.1 * 1.3 * widths[2]


def test_an_outcome_that_never_came_is_not_taken_for_impossible() -> None:
    counts = np.zeros((20, 6, 3), np.int64)
    counts[..., 0] = 1
    (win, loss) = intervals(counts, np.array([[1.0, 0, 0], [0, 0, 1.0]]), "x")
    assert win == (1.0, pytest.approx(0.025 ** (1 / 20)), 1.0)
    assert loss == (0.0, 0.0, pytest.approx(1 - 0.025 ** (1 / 20)))


def test_the_same_votes_give_the_same_interval_to_the_last_bit() -> None:
    counts = study(np.random.default_rng(5), 9, 4, 0.2, 0.6, 0.6)
    assert intervals(counts, WINS, "x") == intervals(counts.copy(), WINS, "x")
