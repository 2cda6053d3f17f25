"""Seconds and memory a clip of the true Wan configurations on a GPU, as one Markdown table: random weights, no download.

For Wan2.1-T2V-1.3B and Wan2.2-TI2V-5B at 81 x 480 x 832 in bfloat16: forward, plain `backward()` and Motive's capture into
512 dimensions, with and without activation checkpointing and torch.compile; beside them VAE encoding and AllTracker. TFLOP/s
count what the pass needs, recomputation included, and stand beside the card's measured matrix rate. Needs a CUDA card and
nothing from a network; takes up to eight minutes. `--small` runs every line of it on tiny models, on any device.

    python benchmarks/gpu.py
"""

import argparse
import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from motive.gradients.capture import project_gradient
from motive.gradients.projection import Fastfood
from motive.models.build import WAN_2_1_1_3B
from motive.motion.alltracker_net import AllTracker

WAN_2_2_5B = WAN_2_1_1_3B | {"num_attention_heads": 24, "in_channels": 48, "out_channels": 48, "ffn_dim": 14336}
SMALL = WAN_2_1_1_3B | {"num_attention_heads": 2, "attention_head_dim": 16, "text_dim": 32, "ffn_dim": 64, "num_layers": 2}


@dataclass(frozen=True)
class Case:
    """A denoiser's settings, its latents' shape [C, f, h, w], and tokens a clip of text."""

    name: str
    settings: dict[str, Any]
    latents: tuple[int, int, int, int]
    text: int = 512


TRUE = [
    Case("Wan2.1-T2V-1.3B", WAN_2_1_1_3B, (16, 21, 60, 104)),
    Case("Wan2.2-TI2V-5B", WAN_2_2_5B, (48, 21, 30, 52)),
]
TINY = [Case("tiny", SMALL, (16, 3, 8, 8), 16)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="tiny models, to try the script itself")
    parser.add_argument("--minutes", type=float, default=8.0, help="no further row is begun after this time")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.exit(1, "torch sees no CUDA device; --small --device cpu tries the script\n")
    from diffusers.utils import logging

    end = time.monotonic() + 60 * options.minutes
    logging.set_verbosity_error()  # that casting a model is not loading one: here there is nothing to load
    rate = matrix_rate(device, 256 if options.small else 8192)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(
        f"{name}, torch {torch.__version__}, {datetime.now(UTC):%Y-%m-%d}; bfloat16 products of matrices: {rate:.0f} TFLOP/s\n"
    )
    print("| model | pass | checkpointing | compiled | s a clip | peak GiB | TFLOP/s | of the matrix rate |")
    print("|---|---|---|---|--:|--:|--:|--:|")
    for case in TINY if options.small else TRUE:
        denoise(case, device, rate, end)
    beside(device, options.small, end)


def denoise(case: Case, device: torch.device, rate: float, end: float) -> None:
    """Print the rows of one denoiser."""
    from diffusers import WanTransformer3DModel

    work = forward_flops(case)
    projector = Fastfood(512, 0, device)
    for compiled in (False, True):
        torch.manual_seed(0)
        with device:
            denoiser = WanTransformer3DModel(**case.settings).to(torch.bfloat16).eval()
        inputs = [torch.randn(1, *case.latents), torch.tensor([750.75]), torch.randn(1, case.text, case.settings["text_dim"])]
        latents, timestep, text = (t.to(device, torch.bfloat16 if t.dim() > 1 else torch.float32) for t in inputs)
        if compiled:
            denoiser.compile_repeated_blocks()

        def loss(denoiser: nn.Module = denoiser, given: tuple[torch.Tensor, ...] = (latents, timestep, text)) -> torch.Tensor:
            return (denoiser(*given, return_dict=False)[0].float() - given[0]).square().mean()

        def forward(loss: Callable[[], torch.Tensor] = loss) -> None:
            with torch.no_grad():
                loss()

        def plain(loss: Callable[[], torch.Tensor] = loss, denoiser: nn.Module = denoiser) -> None:
            loss().backward()
            denoiser.zero_grad(set_to_none=True)

        def capture(loss: Callable[[], torch.Tensor] = loss, denoiser: nn.Module = denoiser) -> None:
            project_gradient(denoiser, projector, [loss])

        for checkpointing in (True, False):
            (denoiser.enable_gradient_checkpointing if checkpointing else denoiser.disable_gradient_checkpointing)()
            for name, step, passes in (("forward", forward, 1), ("plain backward", plain, 3), ("capture", capture, 3)):
                if name == "forward" and checkpointing:
                    continue
                if time.monotonic() > end:
                    print(f"| {case.name} | {name} and what follows | | | out of time | | | |")
                    return
                again = passes + (checkpointing and passes > 1)
                place = [case.name, name, "yes" if checkpointing else "no", "yes" if compiled else "no"]
                print(row(place, measured(step, device), again * work, rate), flush=True)
        del denoiser, loss, forward, plain, capture
        clear(device)


@torch.inference_mode()
def beside(device: torch.device, small: bool, end: float) -> None:
    """Print the rows of the VAE, and of AllTracker's pairs, for a clip of the same size."""
    size = (9, 64, 64) if small else (81, 480, 832)
    rows = {
        "AutoencoderKLWan, float32 | encoding": lambda: encoding(*size, device, small),
        "AllTracker | tracking in pairs": lambda: pairs(*size, device, tiny=False),
        "AllTracker, tiny | tracking in pairs": lambda: pairs(*size, device, tiny=True),
    }
    for name, prepare in rows.items():
        clear(device)
        if time.monotonic() < end:
            print(row([name, "", ""], measured(prepare(), device), None, None), flush=True)


def encoding(frames: int, height: int, width: int, device: torch.device, small: bool) -> Callable[[], object]:
    from diffusers import AutoencoderKLWan

    settings = {"base_dim": 8, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1} if small else {}
    with device:
        vae = AutoencoderKLWan(**settings).eval().requires_grad_(False)
    video = torch.rand(1, 3, frames, height, width, device=device)
    return lambda: vae.encode(video)


def pairs(frames: int, height: int, width: int, device: torch.device, tiny: bool, batch: int = 8) -> Callable[[], None]:
    """What `track_pairs` does on the device, for a clip of this size padded to multiples of 64."""
    with device:
        net = AllTracker(tiny).eval().requires_grad_(False).to(torch.bfloat16)
    tall, wide = (max(-(-size // 64) * 64, 128) for size in (height, width))
    video = torch.zeros(frames, 3, tall, wide, dtype=torch.uint8, device=device)

    def run() -> None:
        for first in range(1, frames, batch):
            features = net.features(video[first - 1 : first + batch])
            blank = torch.zeros(len(features) - 1, 1, 2, tall // 8, wide // 8, device=video.device)
            net.track(features[1:], features[:-1, None], blank, blank, 4)

    return run


def forward_flops(case: Case) -> float:
    """Floating-point operations of one forward pass, counted on the meta device."""
    from diffusers import WanTransformer3DModel

    with torch.device("meta"):
        denoiser = WanTransformer3DModel(**case.settings)
        inputs = torch.randn(1, *case.latents), torch.tensor([750.0]), torch.randn(1, case.text, case.settings["text_dim"])
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        denoiser(*inputs, return_dict=False)
    return float(counter.get_total_flops())


def matrix_rate(device: torch.device, size: int) -> float:
    """TFLOP/s of a bfloat16 product of square matrices."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds, _ = measured(lambda: a @ b, device, repeats=20)
    return 2 * size**3 / seconds / 1e12


def measured(step: Callable[[], object], device: torch.device, repeats: int = 2) -> tuple[float, float]:
    """Seconds, the fastest of `repeats` after one to warm up, and peak GiB; both NaN if it does not fit."""
    try:
        step()
        clear(device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        seconds = []
        for _ in range(repeats):
            settle(device)
            begin = time.perf_counter()
            step()
            settle(device)
            seconds.append(time.perf_counter() - begin)
        return min(seconds), torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else float("nan")
    except torch.OutOfMemoryError:
        clear(device)
        return float("nan"), float("nan")


def row(place: list[str], figures: tuple[float, float], flops: float | None, rate: float | None) -> str:
    seconds, peak = figures
    if math.isnan(seconds):
        return f"| {' | '.join(place)} | does not fit | | | |"
    speed = "" if flops is None else f"{flops / seconds / 1e12:.0f}"
    share = "" if flops is None or rate is None else f"{flops / seconds / 1e12 / rate:.0%}"
    memory = "" if math.isnan(peak) else f"{peak:.1f}"
    return f"| {' | '.join([*place, f'{seconds:.2f}', memory, speed, share])} |"


def settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def clear(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
