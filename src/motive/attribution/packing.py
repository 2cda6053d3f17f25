"""How a feature is kept: the bytes of one row of a store's `feature` column.

    float32, float16    D' numbers
    int8                a float32 scale, then the D' numbers between -127 and 127 that it multiplies

All little-endian. `np.frombuffer(row, layout(precision, dim))` reads one.
"""

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

Precision = Literal["float32", "float16", "int8"]

NUMBERS = {"float32": "<f4", "float16": "<f2", "int8": "i1"}


def layout(precision: Precision, dim: int) -> np.dtype[Any]:
    """The bytes of one feature as a NumPy record: `numbers` [dim], and a `scale` before them if they are int8."""
    scale = [("scale", "<f4")] if precision == "int8" else []
    return np.dtype([*scale, ("numbers", NUMBERS[precision], (dim,))])


def pack(feature: NDArray[np.float32], precision: Precision) -> bytes:
    """One finite feature, float32 [dim], as bytes."""
    return pack_rows(feature[None], precision).tobytes()


def pack_rows(features: NDArray[np.float32], precision: Precision) -> NDArray[np.uint8]:
    """Finite features, float32 [rows, dim], as uint8 [rows, bytes of one]; no copy if they are kept as they are."""
    rows, dim = features.shape
    if precision != "int8":
        numbers = np.ascontiguousarray(features, NUMBERS[precision])
        return numbers.view(np.uint8).reshape(rows, layout(precision, dim).itemsize)
    records = np.zeros(rows, layout(precision, dim))
    # The smallest normal float32 at least, so that a feature of zeros divides by something.
    largest = np.abs(features).max(axis=1, initial=0).astype(np.float64)
    records["scale"] = np.maximum(largest / 127, np.finfo(np.float32).tiny)
    records["numbers"] = np.rint(features / records["scale"][:, None])
    return records.view(np.uint8).reshape(rows, records.itemsize)


def unpack(raw: Any, precision: Precision, dim: int) -> NDArray[np.float32]:
    """Features float32 [rows, dim] from a buffer of rows as `pack` makes them; no copy, and read-only, if they are float32."""
    records = np.frombuffer(raw, layout(precision, dim))
    if precision == "float16":
        # NumPy takes twenty times as long for it as torch.
        return np.asarray(torch.from_numpy(records["numbers"].copy()).float())
    numbers = records["numbers"].astype(np.float32, copy=False)
    return numbers * records["scale"][:, None] if precision == "int8" else numbers
