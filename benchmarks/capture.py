"""Capturing gradients: memory beyond the activations, several clips a pass, and a third of the blocks; each in one run.

* memory: bytes at the peak of a capture beyond weights, inputs and what the forward pass keeps, of a Wan of 20 M parameters
  and 2,000 tokens, counted storage by storage (see memory.py). Goal: at most the largest parameter's gradient and 32 MiB.
* batch: eight of the lab's clips (80 tokens, the model that ships) in one pass over one by one. Goal: at most 0.8.
* last third: of the blocks of that model, time over all parameters, and Spearman of the scores. No goal.

    python benchmarks/capture.py --check
"""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from gpu import Case
from memory import counted
from torch import Tensor

from motive.gradients.batch import project_gradients
from motive.gradients.capture import Gradient, project_gradient
from motive.gradients.loss import clip_loss, clip_losses, shared_noise
from motive.gradients.parameters import choose_parameters
from motive.gradients.projection import Fastfood
from motive.lab import world
from motive.lab.metrics import spearman
from motive.lab.motions import PHYSICAL
from motive.lab.shipped import shipped_model
from motive.lab.train import SIZE
from motive.models.base import VideoModel
from motive.models.build import WAN_2_1_1_3B
from motive.models.registry import load_model
from motive.seeds import stream

CPU = torch.device("cpu")
BATCH_GOAL, BATCH = 0.8, 8
MIDDLE = {"num_attention_heads": 6, "attention_head_dim": 64, "ffn_dim": 1536, "num_layers": 8, "text_dim": 256}
CASE = Case("20 M parameters", WAN_2_1_1_3B | MIDDLE, (16, 5, 32, 50))

Given = list[tuple[Tensor, Tensor, Tensor]]
"""Latents, text embedding and mask of each clip."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(2)
    print(f"torch {torch.__version__}, 2 threads\n\n| figure | measured | goal |\n|---|--:|---|")
    above, allowed = memory()
    print(f"| capture, MiB above activations | {above / 2**20:.1f} | at most {allowed / 2**20:.1f} |", flush=True)
    model = load_model(str(shipped_model()), (0.75,), "cpu")
    given = lab_clips(model, 40)
    ratios = {name: batch(model, given[:BATCH], patterns, options.repeats) for name, patterns in PARTS.items()}
    for name, ratio in ratios.items():
        print(f"| {BATCH} small clips a pass / one by one, {name} | {ratio:.2f} | at most {BATCH_GOAL} |", flush=True)
    seconds, agreement = last_third(model, given)
    print(f"| last third of the blocks, time / all parameters | {seconds:.2f} | |")
    print(f"| the same, Spearman of scores | {agreement:.2f} | |")
    missed = above > allowed or max(ratios.values()) > BATCH_GOAL
    print(f"\ngoals: {'MISSED' if missed else 'met'}")
    sys.exit(1 if missed and options.check else 0)


PARTS = {"all parameters": ["*"], "self-attention": ["*.attn1.*"]}


def memory() -> tuple[int, int]:
    """Bytes of a capture beyond its activations, and how many it may take."""
    from diffusers import WanTransformer3DModel

    with torch.device("meta"):
        largest = max(parameter.numel() for parameter in WanTransformer3DModel(**CASE.settings).parameters())
    count = counted(CASE, checkpointing=False, offloading=False, device=CPU, stand_ins=False, dtype=torch.float32)
    return count.peak - count.weights - count.inputs - count.kept, 4 * largest + (32 << 20)


def lab_clips(model: VideoModel, count: int) -> Given:
    given = []
    for n in range(count):
        spec = world.Spec(list(PHYSICAL)[n % len(PHYSICAL)], world.draw_looks(stream(0, "capture", n)))
        latents = model.encode_video(world.render(n, spec, SIZE).frames)
        given.append((latents, model.encode_text([""])[0], torch.ones(latents.shape[1:])))
    return given


def batch(model: VideoModel, given: Given, patterns: list[str], repeats: int) -> float:
    """Time of all clips in one pass over one by one, in turns; the fastest of each."""
    choose_parameters(model.denoiser, patterns)
    projector, noise = Fastfood(2048, 0, CPU), shared_noise(0, given[0][0].shape)

    def one_by_one() -> list[Gradient]:
        return [project_gradient(model.denoiser, projector, [partial(clip_loss, model, *clip, noise, 0.75)]) for clip in given]

    def together() -> list[object]:
        losses = partial(clip_losses, model, *map(list, zip(*given, strict=True)), noise, 0.75)
        return list(project_gradients(model.denoiser, projector, [losses], len(given)))

    for one, other in zip(one_by_one(), together(), strict=True):
        assert isinstance(other, Gradient)
        assert one.feature @ other.feature > 1 - 1e-5
    ways: tuple[Callable[[], object], ...] = (one_by_one, together)
    alone, shared = np.min([[_seconds(way) for way in ways] for _ in range(repeats)], axis=0)
    return float(shared / alone)


def last_third(model: VideoModel, given: Given, queries: int = 8) -> tuple[float, float]:
    """Time over that of all parameters, and Spearman over clips, mean over queries, of the two kinds of cosines."""
    projector, noise = Fastfood(2048, 0, CPU), shared_noise(0, given[0][0].shape)
    features: dict[str, list[Tensor]] = {"last:2 blocks": [], "*": []}
    seconds: dict[str, list[float]] = {pattern: [] for pattern in features}
    for clip in given:
        loss = partial(clip_loss, model, *clip, noise, 0.75)
        for pattern, found in features.items():
            choose_parameters(model.denoiser, [pattern])
            begin = time.perf_counter()
            found.append(project_gradient(model.denoiser, projector, [loss]).feature)
            seconds[pattern].append(time.perf_counter() - begin)
    stacked = (torch.stack(found).double().numpy() for found in features.values())
    part, whole = (rows[queries:] @ rows[:queries].T for rows in stacked)
    agreement = np.mean([spearman(part[:, q], whole[:, q]) for q in range(queries)])
    return min(seconds["last:2 blocks"]) / min(seconds["*"]), float(agreement)


def _seconds(way: Callable[[], object]) -> float:
    begin = time.perf_counter()
    way()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
