"""Build a Wan folder with random weights: diffusers' own classes throughout, small enough for a laptop, no network."""

import shutil
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from motive.errors import ModelError
from motive.models.folder import without_bars
from motive.models.wan import MAX_TEXT_TOKENS

WAN_2_1_1_3B: dict[str, Any] = {
    "num_attention_heads": 12,
    "attention_head_dim": 128,
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": 4096,
    "freq_dim": 256,
    "ffn_dim": 8960,
    "num_layers": 30,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
}
"""WanTransformer3DModel settings of Wan2.1-T2V-1.3B, the paper's model: D = 1,418,996,800."""

SMALL: dict[str, Any] = WAN_2_1_1_3B | {
    "num_attention_heads": 4,
    "attention_head_dim": 24,
    "text_dim": 32,
    "freq_dim": 32,
    "ffn_dim": 192,
    "num_layers": 3,
}
"""A denoiser of half a million parameters, for tests and for the demo."""

WORDS = (
    "a the an of on in at and to from is with over under into up down left right slowly fast small large red green blue "
    "yellow white black grey orange purple disc square triangle ball box shape circle background camera static moving "
    "moves falls bounces rolls spins swings floats slides stretches explodes compresses rises turns drifts pans zooms "
    "person people man woman hand hands dog cat car cars road street water video clip shows view"
).split()


def build_wan(folder: Path, denoiser: dict[str, Any] | None = None, seed: int = 0) -> None:
    """Write a WanPipeline folder with random weights to `folder`, and a note in it that they are random.

    denoiser: WanTransformer3DModel settings, `SMALL` by default. The VAE has Wan's stride, 4 x 8 x 8, and 16 channels; the
    text encoder is a UMT5 of one layer over a vocabulary of letters and `WORDS`.

    Raises ModelError if `folder` already holds something.
    """
    from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel
    from transformers import UMT5Config, UMT5EncoderModel

    if folder.exists() and any(folder.iterdir()):
        raise ModelError(f"{folder}: not empty; a model is built into a folder of its own")
    settings = SMALL if denoiser is None else denoiser
    tokenizer = word_tokenizer(WORDS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = UMT5EncoderModel(
            UMT5Config(
                vocab_size=len(tokenizer),
                d_model=settings["text_dim"],
                d_kv=8,
                d_ff=64,
                num_layers=1,
                num_heads=4,
                tie_word_embeddings=False,
            )
        )
        vae = AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1)
        transformer = WanTransformer3DModel(**settings)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    # Aside first: a folder must never lie here without its note.
    aside = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    with without_bars():
        WanPipeline(tokenizer, encoder, vae, scheduler, transformer).save_pretrained(aside)
    (aside / "UNTRAINED").write_text("The weights in this folder are random numbers: it generates noise.\n")
    aside.replace(folder)


def word_tokenizer(words: Sequence[str], max_tokens: int = MAX_TEXT_TOKENS) -> Any:
    """A T5 tokenizer that needs no training: whole `words`, single characters elsewhere; captions of up to `max_tokens`."""
    from transformers import T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -12.0)]
    pieces += [("\u2581" + word, -6.0) for word in dict.fromkeys(words) if len(word) > 1]
    pieces += [(character, -12.0) for character in string.printable.strip()]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=max_tokens)
