"""Inner products whose bits do not depend on how rows are grouped, nor on their order, nor on the other rows.

A float sum depends on its order, and BLAS may take one order inside of a block and another at its edge: OpenBLAS does on
common processors, MKL does not. So every block has the same shape, and whether all places of it are summed alike is tried
out on this machine first. Where they are not, a sum that is exact takes twice the time: both sides are rounded to multiples
of 2^-26, of lengths about 1, so that every product and every sum of some of them is a multiple of 2^-52 below 2, which
float64 holds.
"""

import numpy as np
import torch
from numpy.typing import NDArray

GRID = 26
"""Binary digits after the point in exact sums; they move an inner product by about 6e-9, less than float32 does."""

WIDTH = 64
"""Targets a block, filled up with zeros: how many there are changes no bit of any of them."""

NUMBERS = 1 << 18
"""Of the features in a block: what a processor's own cache holds."""

LONG = 8192
"""Numbers of the longest projected feature (gradients.dim)."""

TRIALS = 16
"""Two orders of summing give the same float32 in about one of three; in all of these by accident in none of millions."""


class Product:
    """Inner products of features with fixed targets. Any number of threads may use it."""

    def __init__(self, targets: NDArray[np.float64], exact: bool) -> None:
        """targets: float64 [Q, D], of any lengths. exact: sums in float64, without an error that an order could change."""
        self.exact = exact
        self.count, self.dim = targets.shape
        self.rows = max(1, NUMBERS // self.dim)
        # Brought to lengths between 0.6 and 1.25 by powers of two, which change no digit.
        exponents = np.frexp(np.linalg.norm(targets, axis=1, keepdims=True) / 1.25)[1]
        self.scales = np.ldexp(1.0, exponents).astype(np.float32)
        tiles = np.zeros((-(-self.count // WIDTH) * WIDTH, self.dim))
        tiles[: self.count] = snapped(targets / self.scales, GRID)
        self.dtype = torch.float64 if exact else torch.float32
        self.tiles = torch.from_numpy(tiles).to(self.dtype).split(WIDTH)

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [N, D] of length 1 -> float32 [Q, N]."""
        block = torch.zeros(self.rows, self.dim, dtype=self.dtype)
        values = block.numpy()
        result = np.empty((self.count, len(features)), np.float32)
        for first in range(0, len(features), self.rows):
            part = features[first : first + self.rows]
            if self.exact:
                snapped(part, GRID, out=values[: len(part)])
            else:
                values[: len(part)] = part
            for n, tile in enumerate(self.tiles):
                out = result[n * WIDTH : (n + 1) * WIDTH, first : first + len(part)]
                out[...] = torch.mm(tile, block.T).numpy()[: len(out), : len(part)]
        result *= self.scales
        return result


def fastest_product(targets: NDArray[np.float64]) -> Product:
    """In float32 if this machine sums alike in all places of a block, else exact, as for whole gradients."""
    dim = targets.shape[1]
    return Product(targets, exact=dim > LONG or not sums_alike(dim))


def sums_alike(dim: int) -> bool:
    """Whether a float32 product, of the shape that Product has for features of this length, gives equal rows and columns
    equal results; with this thread's torch threads."""
    draws = np.random.default_rng(0)
    for _ in range(TRIALS):
        row, target = draws.standard_normal((2, dim))
        product = Product(np.tile(target, (WIDTH, 1)), exact=False)
        if np.ptp(product(np.tile(row.astype(np.float32), (product.rows, 1)))):
            return False
    return True


class Covariance:
    """F^T F of features of length 1 that come block by block; exact, and so the same in whatever order they come."""

    # Products of numbers with 18 binary digits have 36: 2^17 of them add up exactly in float64, and 2^27 in int64.
    digits, rows = 18, 1 << 12

    def __init__(self, dim: int) -> None:
        self.total = np.zeros((dim, dim), np.int64)
        self.count = 0

    def add(self, features: NDArray[np.float32]) -> None:
        """float32 [N, D]."""
        for first in range(0, len(features), self.rows):
            wide = snapped(features[first : first + self.rows], self.digits)
            self.total += np.ldexp(wide.T @ wide, 2 * self.digits).astype(np.int64)
            self.count += len(wide)

    def sum(self) -> NDArray[np.float64]:
        """float64 [D, D]."""
        return np.ldexp(self.total.astype(np.float64), -2 * self.digits)


def snapped(values: NDArray[np.floating], digits: int, out: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Values below 2^20 as float64, rounded to multiples of 2^-digits; into `out` if given."""
    out = np.empty(values.shape) if out is None else out
    # Where float64 has no finer digits than these, adding a number rounds to them.
    coarse = 1.5 * 2.0 ** (52 - digits)
    out[...] = values
    out += coarse
    out -= coarse
    return out
