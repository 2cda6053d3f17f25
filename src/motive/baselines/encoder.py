"""A pretrained video encoder of transformers: frames to one vector, such as V-JEPA 2's."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from motive.errors import ConfigError, ModelError
from motive.models.folder import find_folder, hash_part, loading, read_config, whole
from motive.video.standardise import Frames

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and deviation of the pixels that an encoder was trained with, where its folder says none."""

DOWNLOADED = ("*.json", "*.safetensors")
"""What a hub repository is asked for."""

SIZES = ("crop_size", "image_size")
COUNTS = ("frames_per_clip", "num_frames")
"""What encoders' settings call the size and the number of frames that they take."""

Embed = Callable[[Frames], NDArray[np.float32]]
"""uint8 RGB [F, H, W, 3] -> float32 [D]."""


def video_encoder(source: str, frames: int | None, device: torch.device) -> tuple[Embed, str]:
    """The encoder in a local folder or hub repository, and a digest of its weights and settings.

    Its vector is the mean of its tokens. frames: how many it sees of a clip, spread evenly; by default its own number. No code
    of the folder is run. Raises ModelError if it is no whole encoder of videos, ConfigError if it does not say its number of
    frames.
    """
    folder = find_folder(source, downloaded=DOWNLOADED)
    model = _load(folder)
    size, count = _setting(model.config, SIZES), frames or _setting(model.config, COUNTS)
    if size is None:
        raise ModelError(f"{folder}: its config.json has none of {', '.join(SIZES)}; is it a video encoder?")
    if count is None:
        raise ConfigError(f"baselines.encoder_frames: {folder} does not say how many frames it takes; set it")
    mean, deviation = _pixels(folder)
    model.to(device)

    @torch.inference_mode()
    def embed(seen: Frames) -> NDArray[np.float32]:
        # [1, T, 3, size, size]: the order of every video encoder in transformers.
        video = (_square(seen[_spread(len(seen), count)], size).to(device) - mean.to(device)) / deviation.to(device)
        vector = _tokens(model, video[None]).float().mean(dim=1)[0]
        return np.asarray(vector.cpu().numpy(), np.float32)

    return embed, f"{hash_part(folder)}-{size}-{count}"


def _load(folder: Path) -> Any:
    from transformers import AutoModel

    with loading(folder, "."):
        loaded = AutoModel.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
        model = whole(loaded)
    if getattr(model, "main_input_name", "") not in ("pixel_values_videos", "pixel_values"):
        raise ModelError(f"{folder}: a {type(model).__name__} takes no videos")
    return model.eval().requires_grad_(False)


def _tokens(model: Any, video: Tensor) -> Tensor:
    """[1, tokens, D]. V-JEPA 2 also has a predictor, which says nothing about a whole video."""
    features = getattr(model, "get_vision_features", None)
    tokens: Any = features(video) if features is not None else model(**{model.main_input_name: video}).last_hidden_state
    if not isinstance(tokens, Tensor) or tokens.ndim != 3:
        raise ModelError(f"a {type(model).__name__} gives no tokens [1, tokens, D] for a video")
    return tokens


def _spread(count: int, wanted: int) -> NDArray[np.int64]:
    """`wanted` of `count` frames, from the first to the last; repeated if they are too few."""
    return np.linspace(0, count - 1, wanted).round().astype(np.int64)


def _square(frames: Frames, size: int) -> Tensor:
    """uint8 [T, H, W, 3] -> float32 [T, 3, size, size] in 0..1: the shorter side to `size`, and the centre of the longer."""
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255
    height, width = pixels.shape[2:]
    short = min(height, width)
    shape = [max(size, round(size * height / short)), max(size, round(size * width / short))]
    scaled = interpolate(pixels, shape, mode="bilinear", align_corners=False, antialias=True).clamp(0, 1)
    top, left = (shape[0] - size) // 2, (shape[1] - size) // 2
    return scaled[..., top : top + size, left : left + size]


def _setting(config: Any, names: tuple[str, ...]) -> int | None:
    """The first of these settings that there is; of a height and a width, which must be the same, the height."""
    for name in names:
        value = getattr(config, name, None)
        value = value[0] if isinstance(value, list | tuple) and len(set(value)) == 1 else value
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _pixels(folder: Path) -> tuple[Tensor, Tensor]:
    """Mean and deviation [3, 1, 1] that the folder's preprocessor subtracts and divides by."""
    told: dict[str, Any] = {}
    for name in ("video_preprocessor_config.json", "preprocessor_config.json"):
        if (folder / name).exists():
            told = read_config(folder / name)
            break
    values = []
    for key, default in zip(("image_mean", "image_std"), IMAGENET, strict=True):
        value = torch.tensor(default)
        with suppress(TypeError, ValueError, RuntimeError):
            value = torch.tensor(told.get(key, default), dtype=torch.float32)
        if value.shape != (3,) or not value.isfinite().all() or (key == "image_std" and bool((value <= 0).any())):
            raise ModelError(f"{folder}: its preprocessor's {key} is not three numbers")
        values.append(value.view(3, 1, 1))
    return values[0], values[1]
