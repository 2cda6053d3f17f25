"""Attributing a prepared clip against a plain `loss.backward()` of the same model and input, in one run.

Goals: at most 1.02 of its time, and of its peak memory (resident, which differs by as much between runs of one side).
Attributing is everything that happens to a prepared clip: its file is read, the loss computed, the gradient streamed into the
projection, the feature made and its row written. The plain side computes the same loss from the same tensors and calls
backward(), which leaves the whole gradient in memory.

    python benchmarks/clip.py --check
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TIME_GOAL, MEMORY_GOAL = 1.02, 1.02

MODELS: dict[str, tuple[dict[str, int], tuple[int, int, int]]] = {
    "small": ({"num_attention_heads": 6, "attention_head_dim": 64, "ffn_dim": 1536, "num_layers": 8}, (17, 256, 400)),
    "wide": ({"num_attention_heads": 12, "attention_head_dim": 128, "ffn_dim": 8960, "num_layers": 2}, (17, 256, 400)),
}
"""Denoisers by name: width 384 and 8 blocks; width 1536 and ffn 8960, as Wan2.1-T2V-1.3B has, and 2 blocks. And frames,
height and width of the clip."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", choices=("plain", "motive", "both"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(measure(options)))
        return
    print(f"{machine()}, {options.threads} threads; the fastest of {options.repeats} alternating repeats")
    print(f"{'model':8} {'parameters':>12} {'tokens':>7} {'plain s':>9} {'motive s':>9} {'ratio':>6}", end="   ")
    print(f"{'plain MiB':>9} {'motive MiB':>10} {'ratio':>6}")
    missed = False
    for name in options.models:
        with tempfile.TemporaryDirectory() as folder:
            common = [
                "--folder",
                folder,
                "--models",
                name,
                "--repeats",
                str(options.repeats),
                "--threads",
                str(options.threads),
            ]
            timed = child([*common, "--side", "both"])
            # Peaks are of whole processes, so each side has its own; the least of three, since allocators round up.
            plain, ours = (min(child([*common, "--side", side])["peak"] for _ in range(3)) for side in ("plain", "motive"))
        ratio, memory = timed["motive"] / timed["plain"], ours / plain
        missed |= ratio > TIME_GOAL or memory > MEMORY_GOAL
        print(
            f"{name:8} {timed['parameters']:12,} {timed['tokens']:7,} {timed['plain']:9.3f} {timed['motive']:9.3f} {ratio:6.3f}"
            f"   {plain:9.0f} {ours:10.0f} {memory:6.3f}"
        )
    print(f"goals: time at most {TIME_GOAL}, memory at most {MEMORY_GOAL}: {'MISSED' if missed else 'met'}")
    sys.exit(1 if missed and options.check else 0)


def child(arguments: list[str]) -> dict[str, Any]:
    """Run this file in a process of its own; what it measured."""
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The fastest of each side's runs, in seconds, the two taken in turns; or one side's peak memory.

    The peak is of resident memory, in MiB, above what it was before the model was loaded.
    """
    import numpy as np
    import torch
    from safetensors.torch import load_file, save_file

    from motive.attribution.features import clip_attributor
    from motive.attribution.prepare import Prepared
    from motive.attribution.reading import ClipFacts
    from motive.attribution.store import Store
    from motive.config import parse_config
    from motive.gradients.loss import clip_loss, shared_noise
    from motive.models.build import WAN_2_1_1_3B, build_wan
    from motive.models.registry import load_model
    from motive.video.table import Clip

    torch.set_num_threads(options.threads)
    settings, (frames, height, width) = MODELS[options.models[0]]
    if not (options.folder / "model").exists():
        build_wan(options.folder / "model", WAN_2_1_1_3B | {"text_dim": 256} | settings)
    tree = {
        "out": options.folder,
        "pool": "-",
        "queries": "-",
        "model": {"path": str(options.folder / "model"), "device": "cpu"},
        "video": {"frames": frames, "height": height, "width": width},
    }
    config = parse_config(tree, "the benchmark")
    model = load_model(config.model.path, config.gradients.sigmas, "cpu")
    shape = model.latent_shape(frames, height, width)
    torch.manual_seed(0)
    clip_file = options.folder / "clip.safetensors"
    save_file({"latents": torch.randn(shape), "text": torch.randn(40, 256), "mask": torch.rand(shape[1:])}, clip_file)
    noise, sigma = shared_noise(0, shape), config.gradients.sigmas[0]
    facts = ClipFacts(frames, 16, width, height, 16, 5, "none", 0, 1, 1, 1, 0, 0, 0, "moving")
    clip = Clip("clip", "clip", "clip.mp4", "", None, None, "")
    attribute, store = clip_attributor(config, model, "pool"), Store(options.folder / "store", {"bench": 1}, 512, "float32")
    given = load_file(clip_file)

    def plain() -> None:
        model.denoiser.zero_grad(set_to_none=True)
        clip_loss(model, given["latents"], given["text"], given["mask"], noise, sigma).backward()

    def motive() -> None:
        read = load_file(clip_file)
        (gradient,) = attribute([Prepared(read["latents"], read["text"], read["mask"], facts)])
        store.add_row(clip, {"status": "ok", "loss": gradient.loss}, gradient.feature.numpy())

    facts_of_run = {
        "parameters": sum(parameter.numel() for parameter in model.denoiser.parameters()),
        "tokens": int(np.prod(shape[1:])) // 4,
    }
    if options.side != "both":
        side = {"plain": plain, "motive": motive}[options.side]
        # Loading Arrow's Parquet writer takes memory once a process, not once a clip: it is loaded on both sides.
        store.add_row(clip, {"status": "ok"}, np.zeros(512, np.float32))
        before = resident("VmRSS")
        for _ in range(3):
            side()
        return {"peak": resident("VmHWM") - before}
    seconds: dict[str, list[float]] = {"plain": [], "motive": []}
    for repeat in range(options.repeats + 1):
        for name, side in (("plain", plain), ("motive", motive)) if repeat % 2 else (("motive", motive), ("plain", plain)):
            model.denoiser.zero_grad(set_to_none=True)
            begin = time.perf_counter()
            side()
            if repeat:  # the first round warms up
                seconds[name].append(time.perf_counter() - begin)
    return facts_of_run | {name: min(values) for name, values in seconds.items()}


def resident(field: str) -> float:
    """VmRSS (now) or VmHWM (peak) of this process, MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def machine() -> str:
    import torch

    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "?"
    )
    return f"{model}, torch {torch.__version__}"


if __name__ == "__main__":
    main()
