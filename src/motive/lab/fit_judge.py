"""The fit of the judge of motion (lab.correct), on clips rendered for it, as they are and as the lab's VAE shows them."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from motive.lab import world
from motive.lab.correct import KINDS, NAMES, Judge, features
from motive.lab.motions import PHYSICAL
from motive.lab.shipped import shipped_model
from motive.lab.traces import Floats, traces
from motive.lab.train import SIZE
from motive.progress import Progress, Silent
from motive.seeds import stream

PER_KIND, DECODED = 60, 20
"""Clips of each kind, and how many of them are also seen through the VAE: generated clips all are."""
PENALTY = 1e-3
"""On squared weights."""
FIT_SEED, TEST_SEED = 1001, 2


def fit_judge(per_kind: int = PER_KIND, decoded: int = DECODED, progress: Progress | None = None) -> Judge:
    """The same on every machine but for rounding."""
    vae = load_vae() if decoded else None
    rows, kinds = [], []
    with (progress or Silent()).steps("rendering clips", per_kind * len(KINDS)) as step:
        for kind in range(len(KINDS)):
            for number in range(per_kind):
                frames = rendered(kind, FIT_SEED, number)
                seen = [frames, through(vae, frames)] if number < decoded else [frames]
                rows += [features(traces(video, world.FPS)) for video in seen]
                kinds += [kind] * len(seen)
                step()
    return fit(np.stack(rows), np.array(kinds))


def accuracy(made: Judge, progress: Progress | None = None, per_kind: int = 20, vae: Any = None) -> dict[str, float]:
    """Share of unseen clips that the judge is right about, by kind, and of all the ten motions' as "physical". vae: show them
    through it."""
    right: dict[str, float] = {}
    with (progress or Silent()).steps("judging clips", per_kind * len(KINDS)) as step:
        for kind, name in enumerate(NAMES):
            rows = []
            for number in range(per_kind):
                frames = rendered(kind, TEST_SEED, number)
                rows.append(features(traces(frames if vae is None else through(vae, frames), world.FPS)))
                step()
            right[name] = float((made.chances(np.stack(rows)).argmax(axis=1) == kind).mean())
    return right | {"physical": float(np.mean([right[name] for name in PHYSICAL]))}


def rendered(kind: int, seed: int, number: int) -> NDArray[np.uint8]:
    """Clip `number` of a kind at the size that the lab's model sees; other seeds give other clips."""
    motion, camera = KINDS[kind]
    draw = stream(seed, "judge", NAMES[kind], number)
    whole = world.render(int(draw.integers(1 << 40)), world.Spec(motion, world.draw_looks(draw), camera)).frames
    ratio = world.SIZE // SIZE
    shrunk = whole.reshape(len(whole), SIZE, ratio, SIZE, ratio, 3).mean(axis=(2, 4))
    return np.asarray((shrunk + 0.5).astype(np.uint8))


def load_vae() -> Any:
    """The VAE of the lab's model."""
    from diffusers import AutoencoderKLWan

    return AutoencoderKLWan.from_pretrained(shipped_model(), subfolder="vae", torch_dtype=torch.float32).eval()


@torch.inference_mode()
def through(vae: Any, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames encoded and decoded: what of them a generated clip can show."""
    pixels = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    shown = vae.decode(vae.encode(pixels).latent_dist.mean).sample[0].clamp(-1, 1).permute(1, 2, 3, 0)
    return np.asarray(((shown + 1) * 127.5 + 0.5).to(torch.uint8).numpy())


def fit(rows: Floats, kinds: NDArray[np.int64], penalty: float = PENALTY) -> Judge:
    """The judge of least cross-entropy and squared weights, on features [N, D] and the number of each clip's kind [N]."""
    mean, deviation = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    x = torch.from_numpy(np.concatenate([(rows - mean) / deviation, np.ones((len(rows), 1))], axis=1))
    y = torch.from_numpy(kinds)
    weights = torch.zeros(x.shape[1], len(KINDS), dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([weights], max_iter=300, history_size=20, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        solver.zero_grad()
        value = torch.nn.functional.cross_entropy(x @ weights, y) + penalty * (weights[:-1] ** 2).sum()
        value.backward()
        return value

    solver.step(loss)
    return Judge(weights.detach().numpy(), mean, deviation)
