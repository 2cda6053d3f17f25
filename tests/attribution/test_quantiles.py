"""Counting in two passes gives the very numbers that sorting all scores gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from motive.attribution.quantiles import (
    Counts,
    between,
    from_sortable,
    locate,
    order_statistics,
    ranks_of_quantile,
    sortable,
)

numbers = st.one_of(
    st.floats(width=32, allow_nan=False),
    st.floats(-1, 1, width=16).map(lambda x: round(x, 1)),  # so that ties are common
)
scores = hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 60)), elements=numbers)


def statistics(parts: list[np.ndarray], ranks: list[int]) -> np.ndarray:
    """Order statistics [Q, R] of parts [Q, some] that are counted each on its own, and the counts added up."""

    def counted(inside: np.ndarray | None) -> Counts:
        whole = Counts.of(len(parts[0]), inside)
        for part in parts:
            one = Counts.of(len(part), inside)
            for query, row in enumerate(part):
                one.add(query, row)
            whole = whole + one
        return whole

    places = locate(counted(None), ranks)
    return order_statistics(places, counted(places.bins))


@hypothesis_settings(deadline=None)
@given(scores, st.data())
def test_every_rank_is_found_however_the_scores_are_parted_and_ordered(scores, data) -> None:
    count = scores.shape[1]
    ranks = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=4))
    order = data.draw(st.permutations(range(count)))
    parts = np.array_split(scores[:, order], data.draw(st.integers(1, 4)), axis=1)
    assert np.array_equal(statistics(parts, ranks), np.sort(scores, axis=1)[:, ranks])


@hypothesis_settings(deadline=None)
@given(scores, st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.1, 0.34, 0.5, 0.9, 1.0])))
def test_quantiles_are_numpys_to_the_bit(scores, share) -> None:
    low, high, weight = ranks_of_quantile(scores.shape[1], share)
    scores = np.nan_to_num(scores)
    found = statistics([scores], [low, high])
    expected = np.quantile(scores.astype(np.float64), share, axis=1)
    assert np.array_equal(between(found[:, 0], found[:, 1], weight), expected)


@given(hnp.arrays(np.float32, st.integers(2, 50), elements=st.floats(width=32, allow_nan=False)))
def test_integers_sort_as_their_numbers_do(values) -> None:
    keys = sortable(values)
    assert np.array_equal(from_sortable(keys), values)
    assert np.array_equal(keys[:, None] < keys, values[:, None] < values)


def test_both_zeros_are_one_number() -> None:
    assert np.unique(sortable(np.array([0.0, -0.0], np.float32))).size == 1


@pytest.mark.parametrize("count", [300_000])
def test_all_scores_in_one_bin_are_counted_too(count) -> None:
    values = np.float32(0.5) + np.random.default_rng(0).integers(0, 40, (1, count)).astype(np.float32) * np.float32(2**-24)
    values[0, ::3] = 0.5
    ranks = [0, count // 3, count // 2, count - 1]
    assert np.array_equal(statistics([values], ranks), np.sort(values, axis=1)[:, ranks])
