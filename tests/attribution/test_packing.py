import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from motive.attribution.packing import layout, pack, unpack

features = hnp.arrays(np.float32, st.integers(1, 40), elements=st.floats(-100, 100, width=32))
PRECISIONS = ("float32", "float16", "int8")


@given(features, st.sampled_from(PRECISIONS))
def test_a_feature_comes_back_to_the_rounding_of_its_precision(feature, precision) -> None:
    raw = pack(feature, precision)
    assert len(raw) == layout(precision, len(feature)).itemsize
    (back,) = unpack(raw, precision, len(feature))
    assert back.dtype == np.float32
    # float16 also has a smallest step, 6e-8; int8's step is the largest number's 127th part.
    limit = {"float32": 0, "float16": 1e-3 * abs(feature) + 6e-8, "int8": abs(feature).max() / 127 * 0.5001 + 1e-37}
    assert (abs(back - feature) <= limit[precision]).all()


@given(st.integers(0, 4), st.sampled_from(PRECISIONS))
def test_rows_lie_one_after_the_other(count, precision) -> None:
    rows = np.random.default_rng(count).normal(size=(count, 7)).astype(np.float32)
    together = unpack(b"".join(pack(row, precision) for row in rows), precision, 7)
    assert together.shape == (count, 7)
    for row, found in zip(rows, together, strict=True):
        assert (unpack(pack(row, precision), precision, 7)[0] == found).all()


@pytest.mark.parametrize(("precision", "bytes_"), [("float32", 8192), ("float16", 4096), ("int8", 2052)])
def test_a_row_takes_the_bytes_it_should(precision, bytes_) -> None:
    assert layout(precision, 2048).itemsize == bytes_


@pytest.mark.parametrize(("precision", "limit"), [("float16", 6e-5), ("int8", 2e-3)])
def test_a_cosine_moves_far_less_than_the_projection_moves_it(precision, limit) -> None:
    """1 / sqrt(2048) = 0.022 is the projection's own error; the limits are those that the settings' page states."""
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(300, 2048)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    kept = unpack(b"".join(pack(row, precision) for row in rows), precision, 2048).astype(np.float64)
    moved = abs(kept @ kept.T - rows.astype(np.float64) @ rows.T.astype(np.float64))
    assert moved.max() < limit
