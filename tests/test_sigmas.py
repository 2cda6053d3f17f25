import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motive.sigmas import shifted, spread_sigmas

SHIFTS = st.floats(0.25, 12)


def place(sigma: float, shift: float) -> float:
    """The share of the schedule at which a noise level lies: `shifted` solved for u."""
    return sigma / (shift - (shift - 1) * sigma)


def test_the_first_noise_level_is_about_the_papers() -> None:
    assert spread_sigmas(1) == (0.75,)
    assert spread_sigmas(4) == pytest.approx((3 / 4, 1 / 2, 9 / 10, 3 / 10))


@given(st.integers(1, 300), SHIFTS)
def test_noise_levels_are_distinct_and_inside_the_schedule(count, shift) -> None:
    sigmas = spread_sigmas(count, shift)
    assert len(set(sigmas)) == len(sigmas) == count
    assert 0 < min(sigmas) <= max(sigmas) < 1


@given(st.integers(0, 100), st.integers(0, 100), SHIFTS)
def test_fewer_noise_levels_are_the_first_of_more(fewer, more, shift) -> None:
    assert spread_sigmas(fewer + more, shift)[:fewer] == spread_sigmas(fewer, shift)


@pytest.mark.parametrize("power", range(1, 9))
@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0])
def test_one_less_than_a_power_of_two_of_them_fill_the_schedule_evenly(power, shift) -> None:
    sigmas = spread_sigmas(2**9, shift)[: 2**power - 1]
    places = sorted(place(sigma, shift) for sigma in sigmas)
    assert places == pytest.approx([k / 2**power for k in range(1, 2**power)])


@given(st.integers(1, 300))
def test_any_number_of_them_leaves_no_gap_twice_as_wide_as_need_be(count) -> None:
    places = sorted([0.0, *(place(sigma, 3.0) for sigma in spread_sigmas(count)), 1.0])
    assert np.diff(places).max() < 2 / (count + 1) + 1e-9


@given(st.floats(0, 1), SHIFTS)
def test_a_shift_moves_the_schedule_and_keeps_its_ends(u, shift) -> None:
    assert shifted(u, 1.0) == u
    assert (shifted(0.0, shift), shifted(1.0, shift)) == (0, pytest.approx(1))
    assert place(shifted(u, shift), shift) == pytest.approx(u)
    assert shifted(u, shift + 1) >= shifted(u, shift) - 1e-12
