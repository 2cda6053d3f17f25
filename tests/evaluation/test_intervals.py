"""Intervals hold the truth as often as they say, and p is even where nothing differs."""

import numpy as np
import pytest

from motive.evaluation.intervals import Measured, compare, interval, sign_flip


def simulated(draw, prompts: int, trainings: int, seeds: int, spread=(1.0, 0.0, 0.0, 1.0)) -> Measured:
    """Mean 0; spread: of prompts, trainings, prompts within trainings, and single samples."""
    p, t, s = (axis.ravel() for axis in np.meshgrid(range(prompts), range(trainings), range(seeds), indexing="ij"))
    of_prompt, of_training, of_both, of_one = spread
    value = of_prompt * draw.normal(size=prompts)[p] + of_training * draw.normal(size=trainings)[t]
    value += of_both * draw.normal(size=(prompts, trainings))[p, t] + of_one * draw.normal(size=len(p))
    return Measured(value, p, t, s)


@pytest.mark.parametrize(
    ("shape", "spread"),
    [
        ((30, 1, 1), (1, 0, 0, 0)),
        ((20, 1, 3), (1, 0, 0, 1)),
        ((10, 1, 2), (1, 0, 0, 1)),
        ((20, 3, 2), (1, 0.3, 0.5, 1)),
    ],
)
def test_an_interval_holds_the_truth_19_times_in_20(shape, spread) -> None:
    draw, held = np.random.default_rng(1), []
    for n in range(300):
        seen = interval(simulated(draw, *shape, spread), str(n), resamples=300)
        held.append(seen.low <= 0 <= seen.high)
    # Three standard errors of 300 trials below 95 %; too wide is no harm.
    assert np.mean(held) > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 300)


@pytest.mark.parametrize("prompts", [8, 25])
def test_p_is_even_where_nothing_differs(prompts) -> None:
    """Below any level at most as often as the level says."""
    draw = np.random.default_rng(2)
    found = np.array([sign_flip(simulated(draw, prompts, 1, 3), str(n), resamples=400) for n in range(400)])
    for level in (0.05, 0.1, 0.25, 0.5, 0.75):
        assert abs((found <= level).mean() - level) < 3.5 * np.sqrt(level * (1 - level) / 400) + 2 / 2**prompts


def test_a_difference_that_is_there_is_found() -> None:
    draw = np.random.default_rng(3)
    noise = simulated(draw, 20, 1, 2)
    seen = compare(Measured(noise.value + 2, noise.prompt, noise.training, noise.seed))
    assert seen.p < 0.001
    assert seen.difference.low > 0
    assert seen.difference.n == 40


def test_p_of_few_prompts_is_exact() -> None:
    ones = Measured(np.ones(5), np.arange(5), np.zeros(5, int), np.zeros(5, int))
    assert sign_flip(ones) == 2 / 2**5
    assert sign_flip(Measured(np.zeros(5), *(np.arange(5),) * 3)) == 1
    # Samples of one prompt are not independent: ten times the same prompt gives no smaller p.
    many = Measured(np.ones(50), np.repeat(np.arange(5), 10), np.zeros(50, int), np.tile(np.arange(10), 5))
    assert sign_flip(many) == 2 / 2**5


def test_of_a_single_video_there_is_no_interval() -> None:
    one = interval(Measured(np.array([3.0]), np.array([0]), np.array([0]), np.array([0])))
    assert (one.mean, one.low, one.high, one.n) == (3.0, None, None, 1)


def test_a_share_that_is_always_the_same_still_has_an_interval() -> None:
    always = Measured(np.ones(20), np.arange(20), np.zeros(20, int), np.zeros(20, int))
    seen = interval(always, share=True)
    assert (seen.mean, seen.high) == (1.0, 1.0)
    assert seen.low == pytest.approx(0.025 ** (1 / 20))
    assert interval(always).low == 1


def test_numbers_do_not_depend_on_the_order_of_samples() -> None:
    seen = simulated(np.random.default_rng(4), 6, 2, 2)
    turned = Measured(*(column[::-1] for column in (seen.value, seen.prompt, seen.training, seen.seed)))
    first, second = interval(seen, "x"), interval(turned, "x")
    assert (first.low, first.high) == pytest.approx((second.low, second.high))
