"""Projectors: linear maps from the gradient of all parameters to a short feature (METHOD.md 2.6).

Each is a function of a seed alone. A gradient arrives parameter by parameter, in any order, and is added to an
accumulator; `finish` turns the accumulator into the feature. No projector stores anything of the gradient's size.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from motive.errors import ConfigError
from motive.seeds import stream

PROJECTION_VERSION = 1
"""Raised whenever the same seed and name would give another projection; part of every store's fingerprint."""

ProjectorName = Literal["fastfood", "gaussian", "exact"]


class Projector(Protocol):
    """P, as a sum over parameters: P g = finish(sum over names of add(name, g_name)).

    Accumulators and gradients may have leading axes, the same ones: several gradients, each projected on its own.
    """

    dim: int
    """Length of a feature, D'."""
    width: int
    """Length of the float32 accumulator that `add` fills."""

    def add(self, accumulator: Tensor, name: str, gradient: Tensor) -> None:
        """Add parameter `name`'s part to `accumulator` [..., width]; linear in `gradient` [..., any shape], of any dtype."""
        ...

    def finish(self, accumulator: Tensor) -> Tensor:
        """The feature P g, float32 [..., dim], of an accumulator."""
        ...


class Fastfood:
    """P = 1 / (xi sqrt(D')) S H G Pi H B over blocks of the gradient, summed before the one transform.

    Every parameter is cut into blocks of L = 2^16. S, H, G, Pi are shared by all blocks and P is linear, so the blocks can
    be added up first: y = sum over blocks of r * roll(B * g_block, c), with a sign r and a cyclic shift c drawn for each
    (parameter, block). Without the shift, columns of a power-of-two-wide weight would fall on top of each other in every
    block. Then one Fastfood (Le, Sarlos, Smola 2013) of y gives D' rows: H G Pi H with G Gaussian makes rows that are
    Gaussian in distribution, S gives them a Gaussian row's length, and 1 / sqrt(D') makes <P a, P b> unbiased for <a, b>,
    with the error 1 / sqrt(D') of a cosine that a dense Gaussian matrix has.
    """

    block = 1 << 16

    def __init__(self, dim: int, seed: int, device: torch.device) -> None:
        if not 1 <= dim <= self.block // 8:
            raise ConfigError(f"gradients.dim is {dim}; fastfood gives 1 to {self.block // 8} dimensions")
        self.dim, self.seed = dim, seed
        # Blocks at once: few enough for a core's cache, or enough to be worth a kernel.
        self.chunk, self._add_chunk = (8, self._add_blocks) if device.type == "cpu" else (64, self._gather_blocks)
        # Twice a block: a shifted block is added where it falls, and `finish` folds the overhang back.
        self.width = 2 * self.block
        self._layouts: dict[str, _Layout] = {}
        self._tables: dict[_Layout, Tensor] = {}
        draw = stream(seed, "fastfood", PROJECTION_VERSION)
        length = self.block
        self.signs = _signs(draw, length).to(device)
        self.permutation = torch.from_numpy(draw.permutation(length)).to(device)
        gaussian = draw.standard_normal(length)
        rows = np.sqrt(draw.chisquare(length, dim)) / np.linalg.norm(gaussian)
        self.gaussian = torch.from_numpy(gaussian.astype(np.float32)).to(device)
        # H is unnormalised: the first one lengthens what it meets by sqrt(L), which is taken back here.
        self.rows = torch.from_numpy((rows / np.sqrt(length * dim)).astype(np.float32)).to(device)
        self.hadamard = _hadamard(256).to(device)

    def add(self, accumulator: Tensor, name: str, gradient: Tensor) -> None:
        flat = _flat(gradient, accumulator)
        size = flat.shape[-1]
        layout = self._layout(name, -(-size // self.block))
        whole = size // self.block
        for first in range(0, whole, self.chunk):
            some = slice(first, min(first + self.chunk, whole))
            blocks = flat[..., some.start * self.block : some.stop * self.block].float().unflatten(-1, (-1, self.block))
            self._add_chunk(accumulator, blocks, layout, some)
        if whole < len(layout.shifts):
            rest, shift = flat[..., whole * self.block :].float(), layout.shifts[whole]
            length = rest.shape[-1]
            accumulator[..., shift : shift + length].addcmul_(rest, self.signs[:length], value=layout.signs[whole])

    def _add_blocks(self, accumulator: Tensor, blocks: Tensor, layout: "_Layout", some: slice) -> None:
        """One block after the other: a block and the accumulator fit into a core's cache."""
        places = accumulator.unfold(-1, self.block, 1)
        torch._foreach_addcmul_(
            [places.select(-2, shift) for shift in layout.shifts[some]],
            list(blocks.unbind(-2)),
            [self.signs.expand_as(blocks.select(-2, 0))] * blocks.shape[-2],
            layout.signs[some],
        )

    def _gather_blocks(self, accumulator: Tensor, blocks: Tensor, layout: "_Layout", some: slice) -> None:
        """The same sum, in one fixed order, with the shifts undone by one gather: a few large kernels and no wait for the
        device, where a block each would be tens of thousands of small kernels a clip."""
        signs, shifts = self._table(layout)[:, some]
        source = ((torch.arange(self.block, device=blocks.device) - shifts[:, None]) % self.block).expand_as(blocks)
        accumulator[..., : self.block] += signs.float() @ (blocks * self.signs).gather(-1, source)

    def finish(self, accumulator: Tensor) -> Tensor:
        y = accumulator[..., : self.block] + accumulator[..., self.block :]
        y = self._transform(y)[..., self.permutation] * self.gaussian
        return self._transform(y)[..., : self.dim] * self.rows

    def _transform(self, y: Tensor) -> Tensor:
        """H y, the Walsh-Hadamard transform: H of 2^16 is H256 (x) H256, two products of 256 x 256 matrices."""
        return (self.hadamard @ y.unflatten(-1, (256, 256)) @ self.hadamard).flatten(-2)

    def _layout(self, name: str, blocks: int) -> "_Layout":
        if name not in self._layouts or len(self._layouts[name].shifts) != blocks:
            words = stream(self.seed, "fastfood", PROJECTION_VERSION, "blocks", name).integers(0, 2 * self.block, blocks)
            signs, shifts = 1 - 2 * (words & 1), words >> 1
            self._layouts[name] = _Layout(signs.astype(float).tolist(), shifts.tolist())
        return self._layouts[name]

    def _table(self, layout: "_Layout") -> Tensor:
        """`layout` as int64 [2, blocks] on the device, put there once."""
        if layout not in self._tables:
            self._tables[layout] = torch.tensor([layout.signs, layout.shifts], device=self.signs.device).long()
        return self._tables[layout]


@dataclass(frozen=True, eq=False)
class _Layout:
    """Sign and shift of each block of a parameter."""

    signs: list[float]
    shifts: list[int]


class Gaussian:
    """Dense N(0, 1 / D'), drawn block by block as it is needed: D x D' random numbers a gradient, for small models only."""

    block = 1 << 12

    def __init__(self, dim: int, seed: int, device: torch.device) -> None:
        self.dim = self.width = dim
        self.seed, self.device = seed, device

    def add(self, accumulator: Tensor, name: str, gradient: Tensor) -> None:
        for index, part in enumerate(_flat(gradient, accumulator).float().split(self.block, dim=-1)):
            draw = stream(self.seed, "gaussian", PROJECTION_VERSION, name, index)
            matrix = draw.standard_normal((self.block, self.dim), dtype=np.float32)[: part.shape[-1]]
            accumulator += part @ torch.from_numpy(matrix).to(self.device)

    def finish(self, accumulator: Tensor) -> Tensor:
        return accumulator / self.dim**0.5


class Exact:
    """No projection: the feature is the whole gradient, parameters in order of name. For small models and checks."""

    limit = 1 << 26

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.dim = self.width = sum(sizes.values())
        if self.dim > self.limit:
            raise ConfigError(f"gradients.projector exact would store {self.dim:,} numbers a clip; the limit is {self.limit:,}")
        names = sorted(sizes)
        ends = np.cumsum([sizes[name] for name in names]).tolist()
        self.places = {name: slice(end - sizes[name], end) for name, end in zip(names, ends, strict=True)}

    def add(self, accumulator: Tensor, name: str, gradient: Tensor) -> None:
        accumulator[..., self.places[name]] += _flat(gradient, accumulator).float()

    def finish(self, accumulator: Tensor) -> Tensor:
        return accumulator.clone()


def make_projector(name: ProjectorName, dim: int, seed: int, sizes: Mapping[str, int], device: torch.device) -> Projector:
    """The projector called `name`; `sizes` gives each parameter's number of elements, by its name in the denoiser."""
    makers: dict[ProjectorName, Callable[[], Projector]] = {
        "fastfood": lambda: Fastfood(dim, seed, device),
        "gaussian": lambda: Gaussian(dim, seed, device),
        "exact": lambda: Exact(sizes),
    }
    return makers[name]()


def _flat(gradient: Tensor, accumulator: Tensor) -> Tensor:
    """`gradient` with its own axes as one, after those that `accumulator` leads with."""
    return gradient.detach().reshape(*accumulator.shape[:-1], -1)


def _signs(draw: np.random.Generator, length: int) -> Tensor:
    return torch.from_numpy((1 - 2 * draw.integers(0, 2, length)).astype(np.float32))


def _hadamard(size: int) -> Tensor:
    """Sylvester's matrix of +-1, unnormalised, float32 [size, size]."""
    matrix = torch.ones(1, 1)
    while len(matrix) < size:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix
