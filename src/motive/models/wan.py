"""Wan 2.1 and 2.2 text-to-video models in diffusers' folder layout (WanPipeline)."""

import html
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from motive.errors import ConfigError, ModelError
from motive.models.folder import hash_part, loading, read_config, whole

MAX_TEXT_TOKENS = 512
"""What Wan was trained with: longer captions are cut, shorter ones padded with zero embeddings. A folder whose tokenizer
says fewer (model_max_length) was trained with fewer."""

TRAIN_TIMESTEPS = 1000


class WanModel:
    """VideoModel over a local WanPipeline folder; see that protocol for shapes."""

    family = "wan"

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype, sigmas: Sequence[float]) -> None:
        """`sigmas`: the noise levels it will be asked about; of Wan 2.2's two denoisers they decide which one is meant.

        Raises ModelError if the folder is not a whole WanPipeline, ConfigError if `sigmas` need both denoisers.
        """
        self.folder, self.device, self.dtype = folder, device, dtype
        index = read_config(folder / "model_index.json")
        self.trained = not (folder / "UNTRAINED").exists()
        self.denoiser_part = _denoiser_part(index, sigmas)
        vae = read_config(folder / "vae" / "config.json")
        self.latent_channels: int = vae.get("z_dim", 16)
        temporal = 2 ** sum(vae.get("temperal_downsample", (False, True, True)))
        spatial = 2 ** (len(vae.get("dim_mult", (1, 2, 4, 4))) - 1) * (vae.get("patch_size") or 1)
        self.latent_stride = (temporal, spatial, spatial)
        tokenizer = folder / "tokenizer" / "tokenizer_config.json"
        said = read_config(tokenizer).get("model_max_length", MAX_TEXT_TOKENS) if tokenizer.exists() else MAX_TEXT_TOKENS
        self.text_tokens = min(int(said or MAX_TEXT_TOKENS), MAX_TEXT_TOKENS)
        denoiser = read_config(folder / self.denoiser_part / "config.json")
        self.patch = tuple(denoiser.get("patch_size", (1, 2, 2)))
        if denoiser.get("in_channels", 16) != self.latent_channels or denoiser.get("image_dim"):
            raise ModelError(f"{folder}: its denoiser also takes an image; only text-to-video models are supported")

    def parameter_names(self) -> list[str]:
        from diffusers import WanTransformer3DModel

        with loading(self.folder, self.denoiser_part), torch.device("meta"):
            settings = WanTransformer3DModel.load_config(self.folder, subfolder=self.denoiser_part)
            return [name for name, _ in WanTransformer3DModel.from_config(settings).named_parameters()]

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        step, tall, wide = self.latent_stride
        down, across = tall * self.patch[1], wide * self.patch[2]
        if (frames - 1) % step:
            raise ConfigError(f"video.frames is {frames}; this model takes {step}k + 1, e.g. {frames - (frames - 1) % step}")
        if height % down or width % across:
            raise ConfigError(f"video is {height} x {width}; this model takes multiples of {down} x {across}")
        return self.latent_channels, 1 + (frames - 1) // step, height // tall, width // wide

    def encode_video(self, frames: NDArray[np.uint8]) -> Tensor:
        self.latent_shape(*frames.shape[:3])
        pixels = torch.from_numpy(frames).to(self.device).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
        with torch.inference_mode():
            posterior = self._vae.encode(pixels).latent_dist
        mean, std = (
            torch.tensor(self._vae.config[name], device=self.device).view(-1, 1, 1, 1)
            for name in ("latents_mean", "latents_std")
        )
        return ((posterior.mean[0].float() - mean) / std).cpu().clone()

    def encode_text(self, captions: Sequence[str]) -> list[Tensor]:
        return [self._encode_caption(_clean(caption)) for caption in captions]

    def _encode_caption(self, caption: str) -> Tensor:
        """One at a time: batching would change the last bits with the company a caption keeps."""
        tokenizer, encoder = self._text
        tokens = tokenizer(
            [caption], padding="max_length", max_length=self.text_tokens, truncation=True, return_tensors="pt"
        ).to(self.device)
        with torch.inference_mode():
            states = encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
        return states[0, : int(tokens.attention_mask.sum())].cpu().clone()

    def error(self, latents: Tensor, text: Sequence[Tensor], noise: Tensor, sigma: float | Tensor) -> Tensor:
        """Flow matching: z = (1 - sigma) h + sigma eps, target eps - h (METHOD.md 1).

        Wan 2.2 TI2V (expand_timesteps) can take a time for every token, for the sake of a given first frame. Without one
        all tokens of a clip have the same, and one for each clip gives the same prediction in far less memory.
        """
        denoiser: Any = self.denoiser
        # Not the model's or its first parameter's: some parts of a bfloat16 Wan stay in float32.
        dtype = denoiser.patch_embedding.weight.dtype
        # In float64, then float32: bfloat16 would turn t = 750.75 into 752.
        level = torch.as_tensor(sigma, dtype=torch.float64, device=latents.device).expand(len(latents))
        timestep = (level * TRAIN_TIMESTEPS).float()
        level = level.float().view(-1, 1, 1, 1, 1)
        noisy = (1 - level) * latents + level * noise
        padded = torch.zeros(len(text), self.text_tokens, text[0].shape[-1], dtype=dtype, device=latents.device)
        for row, embedding in zip(padded, text, strict=True):
            row[: len(embedding)] = embedding
        prediction = denoiser(noisy.to(dtype), timestep, padded, return_dict=False)[0]
        return prediction.float() - (noise - latents)

    @cached_property
    def denoiser(self) -> nn.Module:
        from diffusers import WanTransformer3DModel

        with loading(self.folder, self.denoiser_part):
            loaded = WanTransformer3DModel.from_pretrained(
                self.folder,
                subfolder=self.denoiser_part,
                torch_dtype=self.dtype,
                use_safetensors=True,
                output_loading_info=True,
            )
            model = whole(loaded)
        return model.to(self.device).eval().requires_grad_(True)

    @cached_property
    def _vae(self) -> Any:
        """In float32 whatever the model's dtype: it is small, and every latent depends on it."""
        from diffusers import AutoencoderKLWan

        with loading(self.folder, "vae"):
            loaded = AutoencoderKLWan.from_pretrained(
                self.folder, subfolder="vae", torch_dtype=torch.float32, use_safetensors=True, output_loading_info=True
            )
            model = whole(loaded)
        return model.to(self.device).eval().requires_grad_(False)

    @cached_property
    def _text(self) -> tuple[Any, Any]:
        from transformers import AutoTokenizer, UMT5EncoderModel

        with loading(self.folder, "text_encoder"):
            loaded = UMT5EncoderModel.from_pretrained(
                self.folder, subfolder="text_encoder", dtype=self.dtype, use_safetensors=True, output_loading_info=True
            )
            encoder = whole(loaded)
        with loading(self.folder, "tokenizer"):
            tokenizer = AutoTokenizer.from_pretrained(self.folder, subfolder="tokenizer", trust_remote_code=False)
        return tokenizer, encoder.to(self.device).eval().requires_grad_(False)

    def free(self) -> None:
        for part in ("denoiser", "_vae", "_text"):
            self.__dict__.pop(part, None)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def fingerprint(self, part: str) -> dict[str, str]:
        if part == "denoiser":
            return {"denoiser": hash_part(self.folder / self.denoiser_part)}
        return {name: hash_part(self.folder / name) for name in ("vae", "text_encoder", "tokenizer")}


def _denoiser_part(index: dict[str, Any], sigmas: Sequence[float]) -> str:
    """The folder of the denoiser that handles all of `sigmas`: Wan 2.2 A14B has one above its boundary and one below."""
    boundary = index.get("boundary_ratio")
    if boundary is None or not (index.get("transformer_2") or [None])[0]:
        return "transformer"
    parts = {"transformer" if sigma >= boundary else "transformer_2" for sigma in sigmas}
    if len(parts) > 1:
        raise ConfigError(
            f"the noise levels {list(sigmas)} lie on both sides of this model's boundary {boundary}: each side has its own "
            "denoiser; choose levels on one side (gradients.sigmas; train.levels)"
        )
    return parts.pop()


def _clean(caption: str) -> str:
    """As WanPipeline cleans prompts, but for ftfy's repair of wrongly decoded text."""
    return re.sub(r"\s+", " ", html.unescape(html.unescape(caption))).strip()
