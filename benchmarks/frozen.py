"""Attribution without weight gradients: what it would save and cost. Measured, and left out of Motive (docs/performance.md).

Of each Linear's weight gradient G = sum over tokens of d x^T only rows y_k = u_k^T G v_k = sum of (u_k . d)(v_k . x) would be
made, from its input x and its output's gradient d. "dense": u_k and v_k of random signs (Khatri-Rao). "hadamard": Kronecker
products of random signs and signed Walsh functions of length 64, which cost almost nothing to apply. All other parameters are
captured exactly. Prints time over a plain backward of the same model, and the error of a cosine over that of exact capture, on
the lab's clips and model, with 512 dimensions.

    python benchmarks/frozen.py --check      # exits with 1 if it has become worth having
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from motive.gradients.capture import project_gradient
from motive.gradients.loss import clip_loss, shared_noise
from motive.gradients.projection import Exact, Fastfood
from motive.lab import world
from motive.lab.motions import PHYSICAL
from motive.lab.shipped import shipped_model
from motive.lab.train import SIZE
from motive.models.build import WAN_2_1_1_3B, build_wan
from motive.models.registry import load_model
from motive.seeds import stream

DIM = 512
CPU = torch.device("cpu")
TIME_GOAL, ERROR_GOAL = 0.88, 1.05
WIDE = {"num_attention_heads": 12, "attention_head_dim": 128, "ffn_dim": 8960, "num_layers": 2, "text_dim": 256}

Side = Callable[[Tensor], Tensor]
"""[T, features] -> [T, DIM]: the products with all u_k, or with all v_k."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if both goals are met")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(2)
    ratios, errors = times(options.repeats), cosine_errors()
    print(f"torch {torch.__version__}, 2 threads; width 1536, ffn 8960, 2 blocks, 1,960 tokens; {DIM} dimensions\n")
    print("| weights' gradients | time / plain backward | error of a cosine / that of exact capture |")
    print("|---|--:|--:|")
    for name, ratio in ratios.items():
        print(f"| {name} | {ratio:.3f} | {f'{errors[name]:.3f}' if name in errors else ''} |")
    worth = any(ratios[name] <= TIME_GOAL and errors[name] <= ERROR_GOAL for name in errors if name != "exact")
    print(f"\nworth having at {TIME_GOAL} of the time and {ERROR_GOAL} of the error: {'YES' if worth else 'no'}")
    sys.exit(1 if worth and options.check else 0)


def dense(features: int, draw: np.random.Generator) -> Side:
    signs = _signs(draw, (features, DIM))
    return lambda x: x @ signs


def hadamard(features: int, draw: np.random.Generator) -> Side:
    """v_(a, b) = s * (A_a (x) H_b), with random signs s and A, H the Walsh functions of length 64, in a random order."""
    length, groups = 64, -(-features // 64)
    walsh = torch.ones(1, 1)
    while len(walsh) < length:
        walsh = torch.cat([torch.cat([walsh, walsh], 1), torch.cat([walsh, -walsh], 1)])
    signs, mixing = _signs(draw, (features,)), _signs(draw, (DIM // length, groups))
    walsh = walsh[:, torch.from_numpy(draw.permutation(length))]

    def side(x: Tensor) -> Tensor:
        x = nn.functional.pad(x * signs, (0, groups * length - features))
        return (mixing @ (x.reshape(-1, length) @ walsh).view(len(x), groups, length)).flatten(1)

    return side


def _signs(draw: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy((1 - 2 * draw.integers(0, 2, shape)).astype(np.float32))


class Rows(torch.autograd.Function):
    """A Linear whose backward pass adds its weight's rows to `total`; v_k meet the input in the forward pass already."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: nn.Linear, sides: tuple[Side, Side], total: Tensor, bias: Tensor) -> Tensor:
        ctx.layer, ctx.sides, ctx.total = layer, sides, total
        ctx.save_for_backward(sides[0](x.reshape(-1, x.shape[-1])))
        return nn.functional.linear(x, layer.weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (dy,), (inward,) = gradients, ctx.saved_tensors
        flat = dy.reshape(-1, dy.shape[-1])
        ctx.total.add_(torch.einsum("tk,tk->k", inward, ctx.sides[1](flat)) / DIM**0.5)
        dx = dy @ ctx.layer.weight if ctx.needs_input_grad[0] else None
        return dx, None, None, None, flat.sum(dim=0)


@contextmanager
def frozen(
    denoiser: nn.Module, make: Callable[[int, np.random.Generator], Side] | None, seed: int, total: Tensor
) -> Iterator[None]:
    """While active, no Linear computes a weight gradient; with `make`, each adds its rows to `total`."""
    layers = {name: module for name, module in denoiser.named_modules() if type(module) is nn.Linear}
    for name, layer in layers.items():
        layer.weight.requires_grad_(False)
        if make is not None:
            sides = tuple(make(n, stream(seed, name, side)) for side, n in enumerate((layer.in_features, layer.out_features)))
            layer.forward = lambda x, layer=layer, sides=sides: Rows.apply(x, layer, sides, total, layer.bias)
    try:
        yield
    finally:
        for layer in layers.values():
            layer.weight.requires_grad_(True)
            vars(layer).pop("forward", None)


SKETCHES = {"dense": dense, "hadamard": hadamard}


def times(repeats: int) -> dict[str, float]:
    """Time of a clip over that of a plain backward, all in turns, the fastest of each."""
    with tempfile.TemporaryDirectory() as folder:
        build_wan(Path(folder) / "model", WAN_2_1_1_3B | WIDE)
        model = load_model(str(Path(folder) / "model"), (0.75,), "cpu")
        denoiser = model.denoiser
    shape = (16, 5, 28, 56)
    torch.manual_seed(0)
    loss = partial(
        clip_loss, model, torch.randn(shape), torch.randn(40, 256), torch.rand(shape[1:]), shared_noise(0, shape), 0.75
    )
    projector, total = Fastfood(DIM, 0, CPU), torch.zeros(DIM)

    def plain() -> None:
        loss().backward()

    def captured() -> None:
        project_gradient(denoiser, projector, [loss])

    ways = {"plain backward": (plain, False, None), "exact": (captured, False, None), "none at all": (plain, True, None)}
    ways |= {name: (captured, True, make) for name, make in SKETCHES.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, (step, freeze, make) in ways.items():
            denoiser.zero_grad(set_to_none=True)
            with frozen(denoiser, make, 0, total) if freeze else _as_it_is():
                begin = time.perf_counter()
                step()
                if repeat:
                    seconds[name].append(time.perf_counter() - begin)
    return {name: min(taken) / min(seconds["plain backward"]) for name, taken in seconds.items()}


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


def cosine_errors(clips: int = 32, seeds: int = 6) -> dict[str, float]:
    """Root mean square error of the cosines of pairs of the lab's clips, over that of exact capture."""
    model = load_model(str(shipped_model()), (0.75,), "cpu")
    denoiser = model.denoiser
    sizes = {name: parameter.numel() for name, parameter in denoiser.named_parameters()}
    losses = []
    for n in range(clips):
        spec = world.Spec(list(PHYSICAL)[n % len(PHYSICAL)], world.draw_looks(stream(0, "frozen", n)))
        scene = world.render(n, spec, SIZE)
        latents, text = model.encode_video(scene.frames), model.encode_text([""])[0]
        losses.append(
            partial(clip_loss, model, latents, text, torch.ones(latents.shape[1:]), shared_noise(0, latents.shape), 0.75)
        )
    true = _cosines([project_gradient(denoiser, Exact(sizes), [loss]).feature for loss in losses])
    squares: dict[str, list[float]] = {name: [] for name in ("exact", *SKETCHES)}
    for seed in range(seeds):
        projector = Fastfood(DIM, seed, CPU)
        features: dict[str, list[Tensor]] = {
            "exact": [project_gradient(denoiser, projector, [loss]).feature for loss in losses]
        }
        for name, make in SKETCHES.items():
            total = torch.zeros(DIM)
            with frozen(denoiser, make, seed, total):
                features[name] = []
                for loss in losses:
                    total.zero_()
                    rest = project_gradient(denoiser, projector, [loss])
                    features[name].append(total + rest.feature * rest.projected_norm)
        for name, found in features.items():
            squares[name].append(float(((_cosines(found) - true) ** 2).mean()))
    return {name: (np.mean(each) / np.mean(squares["exact"])) ** 0.5 for name, each in squares.items()}


def _cosines(features: list[Tensor]) -> np.ndarray:
    """Of every pair of clips."""
    stacked = torch.stack(features).double()
    stacked /= stacked.norm(dim=1, keepdim=True)
    return (stacked @ stacked.T).numpy()[np.triu_indices(len(stacked), 1)]


if __name__ == "__main__":
    main()
