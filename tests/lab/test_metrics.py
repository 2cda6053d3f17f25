"""Scores whose worth is known beforehand get that worth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from motive.lab.counterfactual import half_subsets
from motive.lab.metrics import (
    agreement,
    datamodelling,
    learned_from_training,
    over_queries,
    ranking,
    relative,
    retrieval,
    spearman,
    times_as_good,
)

MOTIONS = ["fall", "spin", "roll", "swing"]
CLIPS, SIZE, SHARE = 200, 20, 0.1


def pool(relevant: int, seed: int = 0) -> tuple[list[str], list[str], list[str]]:
    """Motions and kinds of CLIPS clips, `relevant` of each motion and the rest static, shuffled; and 12 queries' motions."""
    motions = [motion for motion in MOTIONS for _ in range(relevant)]
    motions += ["static"] * (CLIPS - len(motions))
    shuffled = np.random.default_rng(seed).permutation(motions).tolist()
    return shuffled, ["static" if motion == "static" else "physical" for motion in shuffled], MOTIONS * 3


def perfect(motions: list[str], wanted: list[str]) -> np.ndarray:
    return (np.array(motions)[:, None] == np.array(wanted)).astype(float)


@pytest.mark.parametrize("relevant", [5, 20, 40])
def test_a_perfect_score_retrieves_all_that_there_is_room_for(relevant) -> None:
    motions, kinds, wanted = pool(relevant)
    found = retrieval(perfect(motions, wanted), motions, kinds, wanted, SHARE)
    ceiling = min(1.0, relevant / SIZE)
    assert found.precision == pytest.approx((ceiling, ceiling, ceiling))
    assert found.recall == pytest.approx([min(1.0, SIZE / relevant)] * 3)
    assert found.map == pytest.approx((1, 1, 1))
    assert found.per_motion == pytest.approx(dict.fromkeys(MOTIONS, ceiling))
    if relevant >= SIZE:
        assert found.top == {"physical": 1, "static": 0}


@pytest.mark.parametrize("relevant", [5, 20, 40])
def test_a_reversed_score_retrieves_nothing(relevant) -> None:
    motions, kinds, wanted = pool(relevant)
    found = retrieval(-perfect(motions, wanted), motions, kinds, wanted, SHARE)
    lowest = np.mean([k / (CLIPS - relevant + k) for k in range(1, relevant + 1)])
    assert found.precision == found.recall == (0, 0, 0)
    assert found.map == pytest.approx([lowest] * 3)
    assert found.per_motion == dict.fromkeys(MOTIONS, 0)
    if relevant >= SIZE:
        assert found.bottom == {"physical": 1, "static": 0}


def test_random_scores_retrieve_as_much_as_chance() -> None:
    draw = np.random.default_rng(1)
    motions, kinds, wanted = pool(30)
    precisions, recalls, tops, inside = [], [], [], 0
    for _ in range(40):
        found = retrieval(draw.random((CLIPS, len(wanted))), motions, kinds, wanted, SHARE)
        inside += (found.precision[1] <= 30 / CLIPS <= found.precision[2]) + (found.recall[1] <= SHARE <= found.recall[2])
        precisions.append(found.precision[0])
        recalls.append(found.recall[0])
        tops.append(found.top["physical"])
    assert np.mean(precisions) == pytest.approx(30 / CLIPS, abs=0.02)
    assert np.mean(recalls) == pytest.approx(SHARE, abs=0.013)
    assert np.mean(tops) == pytest.approx(4 * 30 / CLIPS, abs=0.03)
    assert inside >= 0.8 * 80


def test_retrieval_counted_by_hand() -> None:
    """Ranked for query 0: b a d c e; for query 1: e c d b a."""
    scores = np.array([[4, 1], [5, 2], [2, 4], [3, 3], [1, 5]], float)
    motions, kinds = ["fall", "spin", "fall", "spin", "static"], ["physical"] * 4 + ["static"]
    found = retrieval(scores, motions, kinds, ["fall", "spin"], share=0.4)
    assert found.precision[0] == pytest.approx((1 / 2 + 0) / 2)
    assert found.recall[0] == pytest.approx((1 / 2 + 0) / 2)
    assert found.map[0] == pytest.approx(((1 / 2 + 2 / 4) / 2 + (1 / 3 + 2 / 4) / 2) / 2)
    assert found.per_motion == {"fall": 0.5, "spin": 0}
    assert found.top == {"physical": 0.75, "static": 0.25}
    assert found.bottom == {"physical": 0.75, "static": 0.25}


def test_at_least_one_clip_is_retrieved() -> None:
    motions, kinds, wanted = pool(20)
    assert retrieval(perfect(motions, wanted), motions, kinds, wanted, 0.0001).precision == (1, 1, 1)


ROUNDED = st.integers(-6, 6).map(lambda x: x / 4)
"""Few values, so that ties are common; exact in binary."""
matrices = hnp.arrays(np.float64, st.tuples(st.integers(1, 20), st.integers(1, 4)), elements=ROUNDED)


@hypothesis_settings(deadline=None)
@given(matrices)
def test_clips_are_ranked_best_first_and_ties_keep_the_pools_order(scores) -> None:
    order = ranking(scores)
    for q in range(scores.shape[1]):
        assert order[:, q].tolist() == sorted(range(len(scores)), key=lambda n: (-scores[n, q], n))


def test_a_score_that_says_nothing_gets_the_first_clips_of_the_pool() -> None:
    motions, kinds, wanted = pool(20)
    found = retrieval(np.zeros((CLIPS, len(wanted))), motions, kinds, wanted, SHARE)
    assert found.per_motion == pytest.approx({motion: motions[:SIZE].count(motion) / SIZE for motion in MOTIONS})


def slow_spearman(a: list[float], b: list[float]) -> float:
    def ranks(values: list[float]) -> list[float]:
        return [sum(other < one for other in values) + sum(other == one for other in values) / 2 for one in values]

    x, y = ranks(a), ranks(b)
    x, y = [v - sum(x) / len(x) for v in x], [v - sum(y) / len(y) for v in y]
    squares = sum(v * v for v in x) * sum(v * v for v in y)
    return sum(v * w for v, w in zip(x, y, strict=True)) / math.sqrt(squares) if squares else 0.0


numbers = ROUNDED | st.floats(-1e300, 1e300)
pairs = st.integers(2, 30).flatmap(lambda size: st.tuples(*[st.lists(numbers, min_size=size, max_size=size)] * 2))


@hypothesis_settings(deadline=None, max_examples=200)
@given(pairs)
def test_spearman_is_that_of_ranks_found_by_counting(pair) -> None:
    assert spearman(*map(np.array, pair)) == pytest.approx(slow_spearman(*pair), abs=1e-12)


@hypothesis_settings(deadline=None)
@given(st.lists(st.integers(-50, 50), min_size=2, max_size=20).filter(lambda values: len(set(values)) > 1))
def test_spearman_sees_the_order_alone(values) -> None:
    straight = np.array(values, float)
    assert spearman(straight, np.exp(straight / 10)) == pytest.approx(1)
    assert spearman(straight, -(straight**3)) == pytest.approx(-1)


def test_a_constant_has_no_rank_correlation_with_anything() -> None:
    assert spearman(np.ones(5), np.arange(5)) == 0


def test_scores_that_are_the_same_for_every_query_predict_nothing() -> None:
    rng = np.random.default_rng(0)
    subsets, losses = rng.uniform(size=(32, 60)) < 0.5, rng.normal(size=(32, 8))
    scores = np.repeat(rng.normal(size=(60, 1)), 8, axis=1)
    assert datamodelling(scores, subsets, relative(np.exp(losses), np.ones(8))) == (0.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def runs() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scores [60, 8], random halves [40, 60], base losses [8], and the losses [40, 8] that these scores generate."""
    draw = np.random.default_rng(2)
    scores = draw.normal(size=(60, 8)) / 60
    subsets = np.array([draw.permutation(60) < 30 for _ in range(40)])
    base = draw.uniform(0.5, 2, 8)
    return scores, subsets, base, base * np.exp(-(subsets @ scores))


def test_scores_that_generated_the_losses_have_datamodelling_score_one(runs) -> None:
    scores, subsets, base, losses = runs
    assert datamodelling(scores, subsets, relative(losses, base)) == pytest.approx((1, 1, 1))
    assert datamodelling(-scores, subsets, relative(losses, base)) == pytest.approx((-1, -1, -1))


def test_random_scores_have_datamodelling_score_zero(runs) -> None:
    scores, subsets, base, losses = runs
    others = [np.random.default_rng(seed).normal(size=scores.shape) for seed in range(3, 7)]
    found = [datamodelling(other, subsets, relative(losses, base)) for other in others]
    assert abs(np.mean([mean for mean, _, _ in found])) < 0.1
    for mean, low, high in found:
        assert abs(mean) < 0.25
        assert low < 0 < high


def test_what_a_run_does_to_all_queries_alike_counts_neither_in_losses_nor_in_scores(runs) -> None:
    scores, subsets, base, losses = runs
    noisy = scores + np.random.default_rng(5).normal(size=scores.shape) / 60
    plain = datamodelling(noisy, subsets, relative(losses, base))
    draw = np.random.default_rng(3)
    lucky_runs = losses * draw.uniform(0.1, 10, (len(losses), 1))
    assert datamodelling(noisy, subsets, relative(lucky_runs, base)) == pytest.approx(plain)
    good_clips = noisy + draw.normal(size=(len(scores), 1))
    assert datamodelling(good_clips, subsets, relative(losses, base)) == pytest.approx(plain)
    assert 0.4 < plain[0] < 0.9


def test_losses_that_follow_the_shares_of_kinds_are_learned_from_each_other_and_noise_is_not() -> None:
    draw = np.random.default_rng(0)
    kinds = [f"kind{n % 5}" for n in range(100)]
    subsets = half_subsets(kinds, 32, seed=0)
    shares = np.array([[kind == f"kind{n}" for n in range(5)] for kind in kinds], float)
    losses = (subsets @ shares) @ draw.normal(size=(5, 8))
    assert learned_from_training(subsets, kinds, losses)[0] > 0.98
    assert learned_from_training(subsets, kinds, draw.normal(size=(32, 8)))[0] < 0.1


def test_how_many_times_as_good_one_score_is_as_another_comes_from_the_same_subsets_and_queries(runs) -> None:
    scores, subsets, base, losses = runs
    change = relative(losses, base)
    assert times_as_good(scores, scores, subsets, change) == (1, 1, 1)
    noisy = scores + np.random.default_rng(5).normal(size=scores.shape) / 60
    mean, low, high = datamodelling(noisy, subsets, change)
    assert times_as_good(scores, noisy, subsets, change) == pytest.approx((1 / mean, 1 / high, 1 / low))


def test_every_run_is_judged_by_its_own_subset(runs) -> None:
    scores, subsets, base, losses = runs
    order = np.random.default_rng(4).permutation(len(subsets))
    there = datamodelling(scores, subsets[order], relative(losses[order], base))
    assert there == pytest.approx((1, 1, 1))
    assert datamodelling(scores, subsets[order], relative(losses, base))[0] < 0.5


def test_relative_losses_are_free_of_what_a_run_or_a_query_has_in_common() -> None:
    draw = np.random.default_rng(0)
    change = draw.normal(size=(6, 5))
    change -= change.mean(axis=1, keepdims=True)
    base = draw.uniform(0.1, 10, 5)
    losses = base * np.exp(change) * draw.uniform(0.1, 10, (6, 1))
    assert relative(losses, base) == pytest.approx(change)
    assert relative(3 * losses, base) == pytest.approx(relative(losses, 7 * base))
    assert relative(np.outer(draw.uniform(1, 2, 6), base), base) == pytest.approx(np.zeros((6, 5)))


def test_a_matrix_agrees_with_itself_and_disagrees_with_its_negative() -> None:
    matrix = np.random.default_rng(0).normal(size=(30, 6))
    assert agreement(matrix, matrix) == pytest.approx((1, 1, 1))
    assert agreement(matrix, np.exp(matrix)) == pytest.approx((1, 1, 1))
    assert agreement(matrix, -matrix) == pytest.approx((-1, -1, -1))


def test_agreement_is_the_mean_over_queries_with_an_interval_around_it() -> None:
    draw = np.random.default_rng(1)
    for noise in (0.3, 1.0, 3.0):
        first = draw.normal(size=(30, 6))
        second = first + noise * draw.normal(size=first.shape)
        mean, low, high = agreement(first, second)
        assert mean == pytest.approx(
            np.mean([slow_spearman(*columns) for columns in zip(first.T.tolist(), second.T.tolist(), strict=True)])
        )
        assert low < mean < high
        assert agreement(first, second) == (mean, low, high)


def test_an_interval_of_agreement_tells_of_other_subsets_and_of_other_queries() -> None:
    """Of one query, it is that of a rank correlation; of queries that agree or disagree wholly, that of a coin's mean."""
    draw = np.random.default_rng(2)
    first = draw.normal(size=(50, 1))
    mean, low, high = agreement(first, first + draw.normal(size=first.shape))
    expected = 2 * 1.96 * (1 - mean**2) / np.sqrt(50)
    assert 0.7 * expected < high - low < 1.5 * expected
    same = draw.normal(size=(20, 16))
    mean, low, high = agreement(same, same * np.resize([1, -1], 16))
    assert mean == pytest.approx(0)
    assert high - low == pytest.approx(2 * 1.96 / np.sqrt(16), rel=0.15)


@hypothesis_settings(deadline=None, max_examples=50)
@given(hnp.arrays(np.float64, st.integers(2, 40), elements=st.floats(-10, 10)))
def test_an_interval_holds_its_mean_and_comes_out_the_same_again(values) -> None:
    mean, low, high = over_queries(values)
    assert mean == pytest.approx(values.mean())
    assert low - 1e-9 <= mean <= high + 1e-9
    assert values.min() - 1e-9 <= low
    assert high <= values.max() + 1e-9
    assert over_queries(values) == (mean, low, high)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    draw = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        _, low, high = over_queries(draw.normal(3, 2, 30))
        covered += low <= 3 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_an_interval_is_as_wide_as_the_standard_error_makes_it() -> None:
    values = np.random.default_rng(0).normal(size=400)
    mean, low, high = over_queries(values)
    error = values.std() / 20
    assert (low, high) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=0.15 * error)
