"""A score's bits depend on its clip and its query alone."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from motive.attribution import product
from motive.attribution.product import GRID, Covariance, Product, fastest_product, snapped, sums_alike


def unit(count: int, dim: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def exactly(features: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Inner products [Q, N] of both sides on the grid, in Python's integers, which have no last bit."""
    own, asked = ([[int(x) for x in np.rint(row.astype(np.float64) * 2**GRID)] for row in rows] for rows in (features, targets))
    sums = [[sum(x * y for x, y in zip(row, target, strict=True)) for row in own] for target in asked]
    return np.array([[value / 2 ** (2 * GRID) for value in row] for row in sums]).astype(np.float32)


@pytest.mark.parametrize("dim", [1, 24, 300, 512, 2048])
def test_sums_called_exact_are_those_of_integers(dim) -> None:
    features, targets = unit(9, dim, 0), unit(3, dim, 1).astype(np.float64)
    assert np.array_equal(Product(targets, exact=True)(features), exactly(features, targets))


@pytest.mark.parametrize("exact", [True, False])
def test_scores_are_right_for_targets_of_any_length(exact) -> None:
    features, targets = unit(700, 512, 0), unit(70, 512, 1).astype(np.float64)
    targets *= np.exp2(np.random.default_rng(2).uniform(-40, 40, (70, 1)))
    expected = targets @ features.T.astype(np.float64)
    assert Product(targets, exact)(features) / np.linalg.norm(targets, axis=1)[:, None] == pytest.approx(
        expected / np.linalg.norm(targets, axis=1)[:, None], abs=2e-7
    )


def test_a_query_of_zeros_scores_zero() -> None:
    assert not Product(np.zeros((2, 8)), exact=True)(unit(3, 8, 0)).any()


@hypothesis_settings(deadline=None, max_examples=30)
@given(st.data())
def test_no_bit_depends_on_other_clips_on_other_queries_or_on_their_order(data) -> None:
    """Of the product that a run takes here, and of the exact one whatever BLAS does."""
    dim = data.draw(st.sampled_from([1, 7, 24, 65, 512]))
    features, targets = unit(1100, dim, data.draw(st.integers(0, 99))), unit(67, dim, 1).astype(np.float64)
    clips = np.array(data.draw(st.lists(st.integers(0, 1099), min_size=1, max_size=600)))
    queries = np.array(data.draw(st.lists(st.integers(0, 66), min_size=1, max_size=90)))
    for exact in (True, fastest_product(targets).exact):
        whole, some = Product(targets, exact)(features), Product(targets[queries], exact)(features[clips])
        assert np.array_equal(some, whole[np.ix_(queries, clips)])


def test_threads_may_share_a_product() -> None:
    features, targets = unit(5000, 64, 0), unit(5, 64, 1).astype(np.float64)
    once = fastest_product(targets)
    with ThreadPoolExecutor(4) as threads:
        parts = list(threads.map(once, np.array_split(features, 50)))
    assert np.array_equal(np.concatenate(parts, axis=1), once(features))


def test_a_machine_whose_blas_sums_places_differently_takes_exact_sums(monkeypatch) -> None:
    """Such as OpenBLAS, imitated here: every other column is summed backward."""

    def uneven(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        whole = real(left, right)
        whole[:, ::2] = real(left.flip(1), right.flip(0))[:, ::2]
        return whole

    real = torch.mm
    targets = unit(3, 512, 1).astype(np.float64)
    monkeypatch.setattr(product.torch, "mm", uneven)
    assert not sums_alike(512)
    assert fastest_product(targets).exact
    features = unit(40, 512, 0)
    assert np.array_equal(fastest_product(targets)(features), exactly(features, targets))


def test_long_features_are_summed_exactly() -> None:
    assert fastest_product(unit(2, 10_000, 0).astype(np.float64)).exact


@hypothesis_settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 12_000), st.integers(1, 9), st.integers(0, 99))
def test_a_covariance_is_the_same_in_any_order_and_in_any_parts(dim, count, parts, seed) -> None:
    features = unit(count, dim, 0)
    order = np.random.default_rng(seed).permutation(count)
    one, other = Covariance(dim), Covariance(dim)
    one.add(features)
    for part in np.array_split(features[order], parts):
        other.add(part)
    assert np.array_equal(one.sum(), other.sum())
    assert one.count == other.count == count
    wide = features.astype(np.float64)
    assert one.sum() == pytest.approx(wide.T @ wide, abs=4e-6 * count)


@given(st.lists(st.floats(-1, 1, width=32), min_size=1), st.integers(10, 30))
def test_snapped_values_are_the_nearest_on_the_grid(values, digits) -> None:
    values = np.array(values, np.float32)
    found = snapped(values, digits)
    assert np.array_equal(found, np.rint(values.astype(np.float64) * 2.0**digits) / 2.0**digits)
