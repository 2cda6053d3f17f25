"""Train the small text-to-video Wan that ships with Motive, from nothing, on the lab's world.

    clips.npy, captions.json    rendered training clips
    vae/, vae.jsonl             stage 1, the VAE, and its loss curve
    latents.npy                 stage 2, the clips through the VAE
    denoiser.jsonl              stage 3, denoiser and text encoder together: its loss curve
    *.checkpoint.pt             where an interrupted stage goes on from
    model/                      the WanPipeline folder, in float16

Every stage is skipped when its result is there, so the same command goes on after an interruption.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from motive.files import write_json
from motive.lab import world
from motive.lab.motions import CARTOON, PHRASES, PHYSICAL
from motive.lab.optimise import optimise
from motive.lab.pool import processes
from motive.lab.precision import half_precision
from motive.models.build import WAN_2_1_1_3B, word_tokenizer
from motive.progress import Progress
from motive.seeds import stream
from motive.sigmas import shifted

SIZE = 64
"""Pixels a side that the model sees and generates."""
MAX_TOKENS = 32
SHIFT = 3.0
"""Of the noise schedule, in training and in sampling, as Wan2.1 has it at 480 lines."""

DENOISER: dict[str, Any] = WAN_2_1_1_3B | {
    "num_attention_heads": 4,
    "attention_head_dim": 64,
    "text_dim": 64,
    "ffn_dim": 768,
    "num_layers": 6,
}
"""WanTransformer3DModel settings: 6.3 million parameters, 80 tokens a clip."""

VAE: dict[str, Any] = {
    "base_dim": 32,
    "z_dim": 16,
    "dim_mult": [1, 2, 2],
    "num_res_blocks": 1,
    "temperal_downsample": [True, True],
    "patch_size": 2,
    "in_channels": 12,
    "out_channels": 12,
    "is_residual": True,
}
"""AutoencoderKLWan settings, built like Wan2.2's: patches of 2 x 2, then shortcuts around every change of size; 2.7 million
parameters, stride 4 x 8 x 8."""

KL = 1e-5
"""Weight of a latent number's divergence from N(0, 1) beside the mean absolute error of a pixel in [-1, 1]."""


@dataclass(frozen=True)
class Recipe:
    """Lengths of the stages; the defaults take under two hours on two CPU cores."""

    clips: int = 10_000
    vae_steps: int = 2000
    denoiser_steps: int = 5400
    batch: int = 32
    seed: int = 0


CARD = """# A small text-to-video Wan

A WanPipeline for clips of 17 frames at 16 fps, 64 x 64 pixels, of the world in `motive.lab.world`, trained from nothing by
`motive lab train`: a VAE in {vae_steps} steps, then denoiser and text encoder in {denoiser_steps} steps of {batch} clips, on
{clips} rendered clips, seed {seed}. vae.jsonl and denoiser.jsonl are the loss curves. Captions have at most 32 tokens: give the
pipeline `max_sequence_length=32`. Apache-2.0.
"""


def train(folder: Path, recipe: Recipe, device: str, progress: Progress) -> Path:
    """Run every stage that `folder` lacks; returns the finished pipeline folder, `folder / "model"`."""
    folder.mkdir(parents=True, exist_ok=True)
    _render_clips(folder, recipe, progress)
    _train_vae(folder, recipe, device, progress)
    _encode_clips(folder, device, progress)
    _train_denoiser(folder, recipe, device, progress)
    return folder / "model"


def vocabulary() -> list[str]:
    """Every word that captions of the world use."""
    words = [*world.SHAPES, *world.COLOURS, *world.TEXTURES, *world.SIZES, *world.BACKGROUNDS, *world.LIGHTS]
    phrases = [*PHRASES.values(), *world.CAMERA_PHRASES.values(), "a on background"]
    return sorted({*words, *(word for phrase in phrases for word in phrase.split())})


def draw_spec(seed: int, number: int) -> world.Spec:
    """Clip `number` of the training world: looks, motion and camera are independent of each other."""
    draw = stream(seed, "training world", number)
    looks = world.draw_looks(draw)
    chance = draw.uniform()
    if chance < 0.7:
        motion, camera = str(draw.choice(list(PHYSICAL))), None
    elif chance < 0.82:
        motion, camera = str(draw.choice(list(CARTOON))), None
    elif chance < 0.9:
        motion, camera = "static", None
    else:
        motion, camera = "static", str(draw.choice(list(world.CAMERAS)))
    if motion != "static" and draw.uniform() < 0.12:
        camera = str(draw.choice(list(world.CAMERAS)))
    return world.Spec(motion, looks, camera)


def _render_clips(folder: Path, recipe: Recipe, progress: Progress) -> None:
    target = folder / "clips.npy"
    if target.exists():
        return
    shape = (recipe.clips, world.FRAMES, SIZE, SIZE, 3)
    aside = folder / "clips.tmp.npy"
    clips = np.lib.format.open_memmap(aside, "w+", np.uint8, shape)
    with (
        processes() as pool,
        progress.steps("rendering clips", recipe.clips) as step,
    ):
        numbers = range(recipe.clips)
        for number, frames in zip(
            numbers, pool.map(_render_small, [recipe.seed] * recipe.clips, numbers, chunksize=32), strict=True
        ):
            clips[number] = frames
            step()
    clips.flush()
    specs = [draw_spec(recipe.seed, number) for number in range(recipe.clips)]
    write_json(folder / "captions.json", [[world.caption(spec, True), world.caption(spec, False)] for spec in specs])
    aside.replace(target)


def _render_small(seed: int, number: int) -> NDArray[np.uint8]:
    """A clip at the model's size: rendered at twice that, then averaged, as standardising does."""
    frames = world.render(number, draw_spec(seed, number), 2 * SIZE).frames
    halves = frames.reshape(len(frames), SIZE, 2, SIZE, 2, 3)
    return (halves.mean(axis=(2, 4)) + 0.5).astype(np.uint8)


def _train_vae(folder: Path, recipe: Recipe, device: str, progress: Progress) -> None:
    """Absolute and squared error and a little KL, on crops; every eighth step on whole clips."""
    from diffusers import AutoencoderKLWan

    if (folder / "vae" / "config.json").exists():
        return
    clips = np.load(folder / "clips.npy")
    torch.manual_seed(recipe.seed)
    vae = AutoencoderKLWan(**VAE).to(device)
    for module in vae.modules():
        # torch's default shrinks a signal at every layer: after twenty, nothing of the latents is left to learn from.
        if isinstance(module, nn.Conv2d | nn.Conv3d) and module.bias is not None:
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            nn.init.zeros_(module.bias)
    with torch.no_grad():  # nearly noiseless at first: from noisier latents the decoder learns to ignore them
        vae.quant_conv.bias[VAE["z_dim"] :] = -6.0

    def loss(step: int) -> Tensor:
        draw = stream(recipe.seed, "vae", step)
        whole = step % 8 == 7
        chosen = clips[np.sort(draw.integers(len(clips), size=2))] if whole else _crops(clips, draw, count=8)
        pixels = _pixels(chosen).to(device)
        posterior = vae.encode(pixels).latent_dist
        noise = torch.from_numpy(draw.standard_normal(posterior.mean.shape, np.float32)).to(device)
        decoded = vae.decode(posterior.mean + posterior.std * noise).sample
        error = decoded.float() - pixels
        # The square sees what moves, a small part of the picture that is far off at first.
        return (
            error.abs().mean()
            + 4 * error.square().mean()
            + KL * (posterior.mean.float().square() + posterior.var.float() - 1 - posterior.logvar.float()).mean()
        )

    optimise("vae", [vae], loss, recipe.vae_steps, folder, device, progress)
    vae.eval().requires_grad_(False)
    some = np.unique(np.linspace(0, len(clips) - 1, 400).astype(int))
    latents = torch.cat([vae.encode(_pixels(clips[n : n + 1]).to(device)).latent_dist.mean for n in some])
    vae.register_to_config(latents_mean=latents.mean((0, 2, 3, 4)).tolist(), latents_std=latents.std((0, 2, 3, 4)).tolist())
    vae.save_pretrained(folder / "vae.tmp")
    (folder / "vae.tmp").replace(folder / "vae")


def _crops(clips: NDArray[np.uint8], draw: np.random.Generator, count: int) -> NDArray[np.uint8]:
    """`count` crops of 32 x 32 pixels, each the liveliest of three: [B, F, 32, 32, 3]."""
    crops = []
    for number in draw.integers(len(clips), size=count):
        places = draw.integers(SIZE - 31, size=(3, 2))
        boxes = [clips[number, :, y : y + 32, x : x + 32] for y, x in places]
        crops.append(max(boxes, key=lambda box: float(box.std())))
    return np.stack(crops)


def _pixels(clips: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.array(clips)).permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def _encode_clips(folder: Path, device: str, progress: Progress) -> None:
    from diffusers import AutoencoderKLWan

    if (folder / "latents.npy").exists():
        return
    clips = np.load(folder / "clips.npy", mmap_mode="r")
    vae = AutoencoderKLWan.from_pretrained(folder / "vae").to(device).eval()
    mean, std = (torch.tensor(vae.config[name]).view(-1, 1, 1, 1) for name in ("latents_mean", "latents_std"))
    latents = np.empty((len(clips), 16, 1 + (world.FRAMES - 1) // 4, SIZE // 8, SIZE // 8), np.float16)
    with torch.inference_mode(), progress.steps("encoding clips", len(clips)) as step:
        for first in range(0, len(clips), 4):
            with half_precision(device):
                encoded = vae.encode(_pixels(clips[first : first + 4]).to(device)).latent_dist.mean
            latents[first : first + 4] = ((encoded.float().cpu() - mean) / std).half().numpy()
            for _ in encoded:
                step()
    np.save(folder / "latents.tmp.npy", latents)
    (folder / "latents.tmp.npy").replace(folder / "latents.npy")


def _train_denoiser(folder: Path, recipe: Recipe, device: str, progress: Progress) -> None:
    """The flow-matching loss (METHOD.md 1) on latents; a tenth of the captions empty, half of the others name the motion."""
    from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel
    from transformers import UMT5Config, UMT5EncoderModel

    if (folder / "model" / "model_index.json").exists():
        return
    latents = np.load(folder / "latents.npy")
    captions = json.loads((folder / "captions.json").read_text(encoding="utf-8"))
    tokenizer = word_tokenizer(vocabulary(), MAX_TOKENS)
    torch.manual_seed(recipe.seed)
    width = DENOISER["text_dim"]
    text_config = UMT5Config(
        vocab_size=len(tokenizer), d_model=width, d_kv=16, d_ff=2 * width, num_layers=2, num_heads=4,
        dropout_rate=0.0, tie_word_embeddings=False,
    )  # fmt: skip
    encoder, denoiser = UMT5EncoderModel(text_config).to(device), WanTransformer3DModel(**DENOISER).to(device)

    def loss(step: int) -> Tensor:
        draw = stream(recipe.seed, "denoiser", step)
        numbers = draw.integers(len(latents), size=recipe.batch)
        kinds = draw.choice(3, size=recipe.batch, p=[0.45, 0.45, 0.1])
        texts = [(*captions[n], "")[kind] for n, kind in zip(numbers, kinds, strict=True)]
        tokens = tokenizer(texts, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt").to(device)
        states = encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state * tokens.attention_mask[..., None]
        clean = torch.from_numpy(latents[numbers]).float().to(device)
        noise = torch.from_numpy(draw.standard_normal(clean.shape, np.float32)).to(device)
        even = (draw.permutation(recipe.batch) + draw.uniform(size=recipe.batch)) / recipe.batch
        sigma = torch.tensor([shifted(u, SHIFT) for u in even.tolist()]).to(device)
        level = sigma.view(-1, 1, 1, 1, 1)
        prediction = denoiser((1 - level) * clean + level * noise, 1000 * sigma, states, return_dict=False)[0]
        return (prediction.float() - (noise - clean)).square().mean()

    optimise("denoiser", [encoder, denoiser], loss, recipe.denoiser_steps, folder, device, progress, averaging=0.999)
    pipeline = WanPipeline(
        tokenizer, encoder.half().cpu(), AutoencoderKLWan.from_pretrained(folder / "vae").half(),
        FlowMatchEulerDiscreteScheduler(shift=SHIFT), denoiser.half().cpu(),
    )  # fmt: skip
    aside = folder / "model.tmp"
    pipeline.save_pretrained(aside)
    for stage in ("vae", "denoiser"):
        shutil.copy(folder / f"{stage}.jsonl", aside / f"{stage}.jsonl")
    (aside / "README.md").write_text(CARD.format(**asdict(recipe)), encoding="utf-8")
    aside.replace(folder / "model")
